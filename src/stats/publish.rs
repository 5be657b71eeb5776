//! Publication of a worker's counts to the control thread, through a slot that the worker overwrites periodically.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Sample, Snapshot, StatsLayout, WorkerCells};

/// The slot of one worker. The worker keeps one clone, the control thread another.
#[derive(Debug, Clone)]
pub struct WorkerSlot(Arc<Mutex<Snapshot>>);

impl WorkerSlot {
    /// A slot that holds zeros until the worker publishes.
    #[must_use]
    pub fn new(shape: Arc<StatsLayout>) -> Self {
        Self(Arc::new(Mutex::new(Snapshot::zero(shape))))
    }

    /// Overwrites the slot with the current counts of the worker. Off the hot path: a copy of every cell.
    pub fn publish(&self, cells: &WorkerCells) {
        self.lock().copy_from(cells);
    }

    /// Adds the last published counts to `sum`.
    pub fn merge_into(&self, sum: &mut Snapshot) {
        sum.merge(&self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        // A snapshot consists of numbers, and each is valid even if a thread panicked while it copied.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots of all workers.
#[derive(Debug, Clone)]
pub struct StatsBoard {
    shape: Arc<StatsLayout>,
    slots: Vec<WorkerSlot>,
    samples: Arc<Mutex<VecDeque<Vec<Sample>>>>,
}

/// The minimum interval between two samples.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// The number of kept samples: rates are measured from the oldest.
const SAMPLES: usize = 3;

impl StatsBoard {
    /// A board with one slot for each of `workers`.
    #[must_use]
    pub fn new(shape: &Arc<StatsLayout>, workers: usize) -> Self {
        Self {
            shape: Arc::clone(shape),
            slots: (0..workers)
                .map(|_| WorkerSlot::new(Arc::clone(shape)))
                .collect(),
            samples: Arc::default(),
        }
    }

    /// The slots, in the order of the workers.
    #[must_use]
    pub fn slots(&self) -> &[WorkerSlot] {
        &self.slots
    }

    /// The sum of the last published counts of all workers.
    #[must_use]
    pub fn merged(&self) -> Snapshot {
        let mut sum = Snapshot::zero(Arc::clone(&self.shape));
        self.slots.iter().for_each(|slot| slot.merge_into(&mut sum));
        sum
    }

    /// Takes a sample of every pool, for the rates of [`Self::sampled`]. Any worker may call it after publishing: a
    /// recent sample is kept.
    pub fn sample(&self, now: Instant) {
        let mut samples = self.samples();
        let is_due = samples
            .back()
            .and_then(|last| last.first())
            .is_none_or(|last| now.saturating_duration_since(last.at) >= SAMPLE_EVERY);
        if is_due {
            if samples.len() == SAMPLES {
                samples.pop_front();
            }
            let pools = self.merged().pools;
            samples.push_back(pools.iter().map(|pool| Sample::of(pool, now)).collect());
        }
    }

    /// The oldest kept sample of a pool.
    #[must_use]
    pub fn sampled(&self, pool: usize) -> Option<Sample> {
        self.samples().front()?.get(pool).copied()
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Vec<Sample>>> {
        // A sample consists of numbers, and is pushed whole.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::stats::{PoolMetric, ServerMetric};

    #[test]
    fn stats_board_sums_the_latest_of_each_worker() {
        let shape = Arc::new(StatsLayout::new([("alpha", ["one", "two"])]));
        let stats_board = StatsBoard::new(&shape, 3);
        thread::scope(|scope| {
            for (worker, slot) in stats_board.slots().iter().enumerate() {
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
        let sum = stats_board.merged();
        assert_eq!(sum.pools[0].values.get(PoolMetric::ClientEof), 6);
        assert_eq!(sum.pools[0].servers[0].get(ServerMetric::Requests), 0);
        assert_eq!(sum.pools[0].servers[1].get(ServerMetric::Requests), 6);
        assert_eq!(sum.pools[0].servers[1].latency.count(), 6);
        assert_eq!(sum.pools[0].servers[1].latency.sum_micros(), 6);
    }

    #[test]
    fn rates_use_the_oldest_kept_sample() {
        let shape = Arc::new(StatsLayout::new([("alpha", ["one"])]));
        let stats_board = StatsBoard::new(&shape, 1);
        let cells = WorkerCells::new(shape);
        let start = Instant::now();
        assert_eq!(stats_board.sampled(0), None);
        for half_seconds in 0..10 {
            cells.pools[0].cells.bump(PoolMetric::RequestsLocal);
            stats_board.slots()[0].publish(&cells);
            let now = start + half_seconds * SAMPLE_EVERY;
            stats_board.sample(now);
            stats_board.sample(now + SAMPLE_EVERY / 2);
        }
        let sample = stats_board.sampled(0).unwrap();
        assert_eq!((sample.at, sample.requests), (start + 7 * SAMPLE_EVERY, 8));
        assert_eq!(stats_board.sampled(1), None);
    }
}
