// The panels: each is drawn while it is shown. One whose operation the proxy does not have is not there.

import { access, get, mayChange, showsKeys } from './api.js';
import { byId, h, setAttribute, setText } from './dom.js';
import { bytes, clock, count, duration, micros, percent, rate } from './format.js';
import { Resharding } from './resharding.js';
import { Table } from './table.js';

const HIDDEN = 'The stats port leaves out keys, arguments and client addresses: start the proxy with --show-keys, or use the admin socket.';

const number = (title, of, format, extra = {}) => ({ title, number: true, text: (row) => format(of(row)), sort: of, ...extra });
const word = (title, of, extra = {}) => ({ title, text: (row) => of(row) ?? '', sort: (row) => of(row) ?? '', ...extra });
const pool = word('Pool', (row) => row.pool, { wide: true });
const key = (row) => (row.key === '' && !showsKeys ? '(hidden)' : row.key + (row.truncated ? '…' : ''));

// A panel of one table: the path, its rows in the answer, and how long it is good for.
const TABLES = [
  {
    id: 'commands', title: 'Commands', path: '/commands', seconds: 5,
    about: 'Calls since the start, by command. A percentile is an upper bound.',
    empty: 'no command was used yet',
    rows: (answer) => answer.commands, keyOf: (row) => `${row.pool} ${row.command}`, sort: { title: 'Calls', falls: true },
    columns: [
      word('Command', (row) => row.command, { header: true, code: true }), pool,
      word('Class', (row) => row.class, { wide: true }),
      number('Calls', (row) => row.calls, count),
      number('Errors', (row) => row.errors, count),
      number('Refused', (row) => row.refused, count, { wide: true }),
      number('Mean', (row) => (row.calls ? row.total_us / row.calls : NaN), micros, { wide: true }),
      number('p50', (row) => row.p50_us ?? NaN, micros, { wide: true }),
      number('p99', (row) => row.p99_us ?? NaN, micros),
      number('p99.9', (row) => row.p999_us ?? NaN, micros),
    ],
  },
  {
    id: 'refusals', title: 'Refused', path: '/refusals', seconds: 5, hides: true,
    about: 'What applications trip on: commands that were answered with an error by the proxy, and why.',
    empty: 'no command was refused',
    rows: (answer) => answer.refusals.map((row, at) => ({ ...row, at })),
    // Names that are left out are no keys.
    keyOf: (row) => `${row.pool} ${row.command || row.at} ${row.reason}`, sort: { title: 'Times', falls: true },
    columns: [
      word('Command', (row) => (row.command === '' ? '(unknown)' : row.command), { header: true, code: true }), pool,
      number('Times', (row) => row.count, count),
      number('Last', (row) => row.age_seconds, (age) => `${duration(age)} ago`),
      { title: 'Why', text: (row) => row.meaning || row.reason },
      { title: 'Reply', wide: true, code: true, text: (row) => row.reply || (showsKeys ? '' : '(hidden)') },
    ],
  },
  {
    id: 'slowlog', title: 'Slow log', path: '/slowlog', seconds: 5, hides: true,
    about: 'Requests that took longer than slowlog-log-slower-than (CONFIG SET), the newest first, and where their time went.',
    empty: 'no request was slow',
    rows: (answer) => answer.requests, keyOf: (row) => `${row.pool} ${row.id}`,
    columns: [
      { title: 'Request', header: true, code: true, text: (row) => row.args.join(' ') }, pool,
      { title: 'At', number: true, text: (row) => clock(row.time * 1000), sort: (row) => row.time },
      number('Took', (row) => row.took_us, micros),
      number('Waiting', (row) => row.waited_us, micros, { wide: true }),
      number('At the server', (row) => row.server_us, micros),
      word('Server', (row) => row.server, { wide: true }),
      { title: 'Client', wide: true, code: true, text: (row) => row.client_name || row.client },
    ],
  },
  {
    id: 'hotkeys', title: 'Hot keys', path: '/hotkeys', seconds: 5, hides: true,
    about: 'The keys that most requests name, by samples: the figures may be off by what is beside them.',
    empty: 'no key is hot',
    rows: (answer) => answer.pools.flatMap((one) => one.keys.map((row, at) => ({ ...row, pool: one.pool, at }))),
    keyOf: (row) => `${row.pool} ${row.key} ${row.at}`,
    columns: [
      { title: 'Key', header: true, code: true, text: key }, pool,
      number('Requests/s', (row) => row.requests_per_second, rate),
      number('±', (row) => row.error_per_second, rate),
      number('Of all', (row) => row.share, percent),
    ],
  },
  {
    id: 'bigkeys', title: 'Big keys', path: '/bigkeys', seconds: 10, hides: true,
    about: 'The largest requests and replies of the last ten to twenty minutes.',
    empty: 'nothing large has passed',
    rows: (answer) => answer.big, keyOf: (row) => `${row.pool} ${row.server} ${row.kind} ${row.command} ${row.key} ${row.bytes}`, sort: { title: 'Size', falls: true },
    columns: [
      { title: 'Key', header: true, code: true, text: (row) => key(row) + (row.keys > 1 ? ` and ${count(row.keys - 1)} more` : '') }, pool,
      word('Command', (row) => row.command, { code: true }),
      word('What', (row) => row.kind, { wide: true }),
      number('Size', (row) => row.bytes, bytes),
      number('Times', (row) => row.times, count, { wide: true }),
      number('Last', (row) => row.age_seconds, (age) => `${duration(age)} ago`),
      word('Server', (row) => row.server, { wide: true }),
    ],
  },
  {
    id: 'clients', title: 'Clients', path: '/clients', seconds: 5, hides: true,
    about: 'Connected clients. Memcached pools count theirs, and keep no list.',
    empty: 'no client is connected',
    rows: (answer) => answer.clients.slice(0, 500), of: (answer) => answer.clients.length, keyOf: (row) => row.id,
    columns: [
      { title: 'Client', header: true, code: true, text: (row) => row.address || `client ${row.id}` }, pool,
      word('Name', (row) => row.name),
      word('Library', (row) => `${row.library} ${row.library_version}`.trim(), { wide: true }),
      number('Age', (row) => row.age_seconds, duration),
      number('Database', (row) => row.db, count, { wide: true }),
      number('RESP', (row) => row.resp, count, { wide: true }),
      number('Subscriptions', (row) => row.subscriptions, count, { wide: true }),
      { title: 'Waits', wide: true, text: (row) => (row.blocked ? 'blocked' : '') },
    ],
  },
  {
    id: 'topology', title: 'Why', path: '/topology', seconds: 5,
    about: 'Each fact about the pools, who says so, and since when.',
    empty: 'nothing is known',
    rows: (answer) => answer.pools.flatMap((one) => one.facts.map((fact, at) => ({ ...fact, pool: one.pool, at }))),
    keyOf: (row) => `${row.pool} ${row.at}`,
    columns: [
      { title: 'Fact', header: true, text: (row) => row.text }, pool,
      word('Server', (row) => row.server),
      word('Said by', (row) => row.source),
      number('Since', (row) => row.age_seconds, duration),
    ],
  },
];

export class Panels {
  constructor({ paths, moves, health, onKill, onSelect }) {
    this.onSelect = onSelect;
    const panels = TABLES.filter((panel) => paths.has(panel.path)).map((panel) => new TablePanel(panel, onKill));
    if (paths.has('/moves')) panels.push(new Resharding(moves, health));
    this.panels = panels;
    this.tabs = panels.map((panel, at) => h('button', {
      type: 'button', role: 'tab', id: `tab-${panel.id}`, 'aria-controls': 'panel', onclick: () => onSelect(panel.id),
      onkeydown: (event) => this.keyed(event, at),
    }, panel.title));
    byId('tabs').append(...this.tabs);
    this.select(panels[0]?.id);
  }

  keyed(event, at) {
    const last = this.panels.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.onSelect(this.panels[to].id);
    this.tabs[to].focus();
  }

  select(id) {
    const panel = this.panels.find((one) => one.id === id) || this.panels[0];
    if (!panel || panel === this.current) return;
    this.current = panel;
    for (const [at, tab] of this.tabs.entries()) {
      const isSelected = this.panels[at] === panel;
      setAttribute(tab, 'aria-selected', String(isSelected));
      setAttribute(tab, 'tabindex', isSelected ? '0' : '-1');
      if (isSelected) byId('panel').setAttribute('aria-labelledby', tab.id);
    }
    byId('panel').replaceChildren(panel.element);
    panel.readAt = 0;
  }

  // Draws the panel that is shown; `poolName` if it is of one pool only.
  refresh(answer, poolName) {
    this.current?.refresh(answer, poolName);
  }
}

class TablePanel {
  constructor(definition, onKill) {
    Object.assign(this, { id: definition.id, title: definition.title, definition });
    const columns = [...definition.columns];
    if (definition.id === 'clients' && mayChange) columns.push({ title: 'Actions', cell: (cell, row) => kill(cell, row, onKill) });
    const { keyOf, empty, sort } = definition;
    this.table = new Table({ caption: `${definition.title}: ${definition.about}`, columns, keyOf, empty, sort });
    this.note = h('p', { class: 'quiet' }, definition.about);
    this.hidden = definition.hides && access === 'redacted' ? h('p', { class: 'quiet' }, HIDDEN) : null;
    this.error = h('p', { class: 'failed', hidden: true });
    this.element = h('div', {}, this.note, this.hidden, this.error, this.table.element);
  }

  // Asks for its answer, if the last one is old.
  async refresh({ now_ms: now }, poolName) {
    if (this.isReading) return;
    const { path, seconds } = this.definition;
    if (this.pool === poolName && this.readAt && now - this.readAt < seconds * 1000 - 500) return;
    this.pool = poolName;
    this.readAt = now;
    this.isReading = true;
    try {
      this.render(await get(path, { pool: poolName }), poolName);
    } catch (error) {
      this.fail(error);
    } finally {
      this.isReading = false;
    }
  }

  render(answer, poolName) {
    this.error.hidden = true;
    this.element.classList.toggle('one-pool', Boolean(poolName));
    const rows = this.definition.rows(answer);
    const all = this.definition.of?.(answer) ?? rows.length;
    setText(this.note, this.definition.about + (all > rows.length ? ` The first ${count(rows.length)} of ${count(all)}.` : ''));
    this.table.render(rows);
  }

  fail(error) {
    this.error.hidden = false;
    setText(this.error, `Not read: ${error.message}`);
  }
}

function kill(cell, row, onKill) {
  if (!cell.firstChild) cell.append(h('button', { type: 'button', class: 'small', onclick: () => onKill(cell.row) }, 'Kill…'));
  cell.row = row;
  setAttribute(cell.firstChild, 'aria-label', `Kill client ${row.address}`);
}
