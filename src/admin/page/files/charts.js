// Charts of the last fifteen minutes. A series has a line style as well as a colour; each chart says its figures in words too.

import { h, setAttribute, setText, svg } from './dom.js';
import { bytesPerSecond, clock, count, micros, NONE, rate } from './format.js';
import { KEPT_MS } from './model.js';

const WIDTH = 600;
const HEIGHT = 150;
// The span of time grows with what is known.
const SPANS_MS = [2, 5, KEPT_MS / 60000].map((minutes) => minutes * 60000);
const RIGHT = 4;
const TOP = 8;
const BOTTOM = 20;

// What is drawn: `log` for latencies, which differ by orders of magnitude; `least` is the smallest step that `format` can tell.
export const CHARTS = [
  { id: 'requests', title: 'Requests per second', format: rate, least: 0.1, series: [['requests', 'answered'], ['refused', 'refused']] },
  { id: 'latency', title: 'Latency', format: micros, log: true, series: [['p50', 'p50'], ['p99', 'p99'], ['p999', 'p99.9']] },
  { id: 'errors', title: 'Errors per second', format: rate, least: 0.1, series: [['errors', 'proxy'], ['replyErrors', 'servers'], ['timeouts', 'timeouts']] },
  { id: 'bytes', title: 'Bytes per second', format: bytesPerSecond, binary: true, least: 1, series: [['bytesIn', 'from clients'], ['bytesOut', 'to clients']] },
  { id: 'connections', title: 'Connections', format: count, least: 1, series: [['clients', 'clients'], ['connections', 'to servers']] },
  { id: 'queues', title: 'Queues', format: count, least: 1, series: [['queued', 'unsent'], ['inFlight', 'unanswered']] },
];

// All charts of a view: one cursor for all of them.
export class Charts {
  constructor(parent) {
    this.charts = CHARTS.map((definition) => new Chart(definition, (time) => this.point(time)));
    this.cursor = null;
    parent.append(...this.charts.map((chart) => chart.element));
  }

  // Up to `now`, by the proxy's clock: the time of its last answer if it is gone, or the page paused.
  draw(history, now, events, isLive) {
    this.args = [history, now, events, isLive];
    for (const chart of this.charts) chart.draw(history, now, events, isLive, this.cursor);
  }

  point(time) {
    this.cursor = time;
    if (this.args) this.draw(...this.args);
  }
}

class Chart {
  constructor(definition, onPoint) {
    this.definition = definition;
    this.onPoint = onPoint;
    const id = `chart-${definition.id}`;
    this.grid = svg('g', { class: 'grid' });
    this.marks = svg('g', { class: 'marks' });
    this.lines = definition.series.map((_, at) => svg('path', { class: `line s${at + 1}` }));
    this.cursorLine = svg('line', { class: 'cursor', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
    this.drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      this.grid, this.marks, ...this.lines, this.cursorLine);
    this.labels = h('div', { class: 'axis', 'aria-hidden': 'true' });
    this.plot = h('div', {
      class: 'plot', tabindex: '0', role: 'slider', 'aria-label': `${definition.title}: time`, 'aria-valuemin': '-900', 'aria-valuemax': '0', 'aria-valuenow': '0',
      onpointermove: (event) => this.pointed(event), onpointerleave: () => onPoint(null), onblur: () => onPoint(null),
      onkeydown: (event) => this.keyed(event),
    }, this.drawing, this.labels);
    this.when = h('span', { class: 'when quiet' });
    this.values = definition.series.map(() => h('dd'));
    const legend = definition.series.map(([, name], at) => h('div', {},
      h('dt', {}, svg('svg', { class: 'key', viewBox: '0 0 22 8', width: 22, height: 8, 'aria-hidden': 'true' }, svg('path', { class: `line s${at + 1}`, d: 'M0 4H22' })), name),
      this.values[at]));
    this.element = h('figure', { class: 'chart', 'aria-labelledby': id },
      h('figcaption', {}, h('span', { id, class: 'title' }, definition.title), this.when, h('dl', { class: 'legend' }, ...legend)),
      this.plot);
  }

  pointed(event) {
    const box = this.drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const part = x / (WIDTH - RIGHT);
    this.onPoint(part < 0 || part > 1 || !this.now ? null : this.now - this.span + part * this.span);
  }

  keyed(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -15, PageDown: 15 };
    if (!this.history || !(event.key in steps || event.key === 'Home' || event.key === 'End')) return;
    event.preventDefault();
    const { times } = this.history;
    const last = times.length - 1;
    const at = this.at ?? last;
    const next = event.key === 'Home' ? 0 : event.key === 'End' ? last : Math.min(last, Math.max(0, at + steps[event.key]));
    this.onPoint(times[next]);
  }

  draw(history, now, events, isLive, cursor) {
    this.history = history;
    this.now = now;
    this.end = isLive ? 'now' : clock(now);
    const { times } = history;
    const known = now - (times[0] ?? now);
    this.span = SPANS_MS.find((span) => known <= span) || KEPT_MS;
    const from = now - this.span;
    const series = this.definition.series.map(([name]) => history.values[name]);
    const scale = this.scale(times, series, from);
    const x = (time) => ((time - from) / this.span) * (WIDTH - RIGHT);
    for (const [at, values] of series.entries()) setAttribute(this.lines[at], 'd', path(times, values, from, x, scale.y));
    this.drawAxis(scale, from, x);
    this.drawEvents(events, from, now, x);
    this.at = cursor === null ? null : nearest(times, cursor);
    this.drawFigures(times, series, x);
  }

  scale(times, series, from) {
    let top = 0;
    let low = Infinity;
    for (const values of series) {
      for (let at = values.length - 1; at >= 0 && times[at] >= from; at -= 1) {
        if (Number.isFinite(values[at])) {
          top = Math.max(top, values[at]);
          if (values[at] > 0) low = Math.min(low, values[at]);
        }
      }
    }
    const height = HEIGHT - TOP - BOTTOM;
    if (this.definition.log) {
      // Whole decades, at least two.
      const first = Math.max(0, Math.floor(Math.log10(Number.isFinite(low) ? low : 100)));
      const last = Math.max(first + 2, Math.ceil(Math.log10(Math.max(top, 1))));
      const y = (value) => HEIGHT - BOTTOM - ((Math.log10(Math.max(value, 10 ** first)) - first) / (last - first)) * height;
      return { y, ticks: Array.from({ length: last - first + 1 }, (_, at) => 10 ** (first + at)) };
    }
    const step = Math.max(this.definition.least, niceStep(top, this.definition.binary));
    const most = Math.max(step, Math.ceil((top * 1.02) / step) * step);
    const ticks = [];
    for (let value = 0; value <= most + step / 2; value += step) ticks.push(value);
    return { y: (value) => HEIGHT - BOTTOM - (Math.min(value, most) / most) * height, ticks };
  }

  drawAxis({ y, ticks }, from, x) {
    const parts = this.span === SPANS_MS[0] ? [2, 1, 0] : this.span === SPANS_MS[1] ? [5, 3, 1, 0] : [15, 10, 5, 0];
    const minutes = parts.map((minute) => from + this.span - minute * 60000);
    const shape = `${parts} ${this.end} ${ticks.join()} ${ticks.map(y).join()}`;
    const names = parts.map((minute) => (minute === 0 ? this.end : `−${minute} min`));
    if (this.shape === shape) return;
    this.shape = shape;
    const lines = ticks.map((tick) => svg('line', { x1: 0, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), class: tick === ticks[0] ? 'base' : null }));
    this.grid.replaceChildren(...lines);
    const value = (tick) => place(h('span', { class: 'y' }, this.definition.format(tick).replace('.0', '')), 'top', (y(tick) / HEIGHT) * 100);
    const time = (name, at) => place(h('span', { class: `x ${at === 0 ? 'x0' : at === parts.length - 1 ? 'x3' : ''}` }, name), 'left', (x(minutes[at]) / WIDTH) * 100);
    this.labels.replaceChildren(...ticks.map(value), ...names.map(time));
  }

  // Warnings and errors of the timeline, as ticks on the axis of time.
  drawEvents(events, from, now, x) {
    const times = events.filter((event) => event.severity !== 'info').flatMap((event) => (event.count > 1 ? [event.first_ms, event.last_ms] : [event.last_ms]));
    const shown = times.filter((time) => time >= from && time <= now);
    const marks = shown.map((time) => svg('path', { d: `M${x(time).toFixed(1)} ${HEIGHT - BOTTOM}l-4 7h8z` }));
    this.marks.replaceChildren(...marks);
  }

  drawFigures(times, series, x) {
    const { at } = this;
    const last = times.length - 1;
    const shown = at ?? last;
    for (const [place, values] of series.entries()) {
      setText(this.values[place], shown >= 0 ? this.definition.format(values[shown]) : NONE);
    }
    setText(this.when, at === null ? '' : `at ${clock(times[at])}`);
    setAttribute(this.cursorLine, 'visibility', at === null ? 'hidden' : 'visible');
    if (at !== null) {
      setAttribute(this.cursorLine, 'x1', x(times[at]).toFixed(1));
      setAttribute(this.cursorLine, 'x2', x(times[at]).toFixed(1));
    }
    const spoken = this.definition.series.map(([, name], place) => `${name} ${shown >= 0 ? this.definition.format(series[place][shown]) : 'not known'}`);
    const when = at === null ? this.end : `at ${clock(times[at])}`;
    // Of a cursor that is moved only: nobody wants each figure read out.
    setAttribute(this.plot, 'aria-valuenow', at === null ? '0' : Math.round((times[at] - this.now) / 1000));
    setAttribute(this.plot, 'aria-valuetext', `${when}: ${spoken.join(', ')}`);
  }
}

function place(element, side, percent) {
  element.style.setProperty(side, `${percent}%`);
  return element;
}

// A line with gaps where nothing is known.
function path(times, values, from, x, y) {
  let d = '';
  let isDown = false;
  for (let at = 0; at < times.length; at += 1) {
    if (times[at] < from) continue;
    const value = values[at];
    if (!Number.isFinite(value)) {
      isDown = false;
      continue;
    }
    d += `${isDown ? 'L' : 'M'}${x(times[at]).toFixed(1)} ${y(value).toFixed(1)}`;
    // A single point is seen too.
    if (!isDown && !Number.isFinite(values[at + 1])) d += 'h1.5';
    isDown = true;
  }
  return d;
}

function niceStep(top, isBinary) {
  if (top <= 0) return 1;
  if (isBinary) {
    const unit = 1024 ** Math.max(0, Math.floor(Math.log2(top) / 10));
    return niceStep(top / unit, false) * unit;
  }
  const rough = top / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  return step;
}

function nearest(times, time) {
  if (times.length === 0) return null;
  let best = 0;
  for (let at = 1; at < times.length; at += 1) {
    if (Math.abs(times[at] - time) < Math.abs(times[best] - time)) best = at;
  }
  return best;
}

// The same by minute, for the table.
export function byMinute(history, now) {
  const rows = [];
  for (let minute = 0; minute < 15; minute += 1) {
    const until = now - minute * 60000;
    const places = history.times.map((time, at) => [time, at]).filter(([time]) => time > until - 60000 && time <= until);
    if (places.length === 0) continue;
    const mean = (name) => {
      const known = places.map(([, at]) => history.values[name][at]).filter(Number.isFinite);
      return known.length ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
    };
    const most = (name) => Math.max(...places.map(([, at]) => history.values[name][at]).filter(Number.isFinite));
    rows.push({ until, mean, most });
  }
  return rows;
}
