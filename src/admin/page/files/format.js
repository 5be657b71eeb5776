// Numbers, times and sizes as text. Pure.

export const NONE = '–';

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const isNumber = (x) => typeof x === 'number' && Number.isFinite(x);

// A count: whole, with separators; above a million with a unit.
export function count(x) {
  if (!isNumber(x)) return NONE;
  if (Math.abs(x) >= 1e12) return one.format(x / 1e12) + ' T';
  if (Math.abs(x) >= 1e9) return one.format(x / 1e9) + ' G';
  if (Math.abs(x) >= 1e7) return one.format(x / 1e6) + ' M';
  return plain.format(x);
}

// A rate: one decimal below ten, so that one a minute is not none.
export function rate(x) {
  if (!isNumber(x)) return NONE;
  if (x > 0 && x < 0.05) return '<0.1';
  if (x > 0 && x < 9.95) return one.format(x);
  return count(x);
}

export function bytes(x) {
  if (!isNumber(x)) return NONE;
  for (const [unit, size] of [['TiB', 2 ** 40], ['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) {
    if (x >= size) return (x / size >= 99.95 ? plain.format(x / size) : one.format(x / size)) + ' ' + unit;
  }
  return plain.format(x) + ' B';
}

export const bytesPerSecond = (x) => (isNumber(x) ? bytes(x) + '/s' : NONE);

// A latency in microseconds.
export function micros(us) {
  if (!isNumber(us)) return us === Infinity ? '> 67 s' : NONE;
  if (us < 1000) return plain.format(us) + ' µs';
  if (us < 100000) return one.format(us / 1000) + ' ms';
  if (us < 1e6) return plain.format(us / 1000) + ' ms';
  return one.format(us / 1e6) + ' s';
}

export function percent(x) {
  if (!isNumber(x)) return NONE;
  if (x > 0 && x < 0.0005) return '<0.1 %';
  return one.format(x * 100) + ' %';
}

// A duration in seconds, in its two largest units.
export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const from = parts.findIndex(([size]) => s >= size);
  if (from < 0) return '0 s';
  const [size, unit] = parts[from];
  const first = `${Math.floor(s / size)} ${unit}`;
  const next = parts[from + 1];
  const rest = next && Math.floor((s % size) / next[0]);
  return rest ? `${first} ${rest} ${next[1]}` : first;
}

const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });

// A time of day; with the day if it was another one.
export function clock(ms, now = Date.now()) {
  const [date, today] = [new Date(ms), new Date(now)];
  return (date.toDateString() === today.toDateString() ? clockFormat : dayFormat).format(date);
}

export const plural = (n, word, words = word + 's') => `${count(n)} ${n === 1 ? word : words}`;
