//! The requests that took longest.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::observe::locks::lock;
use crate::observe::request_text::RequestText;

/// The log of one pool.
#[derive(Debug, Default)]
pub struct SlowLog(Mutex<SlowEntries>);

/// The entries of a log.
#[derive(Debug, Default)]
pub struct SlowEntries {
    /// The ID of the next entry.
    next: u64,
    /// The newest first.
    pub entries: VecDeque<SlowEntry>,
}

/// A slow request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowEntry {
    /// Its ID, unique in the pool.
    pub number: u64,
    /// The time of the reply, in seconds since the Unix epoch.
    pub at: u64,
    /// What it was, and how long it took.
    pub request: SlowRequest,
    /// The address of the client.
    pub peer: String,
    /// The name of the client; empty without one.
    pub name: Box<[u8]>,
}

/// A request that took long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowRequest {
    /// Its arguments, as far as they are known; empty if they are not.
    pub text: RequestText,
    /// The server that replied last, or took longest.
    pub server: String,
    /// The time from its arrival to its reply.
    pub took: Duration,
    /// The part of it until it was written to the server.
    pub waited: Duration,
}

impl SlowLog {
    /// Adds an entry, and drops the oldest beyond `most`.
    pub fn note(&self, request: SlowRequest, (peer, name): (String, Box<[u8]>), most: usize) {
        let mut log = self.lock();
        let number = log.next;
        log.next += 1;
        log.entries.push_front(SlowEntry {
            number,
            at: unix_seconds(),
            request,
            peer,
            name,
        });
        log.entries.truncate(most);
    }

    /// The entries.
    pub fn lock(&self) -> MutexGuard<'_, SlowEntries> {
        lock(&self.0)
    }
}

/// The current time of entries and samples.
#[must_use]
pub fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
