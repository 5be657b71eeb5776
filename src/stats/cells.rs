//! The counters of a worker.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::{Histogram, Metric, PoolMetric, ServerMetric, StatsLayout};

/// All the cells of one worker, in the order of its [`StatsLayout`].
#[derive(Debug)]
pub struct WorkerCells {
    shape: Arc<StatsLayout>,
    /// One set for each pool.
    pub pools: Vec<PoolCellSet>,
}

impl WorkerCells {
    /// Cells at zero for every pool and server of `shape`.
    #[must_use]
    pub fn new(shape: Arc<StatsLayout>) -> Self {
        let pools = shape
            .pools
            .iter()
            .map(|(_, servers)| PoolCellSet {
                cells: Rc::default(),
                servers: servers.iter().map(|_| Rc::default()).collect(),
            })
            .collect();
        Self { shape, pools }
    }

    /// The names of the pools and servers.
    #[must_use]
    pub fn layout(&self) -> &Arc<StatsLayout> {
        &self.shape
    }
}

/// The cells of one pool and of its servers.
#[derive(Debug)]
pub struct PoolCellSet {
    /// The pool's own cells.
    pub cells: Rc<PoolCells>,
    /// One for each server.
    pub servers: Vec<Rc<ServerCells>>,
}

/// The cells of one pool.
pub type PoolCells = Cells<PoolMetric, { PoolMetric::COUNT }>;
/// The cells of one server.
pub type ServerCells = Cells<ServerMetric, { ServerMetric::COUNT }>;

/// One cell for each metric of a set, and a histogram of latencies. Not `Sync`: it belongs to one worker.
#[derive(Debug)]
pub struct Cells<M, const N: usize> {
    counts: [Cell<u64>; N],
    /// Of a pool: from the acceptance of a request to the end of its reply. Of a server: from the queueing of a request
    /// to the end of its reply.
    pub latency: Histogram,
    metrics: PhantomData<fn(M)>,
}

impl<M: Metric, const N: usize> Cells<M, N> {
    /// Adds one.
    #[inline]
    pub fn bump(&self, metric: M) {
        self.add(metric, 1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, metric: M, n: u64) {
        if let Some(cell) = self.counts.get(metric.index()) {
            cell.set(cell.get().wrapping_add(n));
        }
    }

    /// Lowers a gauge by one.
    #[inline]
    pub fn drop_one(&self, metric: M) {
        self.subtract(metric, 1);
    }

    /// Lowers a gauge by `n`.
    #[inline]
    pub fn subtract(&self, metric: M, n: u64) {
        self.add(metric, n.wrapping_neg());
    }

    /// Sets the value.
    #[inline]
    pub fn set(&self, metric: M, value: u64) {
        if let Some(cell) = self.counts.get(metric.index()) {
            cell.set(value);
        }
    }

    /// The current value.
    #[inline]
    pub fn get(&self, metric: M) -> u64 {
        self.counts.get(metric.index()).map_or(0, Cell::get)
    }

    /// All values, in the order of the table.
    pub fn values(&self) -> [u64; N] {
        self.counts.each_ref().map(Cell::get)
    }
}

impl<M, const N: usize> Default for Cells<M, N> {
    fn default() -> Self {
        Self {
            counts: [const { Cell::new(0) }; N],
            latency: Histogram::default(),
            metrics: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Snapshot;

    #[test]
    fn gauge_across_workers_sums_correctly() {
        let shape = Arc::new(StatsLayout::new([("alpha", ["one"])]));
        let (raiser, lowerer) = (
            WorkerCells::new(Arc::clone(&shape)),
            WorkerCells::new(shape),
        );
        raiser.pools[0].cells.add(PoolMetric::ClientConnections, 3);
        lowerer.pools[0]
            .cells
            .drop_one(PoolMetric::ClientConnections);

        let mut sum = Snapshot::of(&lowerer);
        sum.merge(&Snapshot::of(&raiser));
        assert_eq!(sum.pools[0].values.get(PoolMetric::ClientConnections), 2);
    }

    #[test]
    fn bump_changes_only_its_metric() {
        for &metric in ServerMetric::ALL {
            let cells = ServerCells::default();
            cells.bump(metric);
            cells.add(metric, 4);
            let expected: Vec<u64> = ServerMetric::ALL
                .iter()
                .map(|&m| if m == metric { 5 } else { 0 })
                .collect();
            assert_eq!(cells.values().to_vec(), expected, "{metric:?}");
            cells.set(metric, 2);
            assert_eq!(cells.get(metric), 2);
        }
    }
}
