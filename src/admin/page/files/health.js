// What is wrong, from the answers. Pure but for its memory of failures and replies.

import { clock, count, percent, plural, rate } from './format.js';
import { ALL, serverKey } from './model.js';
import { notRead, standsStill } from './resharding.js';

// A failure counts for so long, if no reply came after it.
const REMEMBERED_MS = 5 * 60 * 1000;
// Failing requests are told for so long.
const TOLD_MS = 20 * 1000;

export class Health {
  constructor() {
    this.servers = new Map();
    this.pools = new Map();
    // Of when the last answer is, if the proxy does not answer any more.
    this.goneSince = null;
  }

  // How a state is shown. One that was told by a proxy that is gone is of the past.
  shown({ kind, word }) {
    return this.goneSince === null ? { kind, word } : { kind: 'quiet', word: `${word} as of ${clock(this.goneSince)}` };
  }

  // Takes the rates of an answer.
  take(model) {
    const now = model.answer.now_ms;
    for (const pool of model.answer.pools) {
      const rates = model.rates.get(pool.pool);
      if (rates && (rates.errors > 0 || rates.refused > 0)) {
        this.pools.set(pool.pool, { at: now, errors: rates.errors, refused: rates.refused, requests: rates.requests });
      }
      for (const server of pool.servers) {
        const key = serverKey(pool.pool, server.server);
        const known = this.servers.get(key) || { failed: 0, replied: 0, replies: server.replies };
        if (server.replies > known.replies) known.replied = now;
        known.replies = server.replies;
        if (model.serverRates.get(key)?.failures > 0) known.failed = now;
        this.servers.set(key, known);
      }
    }
  }

  // Takes the events, of which the last about the connections of a server counts.
  takeEvents(events) {
    for (const event of events) {
      if (!event.server || !['server_failed', 'server_answers', 'server_returned'].includes(event.kind)) continue;
      const key = serverKey(event.pool, event.server);
      const known = this.servers.get(key) || { failed: 0, replied: 0, replies: 0 };
      known.told = event.kind === 'server_failed' ? event.last_ms : 0;
      known.why = event.kind === 'server_failed' ? event.text : undefined;
      this.servers.set(key, known);
    }
  }

  // How a server is: a kind of sign, a word, and since when or why.
  server(pool, server, now) {
    const key = serverKey(pool.pool, server.server);
    const known = this.servers.get(key);
    if (server.state === 'ejected') {
      const since = server.ejected_at_ms ? `since ${clock(server.ejected_at_ms, now)}` : '';
      return { kind: 'error', word: 'ejected', why: since, since: server.ejected_at_ms };
    }
    const isSilent = server.connections === 0 && known;
    const failed = Math.max(known?.failed || 0, known?.told || 0);
    if (isSilent && failed > (known.replied || 0) && (known.told || now - failed < REMEMBERED_MS)) {
      return { kind: 'error', word: 'unreachable', why: known.why || `failed at ${clock(failed, now)}`, since: failed };
    }
    if (server.state === 'drained') return { kind: 'warning', word: 'drained', why: 'by an operator' };
    // Nobody knows how it is.
    if (server.replies === 0 && server.connections === 0) return { kind: 'quiet', word: 'not used yet', why: '' };
    return { kind: 'good', word: 'up', why: '' };
  }

  // How a pool is: up to the worst of its servers.
  pool(pool, now) {
    const states = pool.servers.map((server) => this.server(pool, server, now));
    const down = states.filter((state) => state.kind === 'error').length;
    const drained = states.filter((state) => state.kind === 'warning').length;
    const unused = states.filter((state) => state.kind === 'quiet').length;
    const up = states.length - down - drained;
    const kind = down > 0 ? 'error' : drained > 0 || pool.moving ? 'warning' : unused === states.length ? 'quiet' : 'good';
    const word = unused === states.length ? 'not used yet' : up === states.length ? (pool.moving ? 'keys move' : 'up') : up === 0 ? 'no server' : `${down + drained} of ${states.length} out`;
    return { kind, word, up, total: states.length };
  }

  problems(model, moves) {
    const answer = model.answer;
    const now = answer.now_ms;
    const found = [];
    const add = (weight, kind, key, text, pool, tab) => found.push({ weight, kind, key, text, pool, tab });
    if (answer.state === 'stopping') add(0, 'warning', 'stopping', 'The proxy is stopping: it finishes requests in flight.');
    if (answer.config_refusal) {
      add(1, 'error', 'config', `The configuration file was refused, and the old one is in use: ${answer.config_refusal}`);
    }
    if (answer.max_files > 0 && answer.open_files / answer.max_files > 0.9) {
      const of = `${count(answer.open_files)} of ${count(answer.max_files)} file descriptors are open`;
      add(1, 'error', 'files', `${of}: raise LimitNOFILE, or new clients are refused.`);
    }
    for (const pool of answer.pools) {
      const state = this.pool(pool, now);
      if (state.up === 0) {
        add(0, 'error', `none ${pool.pool}`, `No server of pool ${pool.pool} is up: its requests fail.`, pool.pool);
      }
      for (const server of pool.servers) {
        const own = this.server(pool, server, now);
        if (own.kind === 'error' || own.kind === 'warning') {
          const why = own.why ? `: ${own.why}` : '';
          const keys = own.word === 'unreachable' && server.key_share > 0 ? `; requests for ${percent(server.key_share)} of the keys fail` : '';
          const key = `server ${serverKey(pool.pool, server.server)} ${own.word}`;
          add(own.kind === 'error' ? 1 : 4, own.kind, key, `${pool.pool} / ${server.server} is ${own.word}${why}${keys}`, pool.pool);
        }
      }
      for (const reason of pool.tls_refusals) {
        add(1, 'error', `tls ${pool.pool} ${reason}`, `${pool.pool}: a changed file is faulty, and the old one is in use: ${reason}`, pool.pool);
      }
      for (const expiry of pool.tls_expiries) add(3, 'warning', `expiry ${pool.pool} ${expiry}`, `${pool.pool}: ${expiry}`, pool.pool);
      const failing = this.pools.get(pool.pool);
      if (failing && now - failing.at < TOLD_MS) {
        if (failing.errors > 0) {
          const share = percent(failing.errors / (failing.errors + failing.requests));
          const verb = failing.at === now ? 'get' : `at ${clock(failing.at, now)} got`;
          add(2, 'error', `errors ${pool.pool}`, `${pool.pool}: ${rate(failing.errors)} requests/s ${verb} an error (${share})`, pool.pool);
        }
        if (failing.refused > 0) {
          const verb = failing.at === now ? 'are' : `at ${clock(failing.at, now)} were`;
          add(5, 'warning', `refused ${pool.pool}`, `${pool.pool}: ${rate(failing.refused)} commands/s ${verb} refused`, pool.pool, 'refusals');
        }
      }
      if (pool.moving) add(3, 'warning', `moving ${pool.pool}`, `${pool.pool}: keys are being moved`, pool.pool, 'moves');
    }
    for (const { pool } of answer.pools.filter((one) => one.moving)) {
      const known = moves.of(pool);
      const move = known?.move || {};
      if (known?.error) add(2, 'error', `unread ${pool}`, `${pool}: ${notRead(known)}`, pool, 'moves');
      if (standsStill(move)) add(1, 'error', `still ${pool}`, `${pool}: the move of keys stands still: ${move.next}`, pool, 'moves');
      for (const alarm of move.alarms || []) add(1, 'error', `alarm ${pool} ${alarm}`, `${pool}: ${alarm}`, pool, 'moves');
    }
    return found.sort((a, b) => a.weight - b.weight);
  }

  // One sentence, if nothing is wrong with the pool that is shown, or with any.
  allWell(model, shown) {
    const { answer } = model;
    const pools = shown ? [shown] : answer.pools;
    const states = pools.flatMap((pool) => pool.servers.map((server) => this.server(pool, server, answer.now_ms)));
    const used = states.filter((state) => state.kind === 'good').length;
    const where = pools.length === 1 ? `pool ${pools[0].pool}` : plural(pools.length, 'pool');
    const requests = model.rates.get(shown ? shown.pool : ALL)?.requests;
    const load = requests > 0 ? `${rate(requests)} requests/s are answered.` : requests === 0 ? 'There is no load.' : '';
    if (pools.length === 0) return 'The proxy has no pools.';
    if (used === 0) return `No server of ${where} has been used yet. ${load}`;
    const unused = used < states.length ? `; ${count(states.length - used)} not used yet` : '';
    return `${used === 1 ? 'The server' : `All ${count(used)} servers`} of ${where} ${used === 1 ? 'is' : 'are'} up${unused}. ${load}`;
  }
}
