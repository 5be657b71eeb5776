//! The clients of a pool, whichever worker serves them: written when one comes, goes or changes, never for a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::redis::resp::version::Resp;
use crate::protocol::{ConnInfo, ServerClientId, SubscriptionCount};

/// One a pool.
///
/// The map is locked when a client comes or goes, and for as long as it takes to find an entry or to copy the list of them.
/// What changes of a client has a lock of its own, which hardly ever has to be waited for.
#[derive(Default)]
pub struct ClientRegistry {
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
    kill_hook: OnceLock<KillHook>,
}

/// Tells the worker of this number to end its session of that number.
type KillHook = Box<dyn Fn(usize, usize) + Send + Sync>;

/// The part of a client that others may see.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) arrival: ConnInfo,
    worker: usize,
    pub(crate) since: Instant,
    details: Mutex<Details>,
}

/// The details of a client that change.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) db: u32,
    pub(crate) resp: Resp,
    /// Channels, patterns and sharded channels that it subscribes to.
    pub(crate) subscriptions: [usize; 3],
    /// The servers at which it waits, by their index, and over which connections.
    pub(crate) blocked_on: Vec<(u16, ServerClientId)>,
    pub(crate) name: Box<[u8]>,
    pub(crate) library: Box<[u8]>,
    pub(crate) version: Box<[u8]>,
}

impl Entry {
    pub(crate) fn details(&self) -> MutexGuard<'_, Details> {
        // Each field is replaced as a whole.
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Details {
    /// Returns true if it waits, over connections that are open.
    pub(crate) fn is_blocked(&self) -> bool {
        let mut places = self.blocked_on.iter();
        !self.blocked_on.is_empty() && places.all(|(_, identity)| identity.get().is_some())
    }
}

impl ClientRegistry {
    /// Sets how a session is ended. The first call counts: the workers of a pool are started once.
    pub fn set_kill_hook(&self, hook: impl Fn(usize, usize) + Send + Sync + 'static) {
        let _ = self.kill_hook.set(Box::new(hook));
    }

    /// Adds a client. Its number is that of no other client that this process has or had.
    pub(crate) fn enter(&self, arrival: ConnInfo, worker: usize, db: u32) -> Arc<Entry> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let details = Details {
            db,
            ..Details::default()
        };
        let entry = Arc::new(Entry {
            id,
            arrival,
            worker,
            since: Instant::now(),
            details: Mutex::new(details),
        });
        self.lock().insert(id, Arc::clone(&entry));
        entry
    }

    /// Removes a client, if it was not removed already.
    pub(crate) fn leave(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// The client of this number. `None` if it was killed.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    /// All clients, in the order in which they came.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().values().cloned().collect()
    }

    /// Notes the subscriptions of a client.
    pub(crate) fn set_subscriptions(&self, id: u64, tally: SubscriptionCount) {
        let counts = [tally.channels, tally.patterns, tally.shards];
        let counts = counts.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        if let Some(entry) = self.find(id) {
            entry.details().subscriptions = counts;
        }
    }

    /// The number of clients that wait.
    pub(crate) fn blocked(&self) -> usize {
        let all = self.all();
        all.iter()
            .filter(|entry| entry.details().is_blocked())
            .count()
    }

    /// The servers at which a client waits, by their index, and what these call its connections.
    pub(crate) fn blocked_on(&self, id: u64) -> Vec<(u16, Bytes)> {
        let Some(entry) = self.find(id) else {
            return Vec::new();
        };
        let details = entry.details();
        if !details.is_blocked() {
            return Vec::new();
        }
        let places = details.blocked_on.iter();
        places
            .filter_map(|(server, identity)| Some((*server, identity.get()?.clone())))
            .collect()
    }

    /// Ends the sessions of the clients that are chosen, and removes them at once. From then on nothing that they send is
    /// executed, although their workers close their connections only when they come to it. Returns how many.
    pub(crate) fn kill(&self, mut is_chosen: impl FnMut(&Entry) -> bool) -> usize {
        let mut chosen = self.all();
        chosen.retain(|entry| is_chosen(entry));
        let mut entries = self.lock();
        chosen.retain(|entry| entries.remove(&entry.id).is_some());
        drop(entries);
        for entry in &chosen {
            entry.arrival.kill_switch.kill();
        }
        if let Some(hook) = self.kill_hook.get() {
            for entry in &chosen {
                hook(entry.worker, entry.arrival.session);
            }
        }
        chosen.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        // Entries come and go whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClientRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRegistry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_changes_while_the_registry_is_locked() {
        let clients = ClientRegistry::default();
        let entry = clients.enter(ConnInfo::default(), 0, 3);
        let identity = ServerClientId::default();
        let locked = clients.lock();
        entry.details().blocked_on = vec![(1, Arc::clone(&identity))];
        drop(locked);
        assert_eq!(clients.blocked(), 0);
        identity.get_or_init(|| Bytes::from_static(b":7\r\n"));
        assert_eq!(clients.blocked(), 1);
        let places = vec![(1, Bytes::from_static(b":7\r\n"))];
        assert_eq!(clients.blocked_on(entry.id), places);
    }

    #[test]
    fn a_killed_client_is_counted_once_and_gone() {
        let clients = ClientRegistry::default();
        let [first, second] = [0, 1].map(|worker| clients.enter(ConnInfo::default(), worker, 0));
        let is_first = |entry: &Entry| entry.id == first.id;
        assert_eq!(clients.kill(is_first), 1);
        assert_eq!(clients.kill(is_first), 0);
        assert!(clients.find(first.id).is_none());
        let left: Vec<u64> = clients.all().iter().map(|entry| entry.id).collect();
        assert_eq!(left, [second.id]);
    }
}
