//! `SLOWLOG`: the requests whose servers took longest to answer.
//!
//! An entry has the command's name and its client, and not the arguments: those have left for the server when it turns
//! out that the request is slow, and to keep them all for that would cost every request. What waits on purpose
//! (`BLPOP`) is no slow request.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::protocol::redis::Args;
use crate::protocol::redis::local::{Reply, Settings, reply_writer};

/// Entries that `SLOWLOG GET` shows unless it is told how many.
const SHOWN: usize = 10;

/// What stands in the place of the arguments.
const ARGUMENTS: &str = "... (arguments are not logged)";

/// The log of one pool.
#[derive(Debug, Default)]
pub(crate) struct SlowLog(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    /// The number of the next entry.
    next: u64,
    /// The newest first.
    entries: VecDeque<Slow>,
}

#[derive(Debug)]
struct Slow {
    number: u64,
    /// When it was answered, in seconds since the Unix epoch.
    at: u64,
    took: Duration,
    command: &'static str,
    peer: String,
    name: Box<[u8]>,
}

impl SlowLog {
    /// Adds an entry, and drops what exceeds `most` of them.
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

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Entries are pushed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `SLOWLOG GET [count]`.
pub(crate) fn get(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let mut most = SHOWN;
    if let Some(count) = args.nth(2) {
        most = match reply_writer::number(count) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return reply.error("count should be greater than or equal to -1"),
        };
    }
    if args.next().is_some() {
        return reply
            .error("unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.");
    }
    let log = settings.shared.slowlog.lock();
    reply.array(log.entries.len().min(most));
    for slow in log.entries.iter().take(most) {
        reply.array(6);
        reply.integer(slow.number);
        reply.integer(slow.at);
        reply.integer(slow.took.as_micros());
        reply.array(slow.command.split('|').count() + 1);
        slow.command.split('|').for_each(|word| reply.bulk(word));
        reply.bulk(ARGUMENTS);
        reply.bulk(&slow.peer);
        reply.bulk(&slow.name);
    }
}

pub(crate) fn len(settings: &Settings, reply: &mut Reply<'_>) {
    reply.integer(settings.shared.slowlog.lock().entries.len());
}

pub(crate) fn reset(settings: &Settings, reply: &mut Reply<'_>) {
    settings.shared.slowlog.lock().entries.clear();
    reply.simple("OK");
}

/// Now, as entries and samples have it.
pub(crate) fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
