//! How many sockets there may be for clients, and for connections that clients have for themselves: as many as there are
//! file descriptors for, once the shared connections to the servers have theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by all threads; counted once a connection, never once a request.
#[derive(Debug, Clone)]
pub struct ConnLimit {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// One of them, as long as it lives.
#[derive(Debug)]
pub struct ConnPermit(Arc<AtomicUsize>);

impl ConnLimit {
    /// So many.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            taken: Arc::default(),
            limit,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether there is one more. Threads that ask at once may both hear so: what is held in reserve covers them.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.taken() < self.limit
    }

    /// Takes one.
    #[must_use]
    pub fn take(&self) -> ConnPermit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        ConnPermit(Arc::clone(&self.taken))
    }
}

impl Default for ConnLimit {
    /// Without a limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Drop for ConnPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
