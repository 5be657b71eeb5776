// What is kept: the last fifteen minutes of each pool, from the differences of answers. Pure.

export const KEPT_MS = 15 * 60 * 1000;

// The counters whose rates are drawn, and the gauges.
const RATES = {
  requests: (p) => p.requests,
  errors: (p) => p.errors,
  refused: (p) => p.refused,
  timeouts: (p) => sum(p.servers, (s) => s.timeouts),
  replyErrors: (p) => sum(p.servers, (s) => s.reply_errors),
  bytesIn: (p) => p.bytes_in,
  bytesOut: (p) => p.bytes_out,
};
const GAUGES = {
  clients: (p) => p.clients,
  connections: (p) => sum(p.servers, (s) => s.connections),
  queued: (p) => sum(p.servers, (s) => s.queued),
  inFlight: (p) => sum(p.servers, (s) => s.in_flight),
};
const PERCENTILES = { p50: 0.5, p99: 0.99, p999: 0.999 };
export const SERIES = [...Object.keys(RATES), ...Object.keys(GAUGES), ...Object.keys(PERCENTILES)];

export function sum(list, of) {
  let total = 0;
  for (const item of list) total += of(item);
  return total;
}

// The buckets that one answer has more than another, as a map of their numbers.
export function latencyBetween(before, now) {
  const counts = new Map(now);
  for (const [bucket, n] of before) counts.set(bucket, (counts.get(bucket) || 0) - n);
  for (const [bucket, n] of counts) if (n <= 0) counts.delete(bucket);
  return counts;
}

export function addTo(sums, counts) {
  for (const [bucket, n] of counts) sums.set(bucket, (sums.get(bucket) || 0) + n);
  return sums;
}

// The latency that this part of them did not exceed, as if those of a bucket were spread evenly over it; none of nothing.
export function percentile(counts, part, bounds) {
  let total = 0;
  for (const n of counts.values()) total += n;
  if (total === 0) return NaN;
  const rank = Math.max(1, Math.ceil(total * part - 1e-9));
  let seen = 0;
  for (const bucket of [...counts.keys()].sort((a, b) => a - b)) {
    const own = counts.get(bucket);
    if (seen + own >= rank) {
      if (bucket >= bounds.length) return Infinity;
      const low = bucket > 0 ? bounds[bucket - 1] : 0;
      return low + ((bounds[bucket] - low) * (rank - seen)) / own;
    }
    seen += own;
  }
  return NaN;
}

class History {
  constructor() {
    this.times = [];
    this.values = Object.fromEntries(SERIES.map((name) => [name, []]));
  }

  add(time, values) {
    this.times.push(time);
    for (const name of SERIES) this.values[name].push(values[name] ?? NaN);
    let old = 0;
    while (old < this.times.length && this.times[old] < time - KEPT_MS - 5000) old += 1;
    // Now and then, and not each time: the arrays are moved.
    if (old > 60) {
      this.times.splice(0, old);
      for (const name of SERIES) this.values[name].splice(0, old);
    }
  }
}

// All pools together have this name, which none has.
export const ALL = '';

export class Model {
  constructor() {
    this.histories = new Map();
    this.answer = null;
    this.rates = new Map();
    this.serverRates = new Map();
    this.cpu = NaN;
  }

  history(pool) {
    if (!this.histories.has(pool)) this.histories.set(pool, new History());
    return this.histories.get(pool);
  }

  pool(name) {
    return this.answer?.pools.find((pool) => pool.pool === name);
  }

  // Takes an answer. Returns true if it comes from another process than the one before.
  take(answer) {
    const before = this.answer;
    this.answer = answer;
    const isNew = Boolean(before) && (before.pid !== answer.pid || answer.uptime_seconds < before.uptime_seconds);
    const seconds = before && !isNew ? (answer.now_ms - before.now_ms) / 1000 : 0;
    this.rates.clear();
    this.serverRates.clear();
    if (seconds <= 0) {
      this.gap(answer.now_ms);
      return isNew;
    }
    this.cpu = (answer.cpu_seconds - before.cpu_seconds) / seconds;
    const old = new Map(before.pools.map((pool) => [pool.pool, pool]));
    const all = { sums: {}, latency: new Map() };
    for (const pool of answer.pools) {
      const known = old.get(pool.pool);
      if (known) this.takePool(answer, known, pool, seconds, all);
    }
    this.add(ALL, answer, all.sums, all.latency);
    const names = new Set(answer.pools.map((pool) => pool.pool));
    for (const name of this.histories.keys()) {
      if (name !== ALL && !names.has(name)) this.histories.delete(name);
    }
    return isNew;
  }

  takePool(answer, before, pool, seconds, all) {
    const values = {};
    for (const [name, of] of Object.entries(RATES)) values[name] = Math.max(0, of(pool) - of(before)) / seconds;
    for (const [name, of] of Object.entries(GAUGES)) values[name] = of(pool);
    for (const [name, value] of Object.entries(values)) all.sums[name] = (all.sums[name] || 0) + value;
    const latency = latencyBetween(before.latency, pool.latency);
    addTo(all.latency, latency);
    this.add(pool.pool, answer, values, latency);
    const old = new Map(before.servers.map((server) => [server.server, server]));
    const total = sum(pool.servers, (s) => Math.max(0, s.requests - (old.get(s.server)?.requests ?? s.requests)));
    for (const server of pool.servers) {
      const known = old.get(server.server);
      if (known) this.serverRates.set(serverKey(pool.pool, server.server), ratesOf(answer, known, server, seconds, total));
    }
  }

  add(name, answer, values, latency) {
    for (const [series, part] of Object.entries(PERCENTILES)) {
      values[series] = percentile(latency, part, answer.latency_bounds_us);
    }
    this.rates.set(name, values);
    this.history(name).add(answer.now_ms, values);
  }

  // Nothing is known of the time before this.
  gap(time) {
    this.cpu = NaN;
    for (const history of this.histories.values()) history.add(time, {});
  }
}

export const serverKey = (pool, server) => JSON.stringify([pool, server]);

function ratesOf(answer, before, server, seconds, total) {
  const per = (of) => Math.max(0, of(server) - of(before)) / seconds;
  const latency = latencyBetween(before.latency, server.latency);
  const part = (p) => percentile(latency, p, answer.latency_bounds_us);
  const requests = per((s) => s.requests);
  return {
    requests,
    share: total > 0 ? (requests * seconds) / total : NaN,
    failures: per((s) => s.errors + s.timeouts + s.connect_errors),
    timeouts: per((s) => s.timeouts),
    connectErrors: per((s) => s.connect_errors),
    replyErrors: per((s) => s.reply_errors),
    bytes: per((s) => s.bytes_in + s.bytes_out),
    p50: part(0.5),
    p99: part(0.99),
  };
}
