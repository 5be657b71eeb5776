//! When the marks of a pool must be read, and which have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::topology::ServerId;

/// Between those who need a mark read and the tasks that read marks.
#[derive(Debug, Default)]
pub struct MarkReading {
    state: Mutex<Reading>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Reading {
    /// Servers whose marks must be read at once, with the run id that was met there.
    wanted: BTreeMap<ServerId, String>,
    /// Servers whose marks have been read, or could not be.
    tried: BTreeSet<ServerId>,
}

impl MarkReading {
    /// Has the mark of a server read at once: a connection has met one that is not the known one, at a process with this run
    /// id.
    pub fn want(&self, server: ServerId, run_id: &str) {
        self.lock().wanted.insert(server, run_id.to_owned());
        self.changed.notify_waiters();
    }

    /// Completes when the mark of a server must be read at once, with the run id that was met there. Cancel safe.
    pub async fn wanted(&self, server: ServerId) -> String {
        self.until(|reading| reading.wanted.remove(&server)).await
    }

    /// Forgets that the mark of a server must be read: it is about to be.
    pub fn forget(&self, server: ServerId) {
        self.lock().wanted.remove(&server);
    }

    /// Records that the mark of a server was read, or could not be.
    pub fn set_tried(&self, server: ServerId) {
        self.lock().tried.insert(server);
        self.changed.notify_waiters();
    }

    /// Completes when the marks of all these servers have been read, or could not be. Cancel safe.
    pub async fn all_tried(&self, servers: &[ServerId]) {
        let is_tried = |reading: &mut Reading| {
            let mut servers = servers.iter();
            servers
                .all(|server| reading.tried.contains(server))
                .then_some(())
        };
        self.until(is_tried).await;
    }

    async fn until<T>(&self, mut look: impl FnMut(&mut Reading) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let found = look(&mut self.lock());
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }

    /// Ignores poisoning: every change is one insertion or removal.
    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
