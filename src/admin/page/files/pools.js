// The table of pools: the way to each of them. What is wrong comes first, and many pools are collapsed.

import { byId, h, setAttribute, setState, setText, show } from './dom.js';
import { bytesPerSecond, count, micros, plural, rate } from './format.js';
import { Table } from './table.js';

// More pools than these are shown on request, or by the filter.
const SHOWN = 20;

const WEIGHT = { error: 0, warning: 1, good: 2, quiet: 3 };

export const poolHash = (pool) => `#/pool/${encodeURIComponent(pool)}`;

export class Pools {
  constructor({ model, health }) {
    this.model = model;
    this.health = health;
    this.isWhole = false;
    const rates = (row) => model.rates.get(row.pool) || {};
    const number = (title, of, format, extra = {}) => ({ title, number: true, text: (row) => format(of(row)), sort: of, ...extra });
    this.table = new Table({
      caption: 'Pools, with their state and load',
      keyOf: (row) => row.pool,
      empty: 'no pool has this name',
      columns: [
        { title: 'Pool', header: true, sort: (row) => row.pool, cell: (cell, row) => this.name(cell, row) },
        { title: 'State', sort: (row) => WEIGHT[this.state(row).kind], cell: (cell, row) => this.stateCell(cell, row) },
        { title: 'Servers up', number: true, wide: true, sort: (row) => this.state(row).up, text: (row) => `${this.state(row).up} of ${this.state(row).total}` },
        number('Requests/s', (row) => rates(row).requests, rate),
        number('Errors/s', (row) => rates(row).errors, rate),
        number('p50', (row) => rates(row).p50, micros, { wide: true }),
        number('p99', (row) => rates(row).p99, micros),
        number('Clients', (row) => row.clients, count, { wide: true }),
        number('Bytes', (row) => (rates(row).bytesIn ?? NaN) + (rates(row).bytesOut ?? NaN), bytesPerSecond, { wide: true }),
        { title: 'Listens on', wide: true, code: true, nowrap: true, text: (row) => row.listen },
      ],
    });
    byId('pools').append(this.table.element);
    byId('filter').addEventListener('input', () => this.render());
    byId('all-pools').addEventListener('click', () => {
      this.isWhole = !this.isWhole;
      this.render();
    });
  }

  state(pool) {
    return this.health.pool(pool, this.model.answer.now_ms);
  }

  stateCell(cell, row) {
    const { kind, word } = this.health.shown(this.state(row));
    setState(cell, kind, word);
  }

  name(cell, row) {
    let link = cell.firstChild;
    if (!link) {
      link = h('a');
      cell.append(link);
    }
    setText(link, row.pool);
    setAttribute(link, 'href', poolHash(row.pool));
  }

  render() {
    const { pools } = this.model.answer;
    const wanted = byId('filter').value.trim().toLowerCase();
    const found = pools.filter((pool) => pool.pool.toLowerCase().includes(wanted));
    const weight = (pool) => WEIGHT[this.state(pool).kind];
    const requests = (pool) => this.model.rates.get(pool.pool)?.requests || 0;
    // The order of the file changes too seldom to be learnt from; the busiest come first, in steps, so that rows keep still.
    const step = (pool) => Math.round(Math.log2(1 + requests(pool)));
    const ordered = [...found].sort((a, b) => weight(a) - weight(b) || (found.length > SHOWN ? step(b) - step(a) : 0) || a.pool.localeCompare(b.pool));
    const isLong = ordered.length > SHOWN;
    const wrong = ordered.filter((pool) => weight(pool) < 2).length;
    const shown = isLong && !this.isWhole ? ordered.slice(0, Math.max(SHOWN, Math.min(wrong, 100))) : ordered;
    this.table.render(shown);
    show(byId('all-pools'), isLong);
    setText(byId('all-pools'), this.isWhole ? `Show the first ${SHOWN} only` : `Show all ${plural(ordered.length, 'pool')}`);
    setAttribute(byId('all-pools'), 'aria-expanded', String(this.isWhole));
  }
}
