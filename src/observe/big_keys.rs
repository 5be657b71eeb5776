//! The largest requests and replies, with their keys.
//!
//! A worker keeps [`ENTRIES`] of them for each of two windows, so that what was large an hour ago does not stay in the way.
//! Only what is larger than the smallest of a full table costs more than a comparison.

use std::time::{Duration, Instant};

use fnv::FnvHashMap;

use crate::observe::key_text::KeyText;
use crate::observe::slow_log::unix_seconds;

/// The size from which a request or a reply is large.
pub const BIG_BYTES: usize = 32 << 10;

/// The number of entries of one worker and window.
const ENTRIES: usize = 64;

/// The length of a window. What is shown is one to two of them old at most.
const WINDOW: Duration = Duration::from_secs(600);

/// The large requests and replies of one worker.
#[derive(Debug, Clone)]
pub struct BigKeys {
    now: FnvHashMap<BigName, Big>,
    before: FnvHashMap<BigName, Big>,
    since: Instant,
    /// The size that an entry of a full table must exceed.
    floor: usize,
}

/// The direction in which bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BigKind {
    /// To a server.
    Request,
    /// From a server.
    Reply,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BigName {
    /// The direction.
    pub kind: BigKind,
    /// The name of the command, in capital letters.
    pub command: KeyText,
    /// Its first key; empty if it has none, or it is not known.
    pub key: KeyText,
}

/// The largest request or reply of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Big {
    /// Its size.
    pub bytes: usize,
    /// How often such a large one came.
    pub times: u64,
    /// The number of keys of the request.
    pub keys: usize,
    /// The server.
    pub server: String,
    /// When the last one came, in seconds since the Unix epoch.
    pub at: u64,
}

impl BigKeys {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            now: FnvHashMap::default(),
            before: FnvHashMap::default(),
            since: now,
            floor: BIG_BYTES - 1,
        }
    }

    /// Begins another window if this one is over. Returns the size that a new entry must exceed.
    pub(super) fn turn(&mut self, now: Instant) -> usize {
        let age = now.saturating_duration_since(self.since);
        if age >= WINDOW {
            self.before = std::mem::take(&mut self.now);
            if age >= 2 * WINDOW {
                self.before.clear();
            }
            self.since = now;
            self.floor = BIG_BYTES - 1;
        }
        self.floor
    }

    /// Adds a request or a reply.
    pub(super) fn note(&mut self, name: BigName, bytes: usize, keys: usize, server: &str) {
        let entry = self.now.entry(name).or_insert_with(|| Big {
            bytes: 0,
            times: 0,
            keys,
            server: String::new(),
            at: 0,
        });
        if bytes >= entry.bytes {
            entry.bytes = bytes;
            entry.keys = keys;
            server.clone_into(&mut entry.server);
        }
        entry.times += 1;
        entry.at = unix_seconds();
        if self.now.len() > ENTRIES {
            let smallest = self.now.iter().min_by_key(|(name, big)| (big.bytes, *name));
            if let Some(smallest) = smallest.map(|(name, _)| name.clone()) {
                self.now.remove(&smallest);
            }
        }
        if self.now.len() == ENTRIES {
            let smallest = self.now.values().map(|big| big.bytes).min();
            self.floor = smallest.unwrap_or_default();
        }
    }
}

/// Merges the tables of all workers; the largest first.
pub(super) fn merge(workers: Vec<BigKeys>, now: Instant, most: usize) -> Vec<(BigName, Big)> {
    let mut merged: FnvHashMap<BigName, Big> = FnvHashMap::default();
    for mut worker in workers {
        worker.turn(now);
        for (name, big) in worker.now.into_iter().chain(worker.before) {
            match merged.get_mut(&name) {
                None => {
                    merged.insert(name, big);
                }
                Some(sum) => {
                    sum.times += big.times;
                    sum.at = sum.at.max(big.at);
                    if big.bytes > sum.bytes {
                        (sum.bytes, sum.keys, sum.server) = (big.bytes, big.keys, big.server);
                    }
                }
            }
        }
    }
    let mut all: Vec<_> = merged.into_iter().collect();
    all.sort_by(|(a_name, a), (b_name, b)| b.bytes.cmp(&a.bytes).then(a_name.cmp(b_name)));
    all.truncate(most);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(number: usize) -> BigName {
        BigName {
            kind: BigKind::Reply,
            command: KeyText::new(b"GET"),
            key: KeyText::new(format!("k{number}").as_bytes()),
        }
    }

    fn sizes(workers: Vec<BigKeys>, now: Instant) -> Vec<usize> {
        let merged = merge(workers, now, 1000);
        merged.into_iter().map(|(_, big)| big.bytes).collect()
    }

    #[test]
    fn largest_stay_in_a_full_table() {
        let now = Instant::now();
        let mut big = BigKeys::new(now);
        for number in 0..1000 {
            let bytes = BIG_BYTES + number * 7 % 1000;
            if bytes > big.turn(now) {
                big.note(get(number), bytes, 1, "s");
            }
            assert!(big.now.len() <= ENTRIES);
        }
        let expected: Vec<_> = (936..1000).rev().map(|more| BIG_BYTES + more).collect();
        assert_eq!(sizes(vec![big], now), expected);
    }

    #[test]
    fn same_key_is_one_entry() {
        let now = Instant::now();
        let mut workers = vec![BigKeys::new(now), BigKeys::new(now)];
        for (worker, bytes) in [(0, 20_000), (0, 30_000), (1, 25_000)] {
            workers[worker].note(get(1), bytes, 1, "s");
        }
        let merged = merge(workers, now, 10);
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].1.bytes, merged[0].1.times), (30_000, 3));
    }

    #[test]
    fn entries_leave_after_two_windows() {
        let now = Instant::now();
        let mut big = BigKeys::new(now);
        big.note(get(1), 50_000, 1, "s");
        big.turn(now + WINDOW);
        big.note(get(2), 40_000, 1, "s");
        assert_eq!(sizes(vec![big.clone()], now + WINDOW), [50_000, 40_000]);
        assert_eq!(sizes(vec![big.clone()], now + 2 * WINDOW), [40_000]);
        assert!(sizes(vec![big], now + 4 * WINDOW).is_empty());
    }
}
