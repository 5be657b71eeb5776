//! Subscriptions that clients have requested, and servers have not confirmed.
//!
//! A client that subscribes and does not wait for the confirmation expects the messages that another client publishes
//! afterwards. With one Redis it gets them. Here, the two requests are sent over two connections, perhaps of two
//! workers, and the first may have to be opened; so a publisher waits until the server has confirmed the subscriptions
//! to its channel that were requested before.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::protocol::ChannelKind;
use crate::protocol::redis::resp::glob;
use crate::topology::ServerId;

/// A channel or pattern, at a server.
type Place<'n> = (ServerId, ChannelKind, &'n [u8]);

/// The unconfirmed subscriptions of a pool, shared by its workers.
#[derive(Default)]
pub(crate) struct AnnouncedSubscribers {
    /// Number of unconfirmed subscriptions: if it is 0, the lock need not be taken.
    unconfirmed: AtomicUsize,
    last_ticket: AtomicU64,
    servers: Mutex<HashMap<ServerId, Names>>,
}

/// By kind, in the order of [`ChannelKind::ALL`], and name.
type Names = [HashMap<Box<[u8]>, Entry>; 3];

#[derive(Default)]
struct Entry {
    tickets: BTreeSet<u64>,
    /// The publishers that wait.
    waiting: Vec<Waker>,
}

impl AnnouncedSubscribers {
    /// Adds a subscription. Returns its ticket.
    pub(crate) fn add(&self, (server, kind, name): Place<'_>) -> u64 {
        let mut servers = self.lock();
        let names = servers.entry(server).or_default();
        let entry = of_kind(names, kind).entry(name.into()).or_default();
        // Under the lock, and before it is visible: a publisher that sees the ticket sees the entry.
        let ticket = self.last_ticket.fetch_add(1, Ordering::AcqRel) + 1;
        entry.tickets.insert(ticket);
        self.unconfirmed.fetch_add(1, Ordering::AcqRel);
        ticket
    }

    /// Removes a subscription that is confirmed, or has failed.
    pub(crate) fn remove(&self, (server, kind, name): Place<'_>, ticket: u64) {
        let mut servers = self.lock();
        let Some(names) = servers.get_mut(&server) else {
            return;
        };
        let entries = of_kind(names, kind);
        let Some(entry) = entries.get_mut(name) else {
            return;
        };
        if entry.tickets.remove(&ticket) {
            self.unconfirmed.fetch_sub(1, Ordering::AcqRel);
        }
        let waiting = mem::take(&mut entry.waiting);
        if entry.tickets.is_empty() {
            entries.remove(name);
            if names.iter().all(HashMap::is_empty) {
                servers.remove(&server);
            }
        }
        drop(servers);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn last_ticket(&self) -> u64 {
        self.last_ticket.load(Ordering::Acquire)
    }

    /// Returns true if a subscription to the channel, or to a pattern that it matches, is unconfirmed whose ticket is at
    /// most `until`. That waker is woken when it has changed.
    pub(crate) fn delays(
        &self,
        (server, kind, channel): Place<'_>,
        until: u64,
        waker: impl FnOnce() -> Waker,
    ) -> bool {
        if self.unconfirmed.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut servers = self.lock();
        let Some(names) = servers.get_mut(&server) else {
            return false;
        };
        let is_due = |entry: &Entry| entry.tickets.first().is_some_and(|&first| first <= until);
        let mut found = of_kind(names, kind)
            .get_mut(channel)
            .filter(|entry| is_due(entry));
        if found.is_none() && kind == ChannelKind::Channel {
            found = of_kind(names, ChannelKind::Pattern)
                .iter_mut()
                .find(|(pattern, entry)| is_due(entry) && glob::matches(pattern, channel))
                .map(|(_, entry)| entry);
        }
        let Some(entry) = found else {
            return false;
        };
        let waker = waker();
        if !entry.waiting.iter().any(|other| other.will_wake(&waker)) {
            entry.waiting.push(waker);
        }
        true
    }

    /// A panic elsewhere while the lock was held leaves complete entries: they are used as they are.
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Names>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_kind(names: &mut Names, kind: ChannelKind) -> &mut HashMap<Box<[u8]>, Entry> {
    let [channels, patterns, shards] = names;
    match kind {
        ChannelKind::Channel => channels,
        ChannelKind::Pattern => patterns,
        ChannelKind::Shard => shards,
    }
}

impl fmt::Debug for AnnouncedSubscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnnouncedSubscribers")
            .field("unconfirmed", &self.unconfirmed)
            .finish_non_exhaustive()
    }
}
