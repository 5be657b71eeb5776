// The table of servers of a pool: state, share of keys beside share of traffic, load.

import { mayChange } from './api.js';
import { byId, h, setAttribute, setState, setText } from './dom.js';
import { bytesPerSecond, count, micros, percent, rate } from './format.js';
import { serverKey } from './model.js';
import { Table } from './table.js';

export class Servers {
  constructor({ model, health, onAction }) {
    this.model = model;
    this.health = health;
    const rates = (row) => model.serverRates.get(serverKey(this.pool.pool, row.server)) || {};
    const number = (title, of, format, extra = {}) => ({ title, number: true, text: (row) => format(of(row)), sort: of, ...extra });
    const columns = [
      { title: 'Server', header: true, sort: (row) => row.server, cell: name },
      { title: 'State', sort: (row) => this.state(row).kind, cell: (cell, row) => this.stateCell(cell, row) },
      { title: 'Keys', number: true, wide: true, sort: (row) => row.key_share, cell: (cell, row) => bar(cell, row.key_share, 'keys') },
      { title: 'Traffic', number: true, sort: (row) => rates(row).share, cell: (cell, row) => bar(cell, rates(row).share, 'traffic') },
      number('Requests/s', (row) => rates(row).requests, rate),
      number('p50', (row) => rates(row).p50, micros, { wide: true }),
      number('p99', (row) => rates(row).p99, micros),
      number('Failures/s', (row) => rates(row).failures, rate, { wide: true }),
      number('Waiting', (row) => row.queued + row.in_flight, count, { wide: true }),
      number('Connections', (row) => row.connections, count, { wide: true }),
      number('Bytes', (row) => rates(row).bytes, bytesPerSecond, { wide: true }),
    ];
    if (mayChange) {
      columns.push({ title: 'Actions', cell: (cell, row) => action(cell, row, () => onAction(this.pool, row.server)) });
    }
    this.table = new Table({ caption: 'Servers, with their state, shares and load', keyOf: (row) => row.server, columns, empty: 'the pool has no servers' });
    byId('servers').append(this.table.element);
  }

  state(server) {
    return this.health.server(this.pool, server, this.model.answer.now_ms);
  }

  stateCell(cell, row) {
    const state = this.state(row);
    const { kind, word } = this.health.shown(state);
    setState(cell, kind, word);
    setAttribute(cell, 'title', state.why || null);
  }

  render(pool) {
    this.pool = pool;
    const weight = { error: 0, warning: 1, good: 2, quiet: 2 };
    const rows = [...pool.servers].map((server, at) => [weight[this.state(server).kind], at, server]);
    this.table.render(rows.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , server]) => server));
  }
}

function name(cell, row) {
  if (!cell.firstChild) cell.append(h('span', { class: 'name' }), h('span', { class: 'address' }));
  const [first, second] = cell.children;
  setText(first, row.server);
  // Its name is its address unless the file gives it one.
  setText(second, row.address === row.server || row.server.startsWith(row.address) ? '' : row.address);
}

// A figure, and a bar that repeats it.
function bar(cell, share, kind) {
  if (!cell.firstChild) cell.append(h('span'), h('span', { class: `bar ${kind}`, 'aria-hidden': 'true' }, h('span')));
  const [text, outer] = cell.children;
  setText(text, percent(share));
  const width = `${Math.round((Number.isFinite(share) ? share : 0) * 1000) / 10}%`;
  if (outer.firstChild.style.width !== width) outer.firstChild.style.width = width;
}

function action(cell, row, onclick) {
  if (!cell.firstChild) cell.append(h('button', { type: 'button', class: 'small', onclick }, 'Actions…'));
  setAttribute(cell.firstChild, 'aria-label', `Actions for server ${row.server}`);
}
