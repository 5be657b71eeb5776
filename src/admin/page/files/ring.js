// The ring of a pool. Each server has a lane of its own, so that not only its colour tells whose an arc is.

import { h, setAttribute, setText, svg } from './dom.js';
import { count, percent, plural } from './format.js';

const SIZE = 300;
const OUTER = 146;
const INNER = 62;
// With more servers there is one lane, and the server that is pointed at stands out.
const LANES_MAX = 16;

const word = { ketama: 'points', modula: 'slots' };

export class RingView {
  constructor(parent) {
    this.arcs = svg('g');
    this.drawing = svg('svg', { class: 'ring', viewBox: `${-SIZE / 2} ${-SIZE / 2} ${SIZE} ${SIZE}`, role: 'img', 'aria-labelledby': 'ring-text' }, this.arcs);
    this.middle = svg('text', { class: 'middle', y: -4 });
    this.middleSmall = svg('text', { class: 'middle small', y: 14 });
    this.drawing.append(this.middle, this.middleSmall);
    this.text = h('p', { id: 'ring-text', class: 'quiet' });
    this.legend = h('ul', { class: 'ring-legend' });
    parent.append(h('div', { class: 'ring-box' }, this.drawing, h('div', {}, this.text, this.legend)));
  }

  draw(ring) {
    const shape = JSON.stringify([ring.pool, ring.arcs, ring.servers]);
    if (this.shape === shape) return;
    this.shape = shape;
    const lanes = ring.servers.length <= LANES_MAX ? ring.servers.length : 1;
    const width = (OUTER - INNER) / Math.max(1, lanes);
    this.arcs.replaceChildren(...Array.from({ length: lanes }, (_, lane) => svg('circle', { class: 'lane', r: OUTER - (lane + 0.5) * width })));
    // One path for all arcs of a server.
    const paths = ring.servers.map(() => '');
    let begin = 0;
    for (const [server, end] of ring.arcs) {
      const lane = lanes === 1 ? 0 : server;
      const outer = OUTER - lane * width - (lanes > 1 ? 0.6 : 0);
      paths[server] += arc(begin, end, outer, Math.max(1, outer - width + (lanes > 1 ? 1.2 : 0)));
      begin = end;
    }
    this.arcs.append(...paths.map((d, at) => svg('path', { class: `arc c${at % 8}`, d, 'data-server': at })));
    this.describe(ring, lanes);
  }

  describe(ring, lanes) {
    const points = ring.points > 0 ? `${count(ring.points)} ${word[ring.distribution] || 'points'}` : '';
    setText(this.middle, points || ring.distribution);
    setText(this.middleSmall, points ? ring.distribution : '');
    const live = ring.servers.filter((server) => server.key_share > 0);
    const shares = live.map((server) => server.key_share);
    const how = ring.distribution === 'random' ? 'Each request goes to any live server: there is no ring.'
      : live.length === 0 ? 'No server owns keys.'
      : `${plural(live.length, 'server')} from ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))} of the keys, if they are spread evenly over the hashes.`;
    const drawn = ring.arcs.length === 0 ? '' : lanes > 1 ? ' The first server has the outermost lane.' : '';
    const thinned = ring.thinned ? ' Neighbouring arcs are put together.' : '';
    setText(this.text, how + drawn + thinned);
    this.legend.replaceChildren(...ring.servers.map((server, at) => this.entry(server, at)));
  }

  entry(server, at) {
    const mark = (isOn) => () => this.mark(isOn ? at : null);
    const key = svg('svg', { viewBox: '0 0 12 12', width: 12, height: 12, 'aria-hidden': 'true' }, svg('rect', { class: `arc c${at % 8}`, width: 12, height: 12 }));
    const share = server.state === 'live' || server.key_share > 0 ? percent(server.key_share) : server.state;
    return h('li', {}, h('button', {
      type: 'button', class: 'plain', onpointerenter: mark(true), onpointerleave: mark(false), onfocus: mark(true), onblur: mark(false),
      title: `weight ${server.weight}: ${percent(server.weight_share)} by weight`,
    }, key, h('span', { class: 'name' }, server.server), h('span', { class: 'share' }, share)));
  }

  mark(server) {
    for (const path of this.arcs.querySelectorAll('path')) {
      setAttribute(path, 'data-mark', server === null ? null : path.dataset.server === String(server) ? 'this' : 'other');
    }
  }
}

// A part of a ring: 0 is at the top, and it goes clockwise.
function arc(begin, end, outer, inner) {
  // A whole circle has no beginning.
  const to = end - begin >= 0.9999 ? begin + 0.9999 : end;
  const point = (part, radius) => {
    const angle = part * 2 * Math.PI - Math.PI / 2;
    return `${(Math.cos(angle) * radius).toFixed(2)} ${(Math.sin(angle) * radius).toFixed(2)}`;
  };
  const large = to - begin > 0.5 ? 1 : 0;
  return `M${point(begin, outer)}A${outer} ${outer} 0 ${large} 1 ${point(to, outer)}L${point(to, inner)}A${inner} ${inner} 0 ${large} 0 ${point(begin, inner)}Z`;
}
