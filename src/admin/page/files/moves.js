// The moves of keys, by pool. The proxy asks servers for them, and one that hangs keeps it waiting: so the page asks beside its
// loop, for one pool at a time.

import { get, TimedOut } from './api.js';

export class Moves {
  constructor(onRead) {
    this.onRead = onRead;
    this.read = new Map();
    this.wanted = new Map();
    this.isAsking = false;
  }

  // What is known of the move of a pool: `move`, the last that was read, `at` that time, and `error` if it could not be read since.
  of(pool) {
    return this.read.get(pool);
  }

  // Asks for the moves of these pools, each with the age in milliseconds that an answer may have, and forgets those of others.
  async ask(wanted) {
    this.wanted = wanted;
    for (const pool of this.read.keys()) {
      if (!wanted.has(pool)) this.read.delete(pool);
    }
    if (this.isAsking) return;
    this.isAsking = true;
    const begun = Date.now();
    try {
      for (let pool = this.next(begun); pool !== undefined; pool = this.next(begun)) {
        await this.askOne(pool);
        this.onRead();
      }
    } finally {
      this.isAsking = false;
    }
  }

  // The pool that was asked for longest ago, if its answer is old: each once at most, so that a round ends.
  next(begun) {
    const askedAt = (pool) => this.read.get(pool)?.askedAt || 0;
    const due = [...this.wanted].filter(([pool, age]) => askedAt(pool) < begun - age);
    return due.map(([pool]) => pool).sort((a, b) => askedAt(a) - askedAt(b))[0];
  }

  async askOne(pool) {
    const before = this.read.get(pool);
    let known;
    try {
      const [move] = (await get('/moves', { pool })).moves;
      known = move?.error ? { ...before, error: move.error } : { move, at: Date.now() };
    } catch (error) {
      const why = error instanceof TimedOut ? `the proxy asks servers for it, and has not answered within ${error.seconds} s` : error.message;
      known = { ...before, error: why };
    }
    if (this.wanted.has(pool)) this.read.set(pool, { ...known, askedAt: Date.now() });
  }
}
