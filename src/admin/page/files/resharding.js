// The panel of moves of keys: how far each is, from where to where, and the next command to type.

import { h, setState, setText } from './dom.js';
import { clock, count, duration, micros, percent, plural } from './format.js';
import { Table } from './table.js';

const BUCKETS = 1024;

const number = (title, of, extra = {}) => ({ title, number: true, text: (row) => count(of(row)), ...extra });

const phase = (source) => source.coordinator?.phase || '';

export class Resharding {
  constructor(moves, health) {
    this.moves = moves;
    this.health = health;
    this.id = 'moves';
    this.title = 'Resharding';
    this.note = h('p', { class: 'quiet' });
    this.list = h('div');
    this.element = h('div', {}, this.note, this.list);
    this.views = new Map();
  }

  refresh({ pools }, poolName) {
    const guarded = pools.filter((pool) => pool.guarded && (!poolName || pool.pool === poolName));
    const told = guarded.length === 0
      ? 'No pool here has placement_guard, so that none can be resharded: ringroad reshard moves keys of a pool that has it.'
      : 'The last move of each pool with placement_guard, as its servers tell of it.';
    setText(this.note, told);
    const known = new Map(guarded.map(({ pool }) => [pool, this.moves.of(pool)]).filter(([, one]) => one?.move || one?.error));
    for (const [name, view] of this.views) {
      if (!known.has(name)) {
        view.element.remove();
        this.views.delete(name);
      }
    }
    for (const [pool, one] of known) {
      if (!this.views.has(pool)) {
        const view = new MoveView(pool);
        this.views.set(pool, view);
        this.list.append(view.element);
      }
      this.views.get(pool).render(one, this.health);
    }
  }
}

// Why nothing newer is known of a move, and of when it is what is known.
export const notRead = ({ error, at }) => `the state of the move could not be read: ${error}${at ? `; the last that is known is of ${clock(at)}` : ''}`;

// No coordinator is at work, though nobody has paused it.
export const standsStill = (move) => move.state === 'armed' && !move.paused && move.coordinators?.length === 0;

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

// A sentence, in which commands are quoted.
function commands(element, text) {
  if (element.said === text) return;
  element.said = text;
  element.replaceChildren(...text.split("'").map((part, at) => (at % 2 ? h('code', {}, part) : part)));
}

class MoveView {
  constructor(pool) {
    this.state = h('span');
    this.about = h('p', { class: 'quiet' });
    this.failed = h('p', { class: 'failed', hidden: true });
    this.progress = h('progress', { max: 1, value: 0, 'aria-label': `Buckets of pool ${pool} that have moved` });
    this.progressText = h('span', { class: 'figure' });
    this.progressBox = h('p', { class: 'progress' }, this.progress, this.progressText);
    this.alarms = h('ul', { class: 'problems' });
    this.next = h('span');
    this.nextBox = h('p', { class: 'next' }, h('b', {}, 'Next: '), this.next);
    this.keys = new Table({
      caption: `Keys of pool ${pool}, from server to server`, hideCaption: false, keyOf: (row) => `${row.from} ${row.to}`, empty: 'no coordinator has counted keys yet',
      columns: [
        { title: 'From', header: true, text: (row) => row.from }, { title: 'To', text: (row) => row.to },
        number('Keys', (row) => row.keys), number('Left', (row) => row.left),
      ],
    });
    this.sources = new Table({
      caption: `Buckets and holds of pool ${pool}, by source`, hideCaption: false, keyOf: (row) => row.name, empty: 'no server gives keys away',
      columns: [
        { title: 'Source', header: true, text: (row) => row.name },
        number('Moved', (row) => row.moved), number('Held', (row) => row.held), number('Left', (row) => row.left),
        { title: 'Phase', text: (row) => (row.in_doubt ? 'in doubt: requests for its keys wait' : phase(row)) },
        { title: 'Copies/s', number: true, wide: true, text: (row) => count(row.coordinator?.per_second) },
        { title: 'To copy again', number: true, wide: true, text: (row) => count(row.coordinator?.backlog) },
        { title: 'Holds', number: true, text: (row) => count(row.coordinator?.holds?.committed) },
        { title: 'Aborted', number: true, wide: true, text: (row) => count(row.coordinator?.holds?.aborted) },
        { title: 'Hold p99', number: true, text: (row) => (row.coordinator?.holds?.committed ? micros(row.coordinator.holds.p99_us) : micros(NaN)) },
        { title: 'Waits for', wide: true, text: (row) => row.coordinator?.waiting || '' },
      ],
    });
    this.proxies = new Table({
      caption: `Proxies of pool ${pool}`, hideCaption: false, keyOf: (row) => row.id, empty: 'no proxy is connected',
      columns: [
        { title: 'Proxy', header: true, code: true, text: (row) => row.id },
        number('Connections', (row) => row.connections),
        { title: 'Heard of', number: true, text: (row) => `${duration(row.silent_seconds)} ago` },
      ],
    });
    this.tables = h('div', { class: 'move-tables' }, this.keys.element, this.proxies.element, this.sources.element);
    this.element = h('article', { class: 'move' }, h('h3', {}, pool, ' ', this.state), this.failed, this.about, this.progressBox, this.alarms, this.nextBox, this.tables);
  }

  render({ move = {}, error, at }, health) {
    const isArmed = move.state === 'armed';
    const sources = move.sources || [];
    const [kind, word] = error ? ['error', 'not read']
      : !move.move ? ['quiet', 'no move']
      : move.alarms?.length ? ['error', 'alarm']
      : isArmed && move.paused ? ['warning', 'paused']
      : standsStill(move) ? ['error', 'stands still']
      : isArmed ? ['warning', 'keys move']
      : ['good', move.state];
    const shown = health.shown({ kind, word });
    setState(this.state, shown.kind, shown.word);
    this.failed.hidden = !error;
    if (error) setText(this.failed, sentence(notRead({ error, at })));
    const moved = sources.reduce((n, source) => n + source.moved, 0);
    const left = sources.reduce((n, source) => n + source.left, 0);
    const part = moved + left > 0 ? moved / (moved + left) : 0;
    setText(this.about, move.move ? `Move ${move.move}, term ${move.term}; ${plural(move.proxies.length, 'proxy', 'proxies')}. A source has up to ${count(BUCKETS)} buckets.` : move.next || '');
    this.progressBox.hidden = !move.move;
    this.progress.value = part;
    setText(this.progressText, `${count(moved)} of ${count(moved + left)} buckets have moved (${percent(part)})`);
    const alarms = [...(move.alarms || []), ...(move.faults || [])];
    this.alarms.replaceChildren(...alarms.map((alarm) => h('li', { class: 'error' }, h('span', { class: 'sign', 'aria-hidden': 'true' }, '■'), ' ' + alarm)));
    this.nextBox.hidden = !move.move;
    commands(this.next, move.next || '');
    this.tables.hidden = !move.move;
    this.keys.render(sources.flatMap((source) => source.keys.map((row) => ({ ...row, from: source.name }))));
    this.sources.render(sources);
    this.proxies.render(move.proxies || []);
    this.proxies.element.hidden = !isArmed;
  }
}
