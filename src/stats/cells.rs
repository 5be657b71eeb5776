//! The counters of a pool and of a server in one worker.

use std::cell::Cell;
use std::marker::PhantomData;

use std::ops::Deref;

use super::{
    CommandCells, CommandTable, ErrorCells, Histogram, Metric, PoolMetric, RefusalCells,
    ServerMetric,
};

/// One cell for each metric of a set. Not `Sync`: it belongs to one worker.
#[derive(Debug)]
pub struct Cells<M, const N: usize> {
    counts: [Cell<u64>; N],
    metrics: PhantomData<fn(M)>,
}

/// The cells of one pool.
#[derive(Debug, Default)]
pub struct PoolCells {
    counts: Cells<PoolMetric, { PoolMetric::COUNT }>,
    /// By command.
    pub commands: CommandCells,
    /// Error replies to clients, by code.
    pub errors: ErrorCells,
    /// Refused requests.
    pub refusals: RefusalCells,
    /// From reading a reply to writing it to the client, of one request in 64.
    pub reply_wait: Histogram,
}

/// The cells of one server.
#[derive(Debug, Default)]
pub struct ServerCells {
    counts: Cells<ServerMetric, { ServerMetric::COUNT }>,
    /// From the queueing of a request to the end of its reply.
    pub latency: Histogram,
    /// From the queueing of a request to the write, of the oldest request of one write in 64.
    pub write_wait: Histogram,
}

impl PoolCells {
    /// Cells for a pool with these commands.
    #[must_use]
    pub fn new(commands: CommandTable) -> Self {
        Self {
            commands: CommandCells::new(commands),
            ..Self::default()
        }
    }
}

impl Deref for PoolCells {
    type Target = Cells<PoolMetric, { PoolMetric::COUNT }>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.counts
    }
}

impl Deref for ServerCells {
    type Target = Cells<ServerMetric, { ServerMetric::COUNT }>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.counts
    }
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
            metrics: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
