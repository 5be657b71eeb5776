//! How many clients there are, and where: counted once a connection, never once a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The clients of one worker, as the acceptor sees them.
#[derive(Debug, Clone, Default)]
pub struct WorkerLoad(Arc<AtomicUsize>);

/// The clients of one pool, or of the process, and how many there may be.
#[derive(Debug, Clone)]
pub struct Seats {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// A client's place: counted as long as it lives.
#[derive(Debug)]
pub struct Seat {
    counters: [Arc<AtomicUsize>; 3],
}

impl WorkerLoad {
    /// Clients that the worker has now.
    pub fn clients(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Seats {
    /// Room for `limit` clients.
    pub fn new(limit: usize) -> Self {
        Self {
            taken: Arc::default(),
            limit,
        }
    }

    /// Whether there is room for one more.
    pub fn have_room(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.limit
    }

    /// A place in this pool, in the whole process and at one worker.
    pub fn take(&self, process: &Self, worker: &WorkerLoad) -> Seat {
        let counters = [
            Arc::clone(&self.taken),
            Arc::clone(&process.taken),
            Arc::clone(&worker.0),
        ];
        for counter in &counters {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Seat { counters }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_its_client_is_gone() {
        let (pool, process, worker) = (Seats::new(1), Seats::new(5), WorkerLoad::default());
        let seat = pool.take(&process, &worker);
        assert!(!pool.have_room());
        assert_eq!(worker.clients(), 1);
        drop(seat);
        assert!(pool.have_room());
        assert_eq!(worker.clients(), 0);
    }
}
