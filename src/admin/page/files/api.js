// The proxy's API: paths relative to the page, so that it also works below a path of a reverse proxy.

const root = document.documentElement.dataset;

// 'full' on the admin socket; 'keys' or 'redacted' on the stats port.
export const access = root.access;
export const mayChange = access === 'full';
export const showsKeys = access !== 'redacted';

const base = root.api.replace(/^\//, '');
const TIMEOUT_MS = 10000;

export class Refused extends Error {
  constructor(status, refusal) {
    super(refusal.error || `the proxy answered ${status}`);
    this.status = status;
    this.details = refusal.details || [];
  }
}

export class TimedOut extends Error {
  constructor(seconds) {
    super(`no answer within ${seconds} s`);
    this.seconds = seconds;
  }
}

async function request(path, options, timeout = TIMEOUT_MS) {
  const url = (base ? base + '/' : '') + path.replace(/^\//, '');
  const { response, text } = await fetched(url, { cache: 'no-store', signal: AbortSignal.timeout(timeout), ...options }, timeout);
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Refused(response.status, {});
  }
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

// What a browser says of a failure is for programmers, and differs between browsers.
async function fetched(url, options, timeout) {
  try {
    const response = await fetch(url, options);
    return { response, text: await response.text() };
  } catch (error) {
    throw error.name === 'TimeoutError' ? new TimedOut(timeout / 1000) : new Error('the connection failed');
  }
}

export function get(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  const query = new URLSearchParams(given).toString();
  return request(query ? `${path}?${query}` : path, {});
}

// A failover, or a reload that looks up names, may take a while.
export function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  return request(path, { method: 'POST', headers, body: JSON.stringify(body) }, 60000);
}

// The paths of all operations that are offered.
export async function offered() {
  const index = await get('');
  return new Set(index.operations.map((operation) => operation.path));
}
