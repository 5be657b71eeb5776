//! The clients of a pool, whichever worker serves them: written when one comes, goes or changes, never for a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::redis::resp::version::Resp;
use crate::protocol::{ConnInfo, ServerClientId, SubscriptionCount};

/// One a pool.
#[derive(Default)]
pub struct ClientRegistry {
    entries: Mutex<BTreeMap<u64, Entry>>,
    ender: OnceLock<KillHook>,
}

/// Tells the worker of this number to end its session of that number.
type KillHook = Box<dyn Fn(usize, usize) + Send + Sync>;

/// What others may know of a client.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) arrival: ConnInfo,
    worker: usize,
    pub(crate) since: Instant,
    pub(crate) db: u32,
    pub(crate) resp: Resp,
    /// Channels, patterns and sharded channels that it subscribes to.
    pub(crate) subscriptions: [usize; 3],
    /// At which servers it waits, by their index, and over which connections.
    waits_at: Vec<(u16, ServerClientId)>,
    pub(crate) name: Box<[u8]>,
    pub(crate) library: Box<[u8]>,
    pub(crate) version: Box<[u8]>,
}

impl Entry {
    /// Whether it waits, over connections that are open.
    pub(crate) fn is_blocked(&self) -> bool {
        let mut places = self.waits_at.iter();
        !self.waits_at.is_empty() && places.all(|(_, identity)| identity.get().is_some())
    }
}

impl ClientRegistry {
    /// Says how a session is ended. The first call counts.
    pub fn set_kill_hook(&self, ender: impl Fn(usize, usize) + Send + Sync + 'static) {
        // The first one stays: the workers of a pool are started once.
        let _ = self.ender.set(Box::new(ender));
    }

    /// Takes a client in. Returns its number, which no other client of this process has or had.
    pub(crate) fn enter(&self, arrival: ConnInfo, worker: usize, db: u32) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            arrival,
            worker,
            since: Instant::now(),
            db,
            resp: Resp::default(),
            subscriptions: [0; 3],
            waits_at: Vec::new(),
            name: Box::default(),
            library: Box::default(),
            version: Box::default(),
        };
        self.lock().insert(id, entry);
        id
    }

    /// Takes a client out, if it was not taken out already.
    pub(crate) fn leave(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// Looks at a client. `None` if it was killed.
    pub(crate) fn with<T>(&self, id: u64, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.lock().get_mut(&id).map(look)
    }

    /// Notes what a client is subscribed to.
    pub(crate) fn with_subscriptions(&self, id: u64, tally: SubscriptionCount) {
        let counts = [tally.channels, tally.patterns, tally.shards];
        let counts = counts.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        self.with(id, |entry| entry.subscriptions = counts);
    }

    /// Notes at which servers a client waits.
    pub(crate) fn note_blocked(&self, id: u64, places: Vec<(u16, ServerClientId)>) {
        self.with(id, |entry| entry.waits_at = places);
    }

    /// How many clients wait.
    pub(crate) fn blocked(&self) -> usize {
        let entries = self.lock();
        entries.values().filter(|entry| entry.is_blocked()).count()
    }

    /// At which servers a client waits, by their index, and what these call its connections.
    pub(crate) fn blocked_on(&self, id: u64) -> Vec<(u16, Bytes)> {
        let places = |entry: &mut Entry| {
            let places = entry.waits_at.iter().filter(|_| entry.is_blocked());
            places
                .filter_map(|(server, identity)| Some((*server, identity.get()?.clone())))
                .collect()
        };
        self.with(id, places).unwrap_or_default()
    }

    /// Looks at all clients, in the order in which they came.
    pub(crate) fn each(&self, mut look: impl FnMut(u64, &Entry)) {
        for (id, entry) in self.lock().iter() {
            look(*id, entry);
        }
    }

    /// Ends the sessions of the clients that are chosen, and takes them out at once. From then on nothing that they send is
    /// executed, although their workers close their connections only when they come to it. Returns how many.
    pub(crate) fn kill(&self, mut is_chosen: impl FnMut(u64, &Entry) -> bool) -> usize {
        let mut ended = Vec::new();
        self.lock().retain(|id, entry| {
            let stays = !is_chosen(*id, entry);
            if !stays {
                entry.arrival.kill_switch.kill();
                ended.push((entry.worker, entry.arrival.session));
            }
            stays
        });
        if let Some(ender) = self.ender.get() {
            for (worker, session) in &ended {
                ender(*worker, *session);
            }
        }
        ended.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        // Entries are replaced field by field, each of them whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClientRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").finish_non_exhaustive()
    }
}
