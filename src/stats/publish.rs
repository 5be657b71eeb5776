//! How the counts of a worker reach the control thread: through a slot that the worker overwrites now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Shape, Snapshot, WorkerCells};

/// The slot of one worker. The worker keeps one clone, the control thread another.
#[derive(Debug, Clone)]
pub struct Published(Arc<Mutex<Snapshot>>);

impl Published {
    /// A slot that holds zeros until the worker publishes.
    pub fn new(shape: Arc<Shape>) -> Self {
        Self(Arc::new(Mutex::new(Snapshot::zero(shape))))
    }

    /// Overwrites the slot with the present counts of the worker. Off the hot path: a copy of every cell.
    pub fn publish(&self, cells: &WorkerCells) {
        self.lock().copy_from(cells);
    }

    /// Adds what was last published to `sum`.
    pub fn merge_into(&self, sum: &mut Snapshot) {
        sum.merge(&self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        // A snapshot is numbers only, and every one of them is whole even if a thread died while it copied.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots of all workers.
#[derive(Debug, Clone)]
pub struct Board {
    shape: Arc<Shape>,
    slots: Vec<Published>,
}

impl Board {
    /// One slot for each of `workers`.
    pub fn new(shape: &Arc<Shape>, workers: usize) -> Self {
        Self {
            shape: Arc::clone(shape),
            slots: (0..workers)
                .map(|_| Published::new(Arc::clone(shape)))
                .collect(),
        }
    }

    /// The slots, in the order of the workers.
    pub fn slots(&self) -> &[Published] {
        &self.slots
    }

    /// The sum of what all workers last published.
    pub fn merged(&self) -> Snapshot {
        let mut sum = Snapshot::zero(Arc::clone(&self.shape));
        self.slots.iter().for_each(|slot| slot.merge_into(&mut sum));
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::stats::{PoolMetric, ServerMetric};

    #[test]
    fn the_board_sums_what_each_worker_published_last() {
        let shape = Arc::new(Shape::new([("alpha", ["one", "two"])]));
        let board = Board::new(&shape, 3);
        thread::scope(|scope| {
            for (worker, slot) in board.slots().iter().enumerate() {
                let shape = Arc::clone(&shape);
                scope.spawn(move || {
                    let cells = WorkerCells::new(shape);
                    for _ in 0..2 {
                        cells.pools[0].cells.bump(PoolMetric::ClientEof);
                        cells.pools[0].servers[1].add(ServerMetric::Requests, worker as u64);
                        cells.pools[0].servers[1].latency.record(worker as u64);
                        slot.publish(&cells);
                    }
                });
            }
        });
        let sum = board.merged();
        assert_eq!(sum.pools[0].values.get(PoolMetric::ClientEof), 6);
        assert_eq!(sum.pools[0].servers[0].get(ServerMetric::Requests), 0);
        assert_eq!(sum.pools[0].servers[1].get(ServerMetric::Requests), 6);
        assert_eq!(sum.pools[0].servers[1].latency.count(), 6);
        assert_eq!(sum.pools[0].servers[1].latency.sum_micros(), 6);
    }
}
