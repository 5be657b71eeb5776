//! Files of TLS that have changed and are faulty, so that the old ones stay in use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Those of one pool.
#[derive(Debug, Default)]
pub struct TlsRefusals {
    count: AtomicU64,
    standing: Mutex<Vec<String>>,
}

impl TlsRefusals {
    /// Notes what is wrong with the files of now.
    pub fn refuse(&self, reasons: Vec<String>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.standing() = reasons;
    }

    /// Forgets what was wrong: the files of now are in use.
    pub fn clear(&self) {
        self.standing().clear();
    }

    /// The number of refused changes.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What is wrong with the files of now.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        self.standing().clone()
    }

    fn standing(&self) -> MutexGuard<'_, Vec<String>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
