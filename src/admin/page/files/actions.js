// What operators change, on the admin socket alone. Each says what will happen before it does, and how to do it in a terminal.

import { get, post } from './api.js';
import { buttons, button, close, command, confirm, list, open } from './dialogs.js';
import { h } from './dom.js';
import { percent, plural } from './format.js';

// A word of a shell.
export const quoted = (text) => (/^[A-Za-z0-9_.,:@/+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function choices(...list) {
  return h('ul', { class: 'choices' }, ...list.map(([title, about, onclick, isOffered]) => h('li', {},
    button(title, onclick, { disabled: isOffered === false ? true : null }), h('span', {}, about))));
}

const changed = (answer) => [`Server ${answer.server} of pool ${answer.pool} is ${answer.state} now.`];

// `health` says how the server is; `rates` its load.
export function serverActions(pool, name, onDone) {
  const server = pool.servers.find((one) => one.server === name);
  if (!server) return;
  const line = (verb) => `ringroad ctl ${verb} ${quoted(name)} --pool ${quoted(pool.pool)}`;
  const body = { server: name, pool: pool.pool };
  const keys = percent(server.key_share);
  const isLast = pool.servers.filter((one) => one.state === 'live').length === 1 && server.state === 'live';
  const elsewhere = isLast ? 'It is the last server that is up: all requests will fail.' : `Requests for its keys (${keys} of all) go to the other servers, which do not have them.`;
  const change = (verb, path, title, says) => () => confirm({
    title, says, line: line(verb), verb: `${title.split(' ')[0]} ${name}`,
    run: async () => {
      const answer = await post(path, body);
      onDone();
      return changed(answer);
    },
  });
  open(`${name}, pool ${pool.pool}`,
    h('p', { class: 'quiet' }, `It is ${server.state}, and owns ${keys} of the keys. Nothing happens before you confirm.`),
    choices(
      ['Drain…', 'Take it out of the ring until it is admitted, as before maintenance.', change('drain', '/servers/drain', `Drain server ${name}`, [`${name} leaves the ring at once, and stays out until it is admitted.`, elsewhere]), server.state !== 'drained'],
      ['Eject…', pool.ejects ? 'Take it out as if it had failed: it returns by itself.' : 'Not in this pool: without auto_eject_hosts nothing would bring it back.', change('eject', '/servers/eject', `Eject server ${name}`, [`${name} leaves the ring as if it had failed, and returns after server_retry_timeout, or when it answers probes.`, elsewhere]), pool.ejects && server.state === 'live'],
      ['Admit…', 'Bring it back into the ring, whatever kept it out.', change('admit', '/servers/admit', `Admit server ${name}`, [`${name} is back in the ring at once, and gets requests for its keys.`, 'What was written to other servers meanwhile is not found there.']), server.state !== 'live'],
      ['Fail over…', pool.fails_over ? 'Make a replica the primary, without losing a write.' : 'Not in this pool: it has neither sentinels nor replicas.', () => failover(pool, name, onDone), pool.fails_over],
    ),
    buttons(button('Close', close, { 'data-first': true })));
}

async function failover(pool, name, onDone) {
  const replicas = await knownReplicas(pool.pool, name);
  const choice = h('select', { id: 'replica' }, h('option', { value: '' }, 'any replica'), ...replicas.map((one) => h('option', { value: one.address }, one.address)));
  const shown = () => `ringroad ctl failover ${quoted(name)} --pool ${quoted(pool.pool)}${choice.value ? ` --to ${choice.value}` : ''}`;
  const next = () => confirm({
    title: `Fail over server ${name}`,
    says: [`${choice.value || 'A replica'} becomes the primary of ${name}. Writes wait for a moment, at most a few seconds; none is lost.`, 'If it cannot be done, the old primary stays.'],
    line: shown(), verb: `Fail over ${name}`,
    run: async () => {
      const answer = await post('/failover', { server: name, pool: pool.pool, ...(choice.value && { to: choice.value }) });
      onDone();
      return [`${answer.new} is the primary of ${name} now, after ${answer.took_ms} ms.`, ...answer.warnings];
    },
  });
  open(`Fail over server ${name}`, h('p', {}, h('label', { for: 'replica' }, 'New primary '), choice), buttons(button('Cancel', close), button('Go on', next, { 'data-first': true })));
}

async function knownReplicas(pool, name) {
  try {
    const { servers } = await get('/servers', { pool });
    return (servers.find((one) => one.server === name)?.replicas || []).filter((one) => one.up);
  } catch {
    return [];
  }
}

export function killClient(row, onDone) {
  const who = row.name ? `${row.name} (${row.address})` : row.address;
  confirm({
    title: `Kill client ${row.id}`,
    says: [`The connection of ${who} to pool ${row.pool} is closed at once. Most libraries connect again.`],
    line: `ringroad ctl clients ${quoted(row.pool)} kill ${row.id}`, verb: 'Kill the client',
    run: async () => {
      const answer = await post('/clients/kill', { id: row.id, pool: row.pool });
      onDone();
      return [`${plural(answer.killed.length, 'client')} killed.`];
    },
  });
}

const changeLines = (answer) => answer.pools.flatMap((pool) => {
  const moved = pool.moved_share ? `; ${percent(pool.moved_share)} of the keys are looked for on another server` : '';
  return [`Pool ${pool.pool}: ${pool.change}${moved}`, ...pool.details];
});

async function checkFile(onDone) {
  const line = 'ringroad ctl reload --check';
  const result = h('div', { role: 'status' }, h('p', { class: 'quiet' }, 'The proxy reads the file…'));
  const row = buttons(button('Close', close, { 'data-first': true }));
  open('Check the configuration file', result, command(line), row);
  try {
    const answer = await post('/reload', { check: true });
    const lines = changeLines(answer);
    result.replaceChildren(h('p', { class: 'done' }, lines.length ? 'A reload would be applied, and would change this:' : 'The file says what the proxy does already.'), list(lines));
    if (lines.length) row.append(button('Reload…', () => reload(lines, onDone), { class: 'danger' }));
  } catch (error) {
    result.replaceChildren(h('p', { class: 'failed' }, error.message), list(error.details || []));
  }
}

function reload(lines, onDone) {
  confirm({
    title: 'Reload the configuration file',
    says: ['The file is applied whole or not at all. Clients stay connected.', ...(lines.length ? [] : ['Check it first to see what would change.'])],
    line: 'ringroad ctl reload', verb: 'Reload',
    run: async () => {
      const answer = await post('/reload', {});
      onDone();
      const changes = changeLines(answer);
      return [changes.length ? 'The file was applied.' : 'The file says what the proxy does already.', ...changes];
    },
  });
}

function logLevel(level, onDone) {
  const choice = h('select', { id: 'level', 'data-first': true }, ...Array.from({ length: 12 }, (_, at) => h('option', { value: at, selected: at === level ? true : null }, String(at))));
  const next = () => {
    const wanted = Number(choice.value);
    confirm({
      title: `Set the log level to ${wanted}`,
      says: [`The level is ${level} now. At 6 and above the log has lines about single connections and requests, and grows fast.`],
      line: `ringroad ctl loglevel ${wanted}`, verb: `Set level ${wanted}`, danger: false,
      run: async () => {
        const answer = await post('/log-level', { level: wanted });
        onDone();
        return [`The log level is ${answer.level} now: it shows ${answer.shows}.`];
      },
    });
  };
  open('Log level', h('p', {}, h('label', { for: 'level' }, 'Level '), choice), buttons(button('Cancel', close), button('Go on', next)));
}

export function proxyActions(answer, onDone) {
  open('The proxy',
    h('p', { class: 'quiet' }, 'Nothing happens before you confirm.'),
    choices(
      ['Check the file', 'What a reload of the configuration file would change. Changes nothing.', () => checkFile(onDone)],
      ['Reload…', 'Apply the configuration file, whole or not at all.', () => reload([], onDone)],
      ['Log level…', `It is ${answer.log_level}, of 0 to 11.`, () => logLevel(answer.log_level, onDone)],
    ),
    buttons(button('Close', close, { 'data-first': true })));
}
