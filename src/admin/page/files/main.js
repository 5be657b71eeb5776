// The page: asks the proxy every two seconds, and draws what it says.

import { proxyActions, killClient, serverActions } from './actions.js';
import { access, get, mayChange, offered } from './api.js';
import { byMinute, CHARTS, Charts } from './charts.js';
import { button, buttons, close, isOpen, open } from './dialogs.js';
import { byId, h, keyed, setAttribute, setState, setText, show } from './dom.js';
import { bytes, clock, count, duration, NONE } from './format.js';
import { Health } from './health.js';
import { ALL, Model } from './model.js';
import { Moves } from './moves.js';
import { Panels } from './panels.js';
import { poolHash, Pools } from './pools.js';
import { RingView } from './ring.js';
import { Servers } from './servers.js';
import { Table } from './table.js';

const EVERY_MS = 2000;
// The answer about many pools is large.
const EVERY_MANY_MS = 5000;
const MANY = 40;
const BACKOFF_MS = [1000, 2000, 4000, 8000, 15000];
// Servers are asked for moves: less often than the proxy, but for those that are looked at.
const MOVES_MS = 10000;
const MOVES_SHOWN_MS = 4500;
const EVENTS_SHOWN = 12;

const model = new Model();
const health = new Health();
const state = { events: [], newest: -1, failures: 0, gone: null, lastGood: 0, isPaused: false, allEvents: false, pool: null, tab: null };
let timer = null;
let isAsking = false;
let panels = null;

const onDone = () => ask();
const moves = new Moves(() => !state.gone && render());
const pools = new Pools({ model, health });
const servers = new Servers({ model, health, onAction: (pool, server) => serverActions(model.pool(pool.pool), server, onDone) });
const charts = new Charts(byId('charts'));
const ring = new RingView(byId('ring'));
const events = new Table({
  caption: 'Events, the newest first', empty: 'nothing has happened yet', keyOf: (row) => `${row.first_ms} ${row.pool} ${row.server} ${row.kind} ${row.text}`,
  columns: [
    { title: 'Time', text: (row) => clock(row.last_ms) },
    { title: 'Severity', cell: (cell, row) => setState(cell, row.severity, row.severity) },
    { title: 'Event', header: true, cell: eventCell },
  ],
});
byId('events').append(events.element);
const figures = new Table({
  caption: 'Means by minute; latencies are the highest of the minute', empty: 'nothing is known yet', keyOf: (row) => row.until, hideCaption: false,
  columns: [
    { title: 'Until', header: true, text: (row) => clock(row.until) },
    ...CHARTS.flatMap((chart) => chart.series.map(([name, title]) => ({
      title: `${chart.title}: ${title}`, number: true, text: (row) => chart.format(chart.log ? row.most(name) : row.mean(name)),
    }))),
  ],
});
byId('figures-table').append(figures.element);

function eventCell(cell, row) {
  const where = [row.pool, row.server].filter(Boolean).join(' / ');
  const times = row.count > 1 ? ` ×${count(row.count)}${row.last_ms - row.first_ms > 1000 ? ` since ${clock(row.first_ms)}` : ''}` : '';
  const text = `${row.text}${row.client ? ` (${row.client})` : ''}${times}`;
  const shape = JSON.stringify([where, text, row.details]);
  if (cell.shape === shape) return;
  cell.shape = shape;
  const details = row.details.length ? h('details', {}, h('summary', {}, 'Details'), h('ul', { class: 'lines' }, ...row.details.map((line) => h('li', {}, line)))) : '';
  cell.replaceChildren(where ? h('b', {}, where) : '', where ? ' ' : '', text, details);
}

// Asking.

async function ask() {
  if (isAsking || document.hidden) return;
  isAsking = true;
  clearTimeout(timer);
  try {
    const answer = await get('/overview');
    const isNew = model.take(answer);
    health.take(model);
    state.lastGood = Date.now();
    if (isNew) announce('The proxy was started again.');
    if (answer.newest_event !== state.newest) await askEvents(answer, isNew);
    await askRing(answer);
    state.failures = 0;
    state.gone = null;
  } catch (error) {
    state.failures += 1;
    state.gone = error;
  }
  isAsking = false;
  const every = model.answer?.pools.length > MANY ? EVERY_MANY_MS : EVERY_MS;
  const wait = state.failures ? BACKOFF_MS[Math.min(state.failures, BACKOFF_MS.length) - 1] : every;
  state.nextAt = Date.now() + wait;
  if (!state.isPaused) timer = setTimeout(ask, wait);
  render();
}

async function askEvents(answer, isNew) {
  const isFirst = state.newest < 0 || isNew || answer.newest_event < state.newest;
  const got = await get('/events', isFirst ? {} : { after: state.newest });
  const isOld = isFirst ? () => false : (old) => !got.events.some((one) => one.first_ms === old.first_ms && one.text === old.text && one.server === old.server && one.pool === old.pool);
  state.events = [...(isFirst ? [] : state.events.filter(isOld)), ...got.events].slice(-1000);
  state.newest = got.newest;
  health.takeEvents(got.events);
  if (!isFirst) announce(got.events.filter((event) => event.severity !== 'info').map((event) => `${[event.pool, event.server].filter(Boolean).join(' ')} ${event.text}`).join('. '));
}

// The ring of the pool that is shown, if its placement may have changed.
async function askRing(answer) {
  const pool = shownPool();
  const shape = pool && JSON.stringify([pool.pool, pool.moving && Math.floor(answer.now_ms / 5000), pool.servers.map((one) => [one.server, one.state, one.weight, one.key_share])]);
  if (pool && state.ringShape !== shape) {
    const [found] = (await get('/ring', { pool: pool.pool })).pools;
    state.ring = found;
    state.ringShape = shape;
  }
}

// The moves of all pools whose keys are being moved, and of those that the panel shows.
function askMoves(answer) {
  const shown = shownPool();
  const isShown = (pool) => panels?.current?.id === 'moves' && pool.guarded && (!shown || shown === pool);
  const wanted = answer.pools.filter((pool) => pool.moving || isShown(pool));
  moves.ask(new Map(wanted.map((pool) => [pool.pool, isShown(pool) ? MOVES_SHOWN_MS : MOVES_MS])));
}

function announce(text) {
  if (text) setText(byId('news'), text);
}

// Where we are.

function shownPool() {
  const only = model.answer?.pools.length === 1 ? model.answer.pools[0] : null;
  return (state.pool === null ? null : model.pool(state.pool)) || only;
}

function readHash(event) {
  const before = shownPool()?.pool;
  const match = /^#\/pool\/([^/]*)(?:\/([a-z]*))?$/.exec(location.hash);
  const tab = match?.[2] || /^#\/([a-z]+)$/.exec(location.hash)?.[1] || null;
  let pool = null;
  try {
    pool = match ? decodeURIComponent(match[1]) : null;
  } catch {
    pool = null;
  }
  state.pool = pool;
  state.tab = tab;
  panels?.select(tab);
  if (!model.answer) return;
  render();
  const isOther = shownPool()?.pool !== before;
  // By a link, and not by a tab itself.
  if (event && tab) byId(`tab-${tab}`)?.focus();
  else if (event && isOther) byId('main').focus();
  if (isOther) ask();
}

function selectTab(id) {
  const to = state.pool === null ? `#/${id}` : `${poolHash(state.pool)}/${id}`;
  if (location.hash !== to) history.replaceState(null, '', to);
  readHash();
}

// Drawing.

function render() {
  renderLink();
  const { answer } = model;
  if (!answer) return;
  const pool = shownPool();
  const isOne = answer.pools.length === 1;
  setText(byId('host'), answer.host);
  renderProcess(answer);
  renderCrumbs(pool, isOne);
  renderProblems();
  show(byId('pools-section'), !pool && !isOne);
  if (!pool && !isOne) pools.render();
  show(byId('pool-only'), Boolean(pool));
  show(byId('ring-section'), Boolean(pool));
  if (pool) servers.render(pool);
  if (pool && state.ring?.pool === pool.pool) ring.draw(state.ring);
  const kept = model.history(pool ? pool.pool : ALL);
  const wanted = state.events.filter((event) => !pool || isOne || event.pool === pool.pool || !event.pool);
  charts.draw(kept, answer.now_ms, wanted, !state.gone && !state.isPaused);
  setText(byId('span'), 'up to the last 15 minutes, as long as this page is open');
  if (byId('figures').open) figures.render(byMinute(kept, answer.now_ms));
  renderEvents(wanted);
  if (!state.gone) askMoves(answer);
  panels?.refresh(answer, pool && !isOne ? pool.pool : undefined);
}

// Whether the proxy answers; if not, what is shown is of the past.
function renderLink() {
  const { gone, isPaused, lastGood } = state;
  health.goneSince = gone && lastGood ? lastGood : null;
  document.body.dataset.state = gone ? 'gone' : 'live';
  setAttribute(byId('link'), 'data-state', gone ? 'gone' : isPaused ? 'paused' : 'live');
  setText(byId('link-text'), gone ? 'no answer' : isPaused ? 'paused' : 'live');
  document.title = gone ? 'No answer: Ringroad' : title(model.answer);
  if (gone) {
    const since = lastGood ? `The proxy has not answered since ${clock(lastGood)}` : 'The proxy does not answer';
    const why = gone.status ? `: ${gone.message}` : '';
    const kept = lastGood ? ' The figures are the last ones.' : '';
    setText(byId('gone'), `${since}${why}.${kept} Asking again, at most every 15 s.`);
  }
  show(byId('gone'), Boolean(gone));
}

function title(answer) {
  const wrong = health.problems(model, moves).filter((problem) => problem.kind === 'error').length;
  return `${wrong ? `(${wrong}) ` : ''}Ringroad ${answer.host}`;
}

function renderProcess(answer) {
  const cores = Number.isFinite(model.cpu) ? `${model.cpu.toFixed(2)} cores` : NONE;
  const rows = [
    ['Version', answer.version], ['Up', duration(answer.uptime_seconds)], ['Processor', cores],
    ['Memory', bytes(answer.memory_bytes)], ['Files', `${count(answer.open_files)} of ${count(answer.max_files)}`],
  ];
  keyed(byId('process'), rows, ([name]) => name, ([name]) => h('div', {}, h('dt', {}, name), h('dd')), (element, [, value]) => setText(element.lastChild, value));
}

function renderCrumbs(pool, isOne) {
  const crumbs = byId('crumbs');
  const shape = JSON.stringify([pool?.pool, pool?.listen, isOne, state.pool, model.answer.pools.length]);
  if (crumbs.shape === shape) return;
  crumbs.shape = shape;
  const about = pool && h('span', { class: 'quiet' }, `${pool.protocol}, ${pool.distribution}, ${pool.hash}, listens on ${pool.listen}`);
  if (isOne) crumbs.replaceChildren(h('h1', {}, pool.pool), about);
  else if (pool) crumbs.replaceChildren(h('a', { href: '#/' }, 'All pools'), h('span', { 'aria-hidden': 'true' }, '›'), h('h1', {}, pool.pool), about);
  else if (state.pool !== null) crumbs.replaceChildren(h('a', { href: '#/' }, 'All pools'), h('h1', {}, 'There is no such pool'));
  else crumbs.replaceChildren(h('h1', {}, model.answer.pools.length ? 'All pools' : 'No pools'));
}

function renderProblems() {
  const shown = shownPool();
  const found = health.problems(model, moves);
  const ours = found.filter((problem) => !shown || !problem.pool || problem.pool === shown.pool);
  const elsewhere = found.length - ours.length;
  const most = 8;
  const items = ours.slice(0, most).map((problem) => ({ ...problem, link: problem.pool && (problem.pool !== shown?.pool || problem.tab) }));
  const rest = ours.slice(most);
  const worst = rest.some((problem) => problem.kind === 'error') ? 'error' : 'warning';
  if (rest.length > 0) items.push({ kind: worst, key: 'more', text: `and ${count(rest.length)} more; the table of pools has them first` });
  if (elsewhere > 0) items.push({ kind: 'warning', key: 'elsewhere', text: `Other pools have ${count(elsewhere)} more`, link: true, href: '#/' });
  if (state.gone) items.unshift({ kind: 'quiet', key: 'gone', text: `Not known since ${clock(state.lastGood)}.${found.length ? ' Until then:' : ''}` });
  else if (found.length === 0) items.push({ kind: 'good', key: 'well', text: health.allWell(model, shown) });
  keyed(byId('problems'), items, (item) => `${item.key} ${item.link}`, problemItem, (element, item) => {
    setText(element.lastChild, item.text);
    setAttribute(element, 'class', item.kind);
  });
}

const SIGN = { error: '■', warning: '▲', good: '●', quiet: '○' };
const SPOKEN = { error: 'error: ', warning: 'warning: ', good: 'Fine: ', quiet: '' };

function problemItem(item) {
  const href = item.href || (item.pool && poolHash(item.pool) + (item.tab ? `/${item.tab}` : ''));
  return h('li', {}, h('span', { class: 'sign', 'aria-hidden': 'true' }, SIGN[item.kind]), h('span', { class: 'unseen' }, SPOKEN[item.kind]), item.link ? h('a', { href }) : h('span'));
}

function renderEvents(wanted) {
  const isStrict = byId('events-warnings').checked;
  const rows = wanted.filter((event) => !isStrict || event.severity !== 'info').sort((a, b) => b.number - a.number);
  events.render(state.allEvents ? rows : rows.slice(0, EVENTS_SHOWN));
  const more = byId('all-events');
  show(more, rows.length > EVENTS_SHOWN);
  setText(more, state.allEvents ? `Show the last ${EVENTS_SHOWN} only` : `Show all ${count(rows.length)} events`);
}

// Tools.

function togglePause() {
  state.isPaused = !state.isPaused;
  setAttribute(byId('pause'), 'aria-pressed', String(state.isPaused));
  setText(byId('pause'), state.isPaused ? 'Resume' : 'Pause');
  clearTimeout(timer);
  if (state.isPaused) {
    render();
    setAttribute(byId('link'), 'data-state', 'paused');
    setText(byId('link-text'), 'paused');
  } else ask();
}

const THEMES = ['system', 'light', 'dark'];

function setTheme(theme) {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setText(byId('theme'), `Theme: ${theme}`);
  try {
    localStorage.setItem('ringroad-theme', theme);
  } catch {
    // A browser that keeps nothing.
  }
}

function savedTheme() {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem('ringroad-theme')) || 'system';
  } catch {
    return 'system';
  }
}

const nextTheme = () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || 'system') + 1) % THEMES.length]);

const KEYS = [
  ['?', 'this help', () => help()],
  ['p', 'pause, resume', togglePause],
  ['t', 'theme: system, light, dark', nextTheme],
  ['g', 'all pools', () => { location.hash = '#/'; }],
  ['/', 'filter the pools', () => { if (!byId('pools-section').hidden) byId('filter').focus(); }],
  ['s', 'servers', () => jump('servers-title')],
  ['l', 'timeline', () => jump('events-title')],
  ['1 … 9', 'the panels: commands, refused, slow log …', null],
];

function jump(id) {
  const title = byId(id);
  if (title.closest('[hidden]')) return;
  title.setAttribute('tabindex', '-1');
  title.focus();
  title.scrollIntoView();
}

function help() {
  const rows = KEYS.flatMap(([key, about]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, about)]);
  open('Keys', h('dl', { class: 'shortcuts' }, ...rows, h('dt', {}, h('kbd', {}, '← →')), h('dd', {}, 'in a chart: the figures of another time')),
    h('p', { class: 'quiet' }, 'A triangle on the axis of a chart is a warning or an error of the timeline. The page asks every two seconds while its tab is seen; nothing is counted for it.'),
    buttons(button('Close', close, { 'data-first': true })));
}

document.addEventListener('keydown', (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== 'checkbox';
  if (isTyping || isOpen() || event.ctrlKey || event.metaKey || event.altKey) return;
  const found = KEYS.find(([key, , run]) => run && key === event.key);
  if (found) {
    event.preventDefault();
    found[2]();
  } else if (/^[1-9]$/.test(event.key) && panels?.panels[event.key - 1]) {
    const panel = panels.panels[event.key - 1];
    selectTab(panel.id);
    byId(`tab-${panel.id}`).focus();
  }
});

byId('pause').addEventListener('click', togglePause);
byId('theme').addEventListener('click', nextTheme);
byId('help').addEventListener('click', help);
byId('proxy-actions').addEventListener('click', () => model.answer && proxyActions(model.answer, onDone));
byId('events-warnings').addEventListener('change', () => model.answer && render());
byId('all-events').addEventListener('click', () => {
  state.allEvents = !state.allEvents;
  render();
});
byId('figures').addEventListener('toggle', () => model.answer && render());
window.addEventListener('hashchange', readHash);
document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (!document.hidden && !state.isPaused) ask();
});

async function start() {
  setTheme(savedTheme());
  show(byId('proxy-actions'), mayChange);
  const where = mayChange ? 'Admin socket: servers, clients, reload and log level can be changed here.'
    : access === 'keys' ? 'Stats port, read only.'
    : 'Stats port, read only; without keys, arguments and client addresses, which --show-keys shows.';
  setText(byId('foot'), `${where} The same in a terminal: ringroad ctl. Press ? for keys.`);
  readHash();
  for (;;) {
    try {
      const paths = await offered();
      panels = new Panels({ paths, moves, health, onKill: (row) => killClient(row, onDone), onSelect: selectTab });
      panels.select(state.tab);
      break;
    } catch (error) {
      state.gone = error;
      render();
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
  ask();
}

start();
