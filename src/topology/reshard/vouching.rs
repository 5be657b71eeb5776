//! What the workers of a process have said about their connections to a server in a hold.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::topology::ServerId;

/// Collects what all workers of a pool vouch for, hold by hold. The watcher of the marks passes it on to the coordinator.
///
/// A worker vouches for a connection, by the server's id of it, when all that it has sent there before the hold is answered,
/// and it will send nothing for held keys. It vouches for none that it has given up.
#[derive(Debug, Default)]
pub struct Vouching {
    state: Mutex<Workers>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Workers {
    next: usize,
    /// By worker, then by server: the last hold that it has vouched in, and the ids of the connections.
    said: BTreeMap<usize, BTreeMap<ServerId, (u64, Vec<Bytes>)>>,
}

/// A worker that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voucher(usize);

impl Vouching {
    /// Adds a worker: from now on each hold needs its word.
    pub fn join(&self) -> Voucher {
        let mut workers = self.lock();
        let number = workers.next;
        workers.next += 1;
        workers.said.insert(number, BTreeMap::new());
        Voucher(number)
    }

    /// Removes a worker, with all its connections.
    pub fn leave(&self, worker: Voucher) {
        self.lock().said.remove(&worker.0);
        self.changed.notify_waiters();
    }

    /// Records that a worker vouches for these connections to a server, in this hold.
    pub fn vouch(&self, worker: Voucher, server: ServerId, hold: u64, ids: Vec<Bytes>) {
        if let Some(said) = self.lock().said.get_mut(&worker.0) {
            let last = said.entry(server).or_default();
            if last.0 <= hold {
                *last = (hold, ids);
            }
        }
        self.changed.notify_waiters();
    }

    /// The connections to a server that all workers vouch for in this hold; none until the last of them has said so.
    #[must_use]
    pub fn vouched(&self, server: ServerId, hold: u64) -> Option<Vec<Bytes>> {
        let workers = self.lock();
        let mut all = Vec::new();
        for said in workers.said.values() {
            let (_, ids) = said.get(&server).filter(|(last, _)| *last == hold)?;
            all.extend_from_slice(ids);
        }
        Some(all)
    }

    /// Completes when all workers vouch for their connections to a server in this hold. Cancel safe.
    pub async fn all_vouched(&self, server: ServerId, hold: u64) -> Vec<Bytes> {
        loop {
            let changed = self.changed.notified();
            if let Some(ids) = self.vouched(server, hold) {
                return ids;
            }
            changed.await;
        }
    }

    /// Ignores poisoning: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Workers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&'static str]) -> Vec<Bytes> {
        ids.iter()
            .map(|id| Bytes::from_static(id.as_bytes()))
            .collect()
    }

    #[test]
    fn hold_needs_the_word_of_every_worker() {
        let vouching = Vouching::default();
        let server = ServerId::allocate();
        let [one, two] = [vouching.join(), vouching.join()];
        vouching.vouch(one, server, 3, ids(&["7"]));
        assert_eq!(vouching.vouched(server, 3), None);
        vouching.vouch(two, server, 3, ids(&["8", "9"]));
        assert_eq!(vouching.vouched(server, 3), Some(ids(&["7", "8", "9"])));
        assert_eq!(vouching.vouched(ServerId::allocate(), 3), None);
        vouching.vouch(two, server, 4, ids(&[]));
        assert_eq!(vouching.vouched(server, 3), None);
        vouching.vouch(two, server, 3, ids(&["8"]));
        vouching.leave(two);
        assert_eq!(vouching.vouched(server, 3), Some(ids(&["7"])));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_last_word() {
        let vouching = Vouching::default();
        let server = ServerId::allocate();
        let [one, two] = [vouching.join(), vouching.join()];
        vouching.vouch(one, server, 1, ids(&["7"]));
        let (all, ()) = tokio::join!(vouching.all_vouched(server, 1), async {
            tokio::task::yield_now().await;
            vouching.vouch(two, server, 1, ids(&[]));
        });
        assert_eq!(all, ids(&["7"]));
    }
}
