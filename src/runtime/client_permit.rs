//! How many clients there are, and where: counted once a connection, never once a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::net::{Place, Places};

/// The clients of one worker, as the acceptor sees them.
#[derive(Debug, Clone, Default)]
pub struct WorkerLoad(Arc<AtomicUsize>);

/// A client's places in its pool and in the process, and at its worker: counted as long as it lives.
#[derive(Debug)]
pub struct Seat {
    _places: [Place; 2],
    load: Arc<AtomicUsize>,
}

impl WorkerLoad {
    /// Clients that the worker has now.
    pub fn clients(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Takes a place in a pool, in the whole process and at one worker.
    pub fn take(pool: &Places, process: &Places, worker: &WorkerLoad) -> Self {
        let load = Arc::clone(&worker.0);
        load.fetch_add(1, Ordering::Relaxed);
        Self {
            _places: [pool.take(), process.take()],
            load,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_its_client_is_gone() {
        let (pool, process, worker) = (Places::new(1), Places::new(5), WorkerLoad::default());
        let seat = Seat::take(&pool, &process, &worker);
        assert!(!pool.have_room());
        assert_eq!((process.taken(), worker.clients()), (1, 1));
        drop(seat);
        assert!(pool.have_room());
        assert_eq!((process.taken(), worker.clients()), (0, 0));
    }
}
