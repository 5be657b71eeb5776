//! The requests whose servers took longest to reply.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The log of one pool.
#[derive(Debug, Default)]
pub(crate) struct SlowLog(Mutex<Log>);

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The ID of the next entry.
    next: u64,
    /// The newest first.
    pub(crate) entries: VecDeque<Slow>,
}

#[derive(Debug)]
pub(crate) struct Slow {
    pub(crate) number: u64,
    /// The time of the reply, in seconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) took: Duration,
    pub(crate) command: &'static str,
    pub(crate) peer: String,
    pub(crate) name: Box<[u8]>,
}

impl SlowLog {
    /// Adds an entry, and drops the oldest beyond `most`.
    pub(crate) fn note(
        &self,
        command: &'static str,
        took: Duration,
        (peer, name): (String, Box<[u8]>),
        most: usize,
    ) {
        let mut log = self.lock();
        let number = log.next;
        log.next += 1;
        let slow = Slow {
            number,
            at: unix_seconds(),
            took,
            command,
            peer,
            name,
        };
        log.entries.push_front(slow);
        log.entries.truncate(most);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        // Entries are pushed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The current time of entries and samples.
pub(crate) fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
