//! Publication of a worker's counts to the control thread, through a slot that the worker overwrites periodically.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fnv::FnvHashMap;

use super::{Sample, Snapshot, StatsLayout, WorkerCells};

/// The slot of one worker. The worker keeps one clone, the control thread another.
#[derive(Debug, Clone, Default)]
pub struct WorkerSlot(Arc<Mutex<Snapshot>>);

impl WorkerSlot {
    /// Overwrites the slot with the current counts of the worker. Off the hot path: a copy of every cell, without an
    /// allocation unless pools or servers have come or left.
    pub fn publish(&self, cells: &WorkerCells) {
        cells.copy_to(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        // A snapshot consists of numbers, and each is valid even if a thread panicked while it copied.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots of all workers.
#[derive(Debug, Clone)]
pub struct StatsBoard {
    slots: Vec<WorkerSlot>,
    samples: Arc<Mutex<VecDeque<Samples>>>,
}

/// The totals of all pools at one time.
#[derive(Debug)]
struct Samples {
    at: Instant,
    pools: FnvHashMap<String, Sample>,
}

/// The minimum interval between two samples.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// The number of kept samples: rates are measured from the oldest.
const SAMPLES: usize = 3;

impl StatsBoard {
    /// A board with one slot for each of `workers`, of zeros until the worker publishes.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            slots: (0..workers).map(|_| WorkerSlot::default()).collect(),
            samples: Arc::default(),
        }
    }

    /// The slots, in the order of the workers.
    #[must_use]
    pub fn slots(&self) -> &[WorkerSlot] {
        &self.slots
    }

    /// The sum of the last published counts of all workers, for the pools and servers of `layout`. Workers may have
    /// others: see [`Snapshot::merge`].
    #[must_use]
    pub fn merged(&self, layout: &Arc<StatsLayout>) -> Snapshot {
        let mut sum = Snapshot::zero(Arc::clone(layout));
        for slot in &self.slots {
            sum.merge(&slot.lock());
        }
        sum
    }

    /// As [`Self::merged`], without the details of other pools than this.
    #[must_use]
    pub fn merged_for(&self, layout: &Arc<StatsLayout>, pool: &str) -> Snapshot {
        let mut sum = Snapshot::zero_for(Arc::clone(layout), pool);
        for slot in &self.slots {
            sum.merge(&slot.lock());
        }
        sum
    }

    /// Takes a sample of every pool, for the rates of [`Self::sampled`]. Any worker may call it after publishing: a
    /// recent sample is kept.
    pub fn sample(&self, now: Instant) {
        let mut samples = self.samples();
        let is_due = samples
            .back()
            .is_none_or(|last| now.saturating_duration_since(last.at) >= SAMPLE_EVERY);
        if is_due {
            if samples.len() == SAMPLES {
                samples.pop_front();
            }
            let pools = self.totals(now);
            samples.push_back(Samples { at: now, pools });
        }
    }

    /// The oldest kept sample of a pool.
    #[must_use]
    pub fn sampled(&self, pool: &str) -> Option<Sample> {
        self.samples().front()?.pools.get(pool).copied()
    }

    fn totals(&self, now: Instant) -> FnvHashMap<String, Sample> {
        let mut totals: FnvHashMap<String, Sample> = FnvHashMap::default();
        for slot in &self.slots {
            for (name, pool) in slot.lock().pools() {
                let sample = Sample::of(pool, now);
                match totals.get_mut(name) {
                    Some(total) => total.add(&sample),
                    None => {
                        totals.insert(name.to_owned(), sample);
                    }
                }
            }
        }
        totals
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Samples>> {
        // A sample consists of numbers, and is pushed whole.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::stats::{Latency, NO_COMMANDS, PoolMetric, ServerMetric};

    fn layout(servers: &[&str]) -> Arc<StatsLayout> {
        Arc::new(StatsLayout::new([("alpha", servers.iter().copied())]))
    }

    /// The requests of each server in `layout`, and of the others together.
    fn requests(board: &StatsBoard, layout: &Arc<StatsLayout>) -> (Vec<u64>, u64) {
        let pool = board.merged(layout).into_pool("alpha");
        let servers = pool.servers.iter();
        let servers = servers.map(|server| server.get(ServerMetric::Requests));
        (servers.collect(), pool.gone.get(ServerMetric::Requests))
    }

    #[test]
    fn stats_board_sums_the_latest_of_each_worker() {
        let stats_board = StatsBoard::new(3);
        thread::scope(|scope| {
            for (worker, slot) in stats_board.slots().iter().enumerate() {
                scope.spawn(move || {
                    let cells = WorkerCells::new();
                    let pool = cells.add_pool("alpha", &NO_COMMANDS);
                    let two = pool.server("two");
                    for _ in 0..2 {
                        pool.cells.bump(PoolMetric::ClientEof);
                        two.add(ServerMetric::Requests, worker as u64);
                        two.latency.record(Latency::of_micros(worker as u64));
                        slot.publish(&cells);
                    }
                });
            }
        });
        let pool = stats_board
            .merged(&layout(&["one", "two"]))
            .into_pool("alpha");
        assert_eq!(pool.values.get(PoolMetric::ClientEof), 6);
        assert_eq!(pool.servers[0].get(ServerMetric::Requests), 0);
        assert_eq!(pool.servers[1].get(ServerMetric::Requests), 6);
        assert_eq!(pool.servers[1].latency.count(), 6);
        assert_eq!(pool.servers[1].latency.sum_micros(), 6);
    }

    #[test]
    fn servers_may_come_and_leave_between_publishes() {
        let stats_board = StatsBoard::new(2);
        let workers = [WorkerCells::new(), WorkerCells::new()];
        let pools = workers
            .each_ref()
            .map(|cells| cells.add_pool("alpha", &NO_COMMANDS));
        let publish = || {
            for (slot, cells) in stats_board.slots().iter().zip(&workers) {
                slot.publish(cells);
            }
        };
        for pool in &pools {
            pool.server("one").add(ServerMetric::Requests, 1);
            pool.server("two").add(ServerMetric::Requests, 10);
        }
        publish();
        assert_eq!(
            requests(&stats_board, &layout(&["one", "two"])),
            (vec![2, 20], 0)
        );

        pools[0].server("three").add(ServerMetric::Requests, 100);
        pools[0].retain(["three", "two"]);
        let next = layout(&["three", "two"]);
        assert_eq!(
            requests(&stats_board, &next),
            (vec![0, 20], 2),
            "before they publish"
        );
        publish();
        assert_eq!(
            requests(&stats_board, &next),
            (vec![100, 20], 2),
            "one has adopted"
        );
        pools[1].retain(["three", "two"]);
        publish();
        assert_eq!(
            requests(&stats_board, &next),
            (vec![100, 20], 2),
            "both have adopted"
        );
    }

    #[test]
    fn rates_use_the_oldest_kept_sample() {
        let stats_board = StatsBoard::new(2);
        let cells = WorkerCells::new();
        let pool = cells.add_pool("alpha", &NO_COMMANDS);
        let start = Instant::now();
        assert_eq!(stats_board.sampled("alpha"), None);
        for half_seconds in 0..10 {
            pool.cells.bump(PoolMetric::RequestsLocal);
            for slot in stats_board.slots() {
                slot.publish(&cells);
            }
            let now = start + half_seconds * SAMPLE_EVERY;
            stats_board.sample(now);
            stats_board.sample(now + SAMPLE_EVERY / 2);
        }
        let sample = stats_board.sampled("alpha").unwrap();
        assert_eq!((sample.at, sample.requests), (start + 7 * SAMPLE_EVERY, 16));
        assert_eq!(stats_board.sampled("beta"), None);
    }
}
