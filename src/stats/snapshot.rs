//! Counts at one time: plain data that crosses threads.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{HistogramCounts, Metric, PoolMetric, ServerMetric, StatsLayout, WorkerCells};

/// The counts of one worker, or the sum over many.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The layout of the positions.
    pub shape: Arc<StatsLayout>,
    /// One entry for each pool of the layout.
    pub pools: Vec<PoolSnapshot>,
}

impl Snapshot {
    /// A snapshot of zeros.
    #[must_use]
    pub fn zero(shape: Arc<StatsLayout>) -> Self {
        let pools = shape
            .pools
            .iter()
            .map(|(_, servers)| PoolSnapshot {
                values: Values::default(),
                servers: vec![ServerSnapshot::default(); servers.len()],
            })
            .collect();
        Self { shape, pools }
    }

    /// The current values of cells.
    #[must_use]
    pub fn of(cells: &WorkerCells) -> Self {
        let mut snapshot = Self::zero(Arc::clone(cells.layout()));
        snapshot.copy_from(cells);
        snapshot
    }

    /// Overwrites this snapshot with the current values of cells of the same layout. Allocates nothing.
    pub fn copy_from(&mut self, cells: &WorkerCells) {
        debug_assert_eq!(&self.shape, cells.layout());
        for (pool, cells) in self.pools.iter_mut().zip(&cells.pools) {
            pool.values.counts = cells.cells.values();
            pool.values.latency = cells.cells.latency.counts();
            for (server, cells) in pool.servers.iter_mut().zip(&cells.servers) {
                server.counts = cells.values();
                server.latency = cells.latency.counts();
            }
        }
    }

    /// Adds a snapshot of the same layout.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.shape, other.shape);
        for (mine, theirs) in self.pools.iter_mut().zip(&other.pools) {
            mine.values.merge(&theirs.values);
            for (mine, theirs) in mine.servers.iter_mut().zip(&theirs.servers) {
                mine.merge(theirs);
            }
        }
    }

    /// Sets the number of ejections in a pool; a position outside the layout is ignored.
    pub fn set_ejects(&mut self, pool: usize, ejects: u64) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.values.set(PoolMetric::ServerEjects, ejects);
        }
    }

    /// Sets the number of refused clients of a pool; a position outside the layout is ignored.
    pub fn set_rejected(&mut self, pool: usize, rejected: u64) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.values.set(PoolMetric::ClientRejected, rejected);
        }
    }

    /// Sets the time of a server's last ejection, in microseconds since the Unix epoch; a position outside the layout
    /// is ignored.
    pub fn set_ejected_at(&mut self, pool: usize, server: usize, micros: u64) {
        let server = self
            .pools
            .get_mut(pool)
            .and_then(|pool| pool.servers.get_mut(server));
        if let Some(server) = server {
            server.set(ServerMetric::ServerEjectedAt, micros);
        }
    }

    /// Every pool with its name.
    pub fn pools(&self) -> impl Iterator<Item = (&str, &PoolSnapshot)> {
        let names = self.shape.pools.iter().map(|(name, _)| name.as_str());
        names.zip(&self.pools)
    }

    /// Every server with the names of its pool and of itself.
    pub fn servers(&self) -> impl Iterator<Item = (&str, &str, &ServerSnapshot)> {
        self.shape
            .pools
            .iter()
            .zip(&self.pools)
            .flat_map(|((pool, names), values)| {
                let servers = names.iter().zip(&values.servers);
                servers.map(move |(name, server)| (pool.as_str(), name.as_str(), server))
            })
    }

    /// The total and the current number of connections, the one listener of each pool counted in both.
    #[must_use]
    pub fn connections(&self) -> (u64, u64) {
        let listeners = self.pools.len() as u64;
        let pools = |metric| self.pools.iter().map(move |pool| pool.values.get(metric));
        let servers = |metric| self.servers().map(move |(_, _, server)| server.get(metric));
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(listeners, u64::wrapping_add);
        (
            sum(&mut pools(PoolMetric::ClientAccepted).chain(servers(ServerMetric::Connects))),
            sum(&mut pools(PoolMetric::ClientConnections)
                .chain(servers(ServerMetric::ServerConnections))),
        )
    }
}

/// The counts of one pool and of its servers.
#[derive(Debug, Clone, Default)]
pub struct PoolSnapshot {
    /// The pool's own values.
    pub values: Values<PoolMetric, { PoolMetric::COUNT }>,
    /// One for each server.
    pub servers: Vec<ServerSnapshot>,
}

impl PoolSnapshot {
    /// The number of answered requests: by servers, and by the proxy itself. Those that failed or were refused are not
    /// counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let local = self.values.get(PoolMetric::RequestsLocal);
        local.wrapping_add(self.values.latency.count())
    }
}

/// The counts of one server.
pub type ServerSnapshot = Values<ServerMetric, { ServerMetric::COUNT }>;

/// The values of a set of metrics, and its latencies.
#[derive(Debug, Clone)]
pub struct Values<M, const N: usize> {
    counts: [u64; N],
    /// See [`Cells::latency`](super::Cells::latency).
    pub latency: HistogramCounts,
    metrics: PhantomData<fn(M)>,
}

impl<M: Metric, const N: usize> Values<M, N> {
    /// The value of one metric.
    pub fn get(&self, metric: M) -> u64 {
        self.counts.get(metric.index()).copied().unwrap_or_default()
    }

    /// Sets the value.
    pub fn set(&mut self, metric: M, value: u64) {
        if let Some(slot) = self.counts.get_mut(metric.index()) {
            *slot = value;
        }
    }

    /// Adds the values of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.latency.merge(&other.latency);
    }
}

impl<M, const N: usize> Default for Values<M, N> {
    fn default() -> Self {
        Self {
            counts: [0; N],
            latency: HistogramCounts::default(),
            metrics: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_connections_counts_listeners_clients_and_servers() {
        let shape = Arc::new(StatsLayout::new([
            ("a", vec!["one", "two"]),
            ("b", vec!["one"]),
        ]));
        let cells = WorkerCells::new(shape);
        cells.pools[0].cells.add(PoolMetric::ClientAccepted, 10);
        cells.pools[1].cells.add(PoolMetric::ClientConnections, 3);
        cells.pools[0].servers[1].add(ServerMetric::Connects, 5);
        cells.pools[1].servers[0].add(ServerMetric::ServerConnections, 4);
        assert_eq!(Snapshot::of(&cells).connections(), (2 + 10 + 5, 2 + 3 + 4));
    }

    #[test]
    fn ejections_are_set_after_the_merge_for_known_servers() {
        let mut snapshot = Snapshot::zero(Arc::new(StatsLayout::new([("a", ["one"])])));
        snapshot.set_ejects(0, 2);
        snapshot.set_ejected_at(0, 0, 77);
        snapshot.set_ejects(1, 9);
        snapshot.set_ejected_at(0, 1, 9);
        assert_eq!(snapshot.pools[0].values.get(PoolMetric::ServerEjects), 2);
        assert_eq!(
            snapshot.pools[0].servers[0].get(ServerMetric::ServerEjectedAt),
            77
        );
    }
}
