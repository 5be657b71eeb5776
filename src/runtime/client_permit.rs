//! Counts of clients per pool, process and worker: updated per connection, never per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::net::{ConnLimit, ConnPermit};
use crate::runtime::admission::Admitted;

/// The number of clients of one worker, as the acceptor sees it.
#[derive(Debug, Clone, Default)]
pub struct WorkerLoad(Arc<AtomicUsize>);

/// A client's permits in its pool, in the process and at its worker, released on drop.
#[derive(Debug)]
pub struct ClientPermit {
    _places: [ConnPermit; 2],
    load: Arc<AtomicUsize>,
    admitted: Admitted,
}

impl WorkerLoad {
    /// The current number of clients.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl ClientPermit {
    /// Takes a permit of a pool, of the whole process and of one worker.
    #[must_use]
    pub fn take(pool: &ConnLimit, process: &ConnLimit, worker: &WorkerLoad) -> Self {
        let load = Arc::clone(&worker.0);
        load.fetch_add(1, Ordering::Relaxed);
        Self {
            _places: [pool.take(), process.take()],
            load,
            admitted: Admitted::Unlimited,
        }
    }

    /// With how the connection was admitted.
    #[must_use]
    pub(crate) fn with(mut self, admitted: Admitted) -> Self {
        self.admitted = admitted;
        self
    }

    /// Takes what the connection got.
    pub(crate) fn take_admitted(&mut self) -> Admitted {
        std::mem::take(&mut self.admitted)
    }

    /// Returns true if the connection begins with a header of its balancer.
    pub(crate) fn needs_header(&self) -> bool {
        matches!(self.admitted, Admitted::AfterHeader)
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_permit_is_returned_on_drop() {
        let (pool, process, worker) = (ConnLimit::new(1), ConnLimit::new(5), WorkerLoad::default());
        let permit = ClientPermit::take(&pool, &process, &worker);
        assert!(!pool.has_room());
        assert_eq!((process.taken(), worker.clients()), (1, 1));
        drop(permit);
        assert!(pool.has_room());
        assert_eq!((process.taken(), worker.clients()), (0, 0));
    }
}
