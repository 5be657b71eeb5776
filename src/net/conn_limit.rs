//! The limit of client connections and dedicated connections: as many as there are file descriptors for, once the
//! shared connections to the servers have theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit shared by all threads; counted per connection, never per request.
#[derive(Debug, Clone)]
pub struct ConnLimit {
    taken: Arc<AtomicUsize>,
    limit: Arc<AtomicUsize>,
}

/// One counted connection, released on drop.
#[derive(Debug)]
pub struct ConnPermit(Arc<AtomicUsize>);

impl ConnLimit {
    /// A limit of `limit` connections.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            taken: Arc::default(),
            limit: Arc::new(AtomicUsize::new(limit)),
        }
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit. Connections above a lower one stay.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The number of connections.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Returns true if there is room for one more. Threads that call at the same time may both get true: the reserve of
    /// file descriptors covers them.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.taken() < self.limit()
    }

    /// Counts one more connection.
    #[must_use]
    pub fn take(&self) -> ConnPermit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        ConnPermit(Arc::clone(&self.taken))
    }
}

impl Default for ConnLimit {
    /// No limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Drop for ConnPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
