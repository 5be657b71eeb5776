// Tables whose rows are kept by key, whose cells change only if their text does, and that are sorted by their headers.

import { h, keyed, setAttribute, setText } from './dom.js';

// A column: {title, text(row), sort(row), number, wide, cell(td, row), header}. `wide` ones are left out on phones.
export class Table {
  constructor({ caption, columns, keyOf, empty, sort, hideCaption = true }) {
    this.columns = columns;
    this.keyOf = keyOf;
    this.empty = empty;
    this.sortBy = sort || null;
    this.rows = [];
    this.heads = columns.map((column, at) => this.head(column, at));
    this.body = h('tbody');
    this.note = h('p', { class: 'empty', hidden: true });
    const head = h('thead', {}, h('tr', {}, ...this.heads));
    this.table = h('table', {}, h('caption', { class: hideCaption ? 'unseen' : '' }, caption), head, this.body);
    // What is wider than a phone is scrolled by itself, by keyboard too.
    this.scroller = h('div', { class: 'scroller', role: 'region', 'aria-label': caption, tabindex: '0' }, this.table);
    this.element = h('div', { class: 'table' }, this.scroller, this.note);
  }

  head(column, at) {
    const kinds = [column.number && 'number', column.wide && 'wide'].filter(Boolean).join(' ');
    const attributes = { scope: 'col', class: kinds || null };
    if (!column.sort) return h('th', attributes, column.title);
    const button = h('button', { type: 'button', class: 'sort', onclick: () => this.sort(at) }, column.title);
    return h('th', attributes, button);
  }

  sort(at) {
    const { title, number } = this.columns[at];
    const isSame = this.sortBy?.title === title;
    const falls = isSame ? !this.sortBy.falls : Boolean(number);
    this.sortBy = { title, falls };
    this.render(this.rows);
  }

  sorted(rows) {
    const column = this.sortBy && this.columns.find((column) => column.title === this.sortBy.title);
    for (const [at, head] of this.heads.entries()) {
      const isSorted = this.columns[at] === column;
      setAttribute(head, 'aria-sort', isSorted ? (this.sortBy.falls ? 'descending' : 'ascending') : null);
    }
    if (!column) return rows;
    const factor = this.sortBy.falls ? -1 : 1;
    const value = (row) => column.sort(row);
    const order = (a, b) => (typeof a === 'string' ? a.localeCompare(b) : (Number.isFinite(a) ? a : -Infinity) - (Number.isFinite(b) ? b : -Infinity));
    // Equal ones keep their order.
    return [...rows].sort((a, b) => factor * order(value(a), value(b)) || 0);
  }

  render(rows) {
    this.rows = rows;
    const isEmpty = rows.length === 0;
    this.scroller.hidden = isEmpty;
    this.note.hidden = !isEmpty;
    if (isEmpty) setText(this.note, this.empty || 'nothing yet');
    keyed(this.body, this.sorted(rows), this.keyOf, () => this.row(), (element, row) => this.update(element, row));
  }

  row() {
    const cells = this.columns.map((column) => {
      const kinds = [column.number && 'number', column.wide && 'wide', column.code && 'code', column.nowrap && 'nowrap'].filter(Boolean).join(' ');
      return column.header ? h('th', { scope: 'row', class: kinds || null }) : h('td', { class: kinds || null });
    });
    const row = h('tr', {}, ...cells);
    row.cellList = cells;
    return row;
  }

  update(element, row) {
    for (const [at, column] of this.columns.entries()) {
      const cell = element.cellList[at];
      if (column.cell) column.cell(cell, row);
      else setText(cell, column.text(row));
    }
  }
}
