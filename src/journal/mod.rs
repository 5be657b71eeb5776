//! What has happened to the proxy: a bounded list of typed events, for operators.
//!
//! Whoever changes something, or sees it change, records it here beside its log line: the topology of a pool (on any thread), the
//! control loop, acceptors, sessions that are closed. Nothing is recorded for a request. An event that repeats is counted,
//! not listed again, so that a server that comes and goes does not push everything else out. The admin API reads it.

mod event;
mod kind;
mod last_load;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use event::Event;
pub use kind::{EventKind, Severity};
pub use last_load::LastLoad;

/// The maximum number of entries; the oldest makes room.
const ENTRIES: usize = 1000;
/// The number of latest entries among which a repetition is looked for.
const RECENT: usize = 32;
/// The time in which an event counts as a repetition.
const REPEATS_WITHIN: Duration = Duration::from_secs(600);

/// An event of the journal, and its repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number: that of its last repetition. Numbers only grow.
    pub number: u64,
    /// When it happened first.
    pub first: SystemTime,
    /// When it happened last.
    pub last: SystemTime,
    /// How many times it has happened.
    pub count: u64,
    /// The event, as it was last.
    pub event: Event,
}

/// The journal of a process.
#[derive(Debug, Default)]
pub struct Journal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Ascending by number.
    entries: VecDeque<Entry>,
    newest: u64,
    last_load: LastLoad,
}

/// The journal, for events of one pool.
#[derive(Debug, Clone)]
pub struct PoolJournal {
    journal: Arc<Journal>,
    pool: Arc<str>,
}

impl Journal {
    /// Records an event that happens now.
    pub fn record(&self, event: Event) {
        self.record_at(event, SystemTime::now());
    }

    fn record_at(&self, event: Event, now: SystemTime) {
        let mut state = self.lock();
        state.last_load.add(&event, now);
        state.newest += 1;
        let number = state.newest;
        let is_repetition = |entry: &Entry| {
            let age = now.duration_since(entry.last).unwrap_or_default();
            age <= REPEATS_WITHIN && event.repeats(&entry.event)
        };
        let recent = state.entries.iter().enumerate().rev().take(RECENT);
        let found = recent
            .filter(|(_, entry)| is_repetition(entry))
            .map(|(place, _)| place)
            .next();
        let (first, count) = match found.and_then(|place| state.entries.remove(place)) {
            Some(before) => (before.first, before.count + 1),
            None => (now, 1),
        };
        if state.entries.len() >= ENTRIES {
            state.entries.pop_front();
        }
        state.entries.push_back(Entry {
            number,
            first,
            last: now,
            count,
            event,
        });
    }

    /// The entries after this number, in their order.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<Entry> {
        let state = self.lock();
        let first = state
            .entries
            .partition_point(|entry| entry.number <= number);
        state.entries.iter().skip(first).cloned().collect()
    }

    /// The number of the last entry; 0 if there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.lock().newest
    }

    /// What became of the configuration file when it was last loaded.
    #[must_use]
    pub fn last_load(&self) -> LastLoad {
        self.lock().last_load.clone()
    }

    /// Ignores poisoning: an entry is added whole or not at all.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolJournal {
    /// The journal for events of a pool.
    #[must_use]
    pub fn new(journal: &Arc<Journal>, pool: &str) -> Self {
        Self {
            journal: Arc::clone(journal),
            pool: pool.into(),
        }
    }

    /// Records an event of the pool.
    pub fn record(&self, kind: EventKind, text: impl Into<String>) {
        self.add(Event::new(kind, text));
    }

    /// Records an event of a server.
    pub fn record_of(&self, kind: EventKind, server: &str, text: impl Into<String>) {
        let event = Event::new(kind, text);
        self.add(Event {
            server: Some(server.to_owned()),
            ..event
        });
    }

    /// Records an event of a client.
    pub fn record_client(&self, kind: EventKind, client: &str, text: impl Into<String>) {
        let event = Event::new(kind, text);
        self.add(Event {
            client: Some(client.to_owned()),
            ..event
        });
    }

    fn add(&self, event: Event) {
        self.journal.record(Event {
            pool: Some(Arc::clone(&self.pool)),
            ..event
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn told(journal: &Journal) -> Vec<(u64, u64, String)> {
        let entries = journal.after(0).into_iter();
        entries
            .map(|entry| (entry.number, entry.count, entry.event.text))
            .collect()
    }

    fn text(text: &str) -> Event {
        Event::new(EventKind::Reloaded, text)
    }

    #[test]
    fn repeated_events_are_counted_and_move_to_the_end() {
        let journal = Journal::default();
        for (second, name) in (1..).zip(["out", "back", "out", "back", "other", "out"]) {
            journal.record_at(text(name), at(second));
        }
        let expected = [(4, 2, "back"), (5, 1, "other"), (6, 3, "out")];
        let expected = expected.map(|(number, count, text)| (number, count, text.to_owned()));
        assert_eq!(told(&journal), expected);
        let last = journal.after(5);
        assert_eq!((last[0].first, last[0].last), (at(1), at(6)));
        assert_eq!((last.len(), journal.newest()), (1, 6));
    }

    #[test]
    fn events_of_other_servers_or_times_are_no_repetitions() {
        let journal = Arc::new(Journal::default());
        let pools = ["a", "b"].map(|pool| PoolJournal::new(&journal, pool));
        for pool in &pools {
            for server in ["s", "t"] {
                pool.record_of(EventKind::ServerReturned, server, "back");
            }
        }
        assert_eq!(journal.after(0).len(), 4);
        let journal = Journal::default();
        journal.record_at(text("x"), at(0));
        journal.record_at(text("x"), at(601));
        assert_eq!(journal.after(0).len(), 2);
    }

    #[test]
    fn oldest_events_make_room() {
        let journal = Journal::default();
        for number in 0..ENTRIES + 5 {
            journal.record_at(text(&number.to_string()), at(0));
        }
        let told = told(&journal);
        assert_eq!(told.len(), ENTRIES);
        assert_eq!(told[0], (6, 1, "5".to_owned()));
    }
}
