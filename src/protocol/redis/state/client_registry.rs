//! The clients of a pool on all workers: written when a client connects, disconnects or changes, never for a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::redis::acl::user::{DEFAULT, User};
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::{BlockedOn, ConnInfo, SubscriptionCount, UnblockReason};
use crate::topology::ServerId;

/// The ID of the next client of this process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The IDs of clients that another process may have given, and not handed over yet.
const IDS_APART: u64 = 1 << 16;

/// The first ID that another process may give to its clients when this one accepts no more.
#[must_use]
pub fn ids_of_successor() -> u64 {
    NEXT_ID.load(Ordering::Relaxed) + IDS_APART
}

/// Has the IDs of clients that connect from now on begin there, unless they are beyond that.
pub fn begin_ids_at(first: u64) {
    NEXT_ID.fetch_max(first, Ordering::Relaxed);
}

/// The registry of one pool.
///
/// The map is locked when a client connects or disconnects, and while an entry is looked up or the list is copied. The
/// details of each client have a lock of their own, which is hardly ever contended.
#[derive(Default)]
pub struct ClientRegistry {
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
    hook: OnceLock<SessionHook>,
}

/// Notifies the worker with this index, about its session with this number.
type SessionHook = Box<dyn Fn(usize, SessionSignal) + Send + Sync>;

/// What a worker is notified of, with the number of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionSignal {
    /// It ends at once.
    Kill(usize),
    /// It ends if its client has a subscription that its user may not have any more.
    CheckUser(usize),
}

/// The part of a client's state that is visible to others.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) arrival: ConnInfo,
    worker: usize,
    pub(crate) since: Instant,
    details: Mutex<Details>,
}

/// The details of a client that change.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) db: u32,
    pub(crate) resp: Resp,
    /// Numbers of subscribed channels, patterns and shard channels.
    pub(crate) subscriptions: [usize; 3],
    /// It has sent MONITOR.
    pub(crate) is_monitor: bool,
    /// The identity of its user.
    pub(crate) user: u64,
    pub(crate) user_name: Arc<[u8]>,
    pub(crate) blocked_on: BlockedOn,
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

impl Default for Details {
    fn default() -> Self {
        Self {
            db: 0,
            resp: Resp::default(),
            subscriptions: [0; 3],
            is_monitor: false,
            user: 0,
            user_name: DEFAULT.as_bytes().into(),
            blocked_on: BlockedOn::default(),
            name: Box::default(),
            library: Box::default(),
            version: Box::default(),
        }
    }
}

impl Details {
    /// Sets its user.
    pub(crate) fn set_user(&mut self, user: &User) {
        self.user = user.identity();
        self.user_name = Arc::clone(user.name());
    }

    /// Returns true if it is blocked, on open connections.
    pub(crate) fn is_blocked(&self) -> bool {
        match &self.blocked_on {
            BlockedOn::Servers(servers) => {
                !servers.is_empty() && servers.iter().all(|(_, id)| id.get().is_some())
            }
            BlockedOn::Proxy(_) => true,
        }
    }
}

impl ClientRegistry {
    /// Sets the function that signals a session. The first call counts: the workers of a pool are started once.
    pub fn set_session_hook(&self, hook: impl Fn(usize, SessionSignal) + Send + Sync + 'static) {
        let _ = self.hook.set(Box::new(hook));
    }

    /// Adds a client. Its ID is never reused by this process.
    pub(crate) fn enter(&self, arrival: ConnInfo, worker: usize, details: Details) -> Arc<Entry> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        self.enter_as((id, Instant::now()), arrival, worker, details)
    }

    /// Adds a client that has an ID, and has connected, already.
    pub(crate) fn enter_as(
        &self,
        (id, since): (u64, Instant),
        arrival: ConnInfo,
        worker: usize,
        details: Details,
    ) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            id,
            arrival,
            worker,
            since,
            details: Mutex::new(details),
        });
        self.lock().insert(id, Arc::clone(&entry));
        entry
    }

    /// Removes a client, if it was not removed already.
    pub(crate) fn leave(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// The client with this ID. `None` if it was killed.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    /// All clients, in the order of their connection.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().values().cloned().collect()
    }

    /// Records the numbers of a client's subscriptions.
    pub(crate) fn set_subscriptions(&self, id: u64, count: SubscriptionCount) {
        let counts = [count.channels, count.patterns, count.shards];
        let counts = counts.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        if let Some(entry) = self.find(id) {
            entry.details().subscriptions = counts;
        }
    }

    /// The number of blocked clients.
    pub(crate) fn blocked(&self) -> usize {
        let all = self.all();
        all.iter()
            .filter(|entry| entry.details().is_blocked())
            .count()
    }

    /// The servers on which a client is blocked, and the replies to `CLIENT ID` of the connections.
    pub(crate) fn blocked_on(&self, id: u64) -> Vec<(ServerId, Bytes)> {
        let Some(entry) = self.find(id) else {
            return Vec::new();
        };
        let details = entry.details();
        if !details.is_blocked() {
            return Vec::new();
        }
        let BlockedOn::Servers(servers) = &details.blocked_on else {
            return Vec::new();
        };
        let servers = servers.iter();
        servers
            .filter_map(|(server, id)| Some((*server, id.get()?.clone())))
            .collect()
    }

    /// Ends the wait of a client that is blocked in the proxy itself. Returns false if it is not.
    pub(crate) fn unblock(&self, id: u64, reason: UnblockReason) -> bool {
        let entry = self.find(id);
        let blocked_on = entry.map(|entry| entry.details().blocked_on.clone());
        if let Some(BlockedOn::Proxy(wait)) = blocked_on {
            wait.unblock(reason);
            return true;
        }
        false
    }

    /// Ends the sessions of the matching clients, and removes them at once. From then on nothing that they send is
    /// executed, although their workers close the connections later. Returns the number of clients.
    pub(crate) fn kill(&self, mut matches: impl FnMut(&Entry) -> bool) -> usize {
        let mut killed = self.all();
        killed.retain(|entry| matches(entry));
        let mut entries = self.lock();
        killed.retain(|entry| entries.remove(&entry.id).is_some());
        drop(entries);
        for entry in &killed {
            entry.arrival.kill_switch.kill();
        }
        for entry in &killed {
            self.signal(entry, SessionSignal::Kill);
        }
        killed.len()
    }

    /// Has the subscribers that match look whether they may be.
    pub(crate) fn check_subscribers(&self, matches: impl Fn(&Details) -> bool) {
        for entry in self.all() {
            let details = entry.details();
            let is_concerned = details.subscriptions != [0; 3] && matches(&details);
            drop(details);
            if is_concerned {
                self.signal(&entry, SessionSignal::CheckUser);
            }
        }
    }

    fn signal(&self, entry: &Entry, signal: fn(usize) -> SessionSignal) {
        if let Some(hook) = self.hook.get() {
            hook(entry.worker, signal(entry.arrival.session));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        // Entries are added and removed as a whole.
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
    use crate::protocol::ServerClientId;

    #[test]
    fn a_client_changes_while_the_registry_is_locked() {
        let clients = ClientRegistry::default();
        let entry = clients.enter(ConnInfo::default(), 0, Details::default());
        let server_client_id = ServerClientId::default();
        let server = ServerId::allocate();
        let locked = clients.lock();
        entry.details().blocked_on =
            BlockedOn::Servers(vec![(server, Arc::clone(&server_client_id))]);
        drop(locked);
        assert_eq!(clients.blocked(), 0);
        server_client_id.get_or_init(|| Bytes::from_static(b":7\r\n"));
        assert_eq!(clients.blocked(), 1);
        let blocked_on = vec![(server, Bytes::from_static(b":7\r\n"))];
        assert_eq!(clients.blocked_on(entry.id), blocked_on);
    }

    #[test]
    fn a_killed_client_is_counted_once_and_gone() {
        let clients = ClientRegistry::default();
        let [first, second] =
            [0, 1].map(|worker| clients.enter(ConnInfo::default(), worker, Details::default()));
        let is_first = |entry: &Entry| entry.id == first.id;
        assert_eq!(clients.kill(is_first), 1);
        assert_eq!(clients.kill(is_first), 0);
        assert!(clients.find(first.id).is_none());
        let left: Vec<u64> = clients.all().iter().map(|entry| entry.id).collect();
        assert_eq!(left, [second.id]);
    }
}
