//! Counts at one time: plain data that crosses threads.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::{
    Cells, CommandCounts, ErrorCounts, HistogramCounts, Metric, PoolCells, PoolMetric,
    RefusalCounts, ServerCells, ServerMetric, StatsLayout,
};

/// The counts of one worker, or the sum over many.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The layout of the positions.
    pub(super) layout: Arc<StatsLayout>,
    /// One entry for each pool of the layout.
    pub pools: Vec<PoolSnapshot>,
    /// The sum of all pools that are not in the layout. All their servers are in its `gone`.
    pub gone: PoolSnapshot,
    /// The number of listeners that were closed.
    closed_listeners: u64,
    /// The only pool whose details are merged; `None` is all.
    details_of: Option<usize>,
}

impl Snapshot {
    /// A snapshot of zeros.
    #[must_use]
    pub fn zero(layout: Arc<StatsLayout>) -> Self {
        let pools = layout.pools().map(|(_, servers)| PoolSnapshot {
            servers: vec![ServerSnapshot::default(); servers.len()],
            ..PoolSnapshot::default()
        });
        Self {
            pools: pools.collect(),
            layout,
            ..Self::default()
        }
    }

    /// A snapshot of zeros into which the details of no other pool are merged.
    #[must_use]
    pub(super) fn zero_for(layout: Arc<StatsLayout>, pool: &str) -> Self {
        Self {
            details_of: Some(layout.pool(pool, 0).unwrap_or(usize::MAX)),
            ..Self::zero(layout)
        }
    }

    /// Adds the counts of another snapshot to those of the same names. What is not in this layout is added to `gone`.
    pub fn merge(&mut self, other: &Self) {
        let Self { layout, pools, .. } = self;
        let theirs = other.layout.pools().zip(&other.pools);
        for (guess, ((name, servers), theirs)) in theirs.enumerate() {
            let place = layout.pool(name, guess);
            let place = place.and_then(|place| Some((place, pools.get_mut(place)?)));
            let Some((place, mine)) = place else {
                self.gone.merge(theirs, |_| None);
                continue;
            };
            mine.merge(theirs, |guess| {
                layout.server(place, servers.get(guess)?, guess)
            });
            if self.details_of.is_none_or(|only| only == place) {
                mine.details.merge(&theirs.details);
            }
        }
        self.gone.merge(&other.gone, |_| None);
        self.closed_listeners = self.closed_listeners.wrapping_add(other.closed_listeners);
    }

    /// Sets a count of a pool that no worker keeps, if the pool is in the layout.
    pub fn set_of_pool(&mut self, pool: &str, metric: PoolMetric, value: u64) {
        if let Some(pool) = self.pool_mut(pool) {
            pool.values.set(metric, value);
        }
    }

    /// Sets the ends of the certificates of a pool, if the pool is in the layout.
    pub fn set_expiries(&mut self, pool: &str, expiries: Vec<FileExpiry>) {
        if let Some(pool) = self.pool_mut(pool) {
            pool.expiries = expiries;
        }
    }

    /// Sets the refusals because of quotas of users, if the pool is in the layout.
    pub fn set_user_refusals(&mut self, pool: &str, refusals: Vec<UserRefusal>) {
        if let Some(pool) = self.pool_mut(pool) {
            pool.user_refusals = refusals;
        }
    }

    /// Sets a value of a server that no worker keeps, if the server is in the layout.
    pub fn set_of_server(&mut self, pool: &str, server: &str, metric: ServerMetric, value: u64) {
        let Some(place) = self.layout.pool(pool, 0) else {
            return;
        };
        let server = self.layout.server(place, server, 0);
        let pool = self.pools.get_mut(place);
        let server = pool
            .zip(server)
            .and_then(|(pool, server)| pool.servers.get_mut(server));
        if let Some(server) = server {
            server.set(metric, value);
        }
    }

    /// Sets the number of listeners that were closed, whose pools are not in the layout or listen elsewhere now.
    pub fn set_closed_listeners(&mut self, count: u64) {
        self.closed_listeners = count;
    }

    /// The counts of one pool; zeros if it is not in the layout.
    #[must_use]
    pub fn into_pool(mut self, name: &str) -> PoolSnapshot {
        self.pool_mut(name).map(mem::take).unwrap_or_default()
    }

    /// Every pool with its name.
    pub fn pools(&self) -> impl Iterator<Item = (&str, &PoolSnapshot)> {
        let names = self.layout.pools().map(|(name, _)| name);
        names.zip(&self.pools)
    }

    /// Every server with the names of its pool and of itself.
    pub fn servers(&self) -> impl Iterator<Item = (&str, &str, &ServerSnapshot)> {
        let pools = self.layout.pools().zip(&self.pools);
        pools.flat_map(|((pool, names), values)| {
            let servers = names.iter().zip(&values.servers);
            servers.map(move |(name, server)| (pool, name.as_str(), server))
        })
    }

    /// The total and the current number of connections, the one listener of each pool counted in both. Pools and servers
    /// that have left are included, so the total only grows.
    #[must_use]
    pub fn connections(&self) -> (u64, u64) {
        let listeners = self.pools.len() as u64;
        let sum = |clients, servers, start| {
            let pools = self.pools.iter().chain([&self.gone]);
            pools.fold(start, |sum: u64, pool| {
                sum.wrapping_add(pool.values.get(clients))
                    .wrapping_add(pool.of_servers(servers))
            })
        };
        (
            sum(
                PoolMetric::ClientAccepted,
                ServerMetric::Connects,
                listeners.wrapping_add(self.closed_listeners),
            ),
            sum(
                PoolMetric::ClientConnections,
                ServerMetric::ServerConnections,
                listeners,
            ),
        )
    }

    fn pool_mut(&mut self, name: &str) -> Option<&mut PoolSnapshot> {
        self.pools.get_mut(self.layout.pool(name, 0)?)
    }
}

/// The counts of one pool and of its servers.
#[derive(Debug, Clone, Default)]
pub struct PoolSnapshot {
    /// The pool's own values.
    pub values: Values<PoolMetric, { PoolMetric::COUNT }>,
    /// One for each server.
    pub servers: Vec<ServerSnapshot>,
    /// The sum of all servers of the pool that are not in the layout.
    pub gone: ServerSnapshot,
    /// Its commands, errors and refusals.
    pub details: PoolDetails,
    /// The ends of its certificates.
    pub expiries: Vec<FileExpiry>,
    /// Refusals because of quotas of users.
    pub user_refusals: Vec<UserRefusal>,
}

/// The number of refusals because of one limit of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRefusal {
    /// The user.
    pub user: String,
    /// The limit.
    pub quota: &'static str,
    /// The number.
    pub count: u64,
}

/// The end of what a file is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileExpiry {
    /// Its path.
    pub file: String,
    /// The seconds until then; negative if it is past.
    pub left_seconds: i64,
}

/// The counts of a pool by command, by error and by refusal. Those of a pool that has left are dropped with it.
#[derive(Debug, Clone, Default)]
pub struct PoolDetails {
    /// Counts by command.
    pub commands: CommandCounts,
    /// Error replies to clients, by code.
    pub errors: ErrorCounts,
    /// Refused requests.
    pub refusals: RefusalCounts,
}

impl PoolDetails {
    /// Subtracts the commands and errors of the same pool at an earlier time.
    pub fn subtract(&mut self, earlier: &Self) {
        self.commands.subtract(&earlier.commands);
        self.errors.subtract(&earlier.errors);
    }

    fn merge(&mut self, other: &Self) {
        self.commands.merge(&other.commands);
        self.errors.merge(&other.errors);
        self.refusals.merge(&other.refusals);
    }
}

impl PoolSnapshot {
    /// The number of answered requests: by servers, and by the proxy itself. Those that failed or were refused are not
    /// counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let local = self.values.get(PoolMetric::RequestsLocal);
        local.wrapping_add(self.values.latency.count())
    }

    /// The sum over all servers, including those that have left.
    #[must_use]
    pub fn of_servers(&self, metric: ServerMetric) -> u64 {
        let servers = self.servers.iter().chain([&self.gone]);
        servers.fold(0, |sum, server| sum.wrapping_add(server.get(metric)))
    }

    /// Overwrites the pool's own values and the details with the current ones. Allocates nothing unless a command was used
    /// for the first time, or an error or a refusal is new.
    pub(super) fn copy_own(&mut self, cells: &PoolCells) {
        let PoolDetails {
            commands,
            errors,
            refusals,
        } = &mut self.details;
        let latency = cells.commands.copy_to(commands);
        self.values = Values::of(cells, latency, cells.reply_wait.counts());
        cells.errors.copy_to(errors);
        cells.refusals.copy_to(refusals);
    }

    /// Adds another pool, without its details. `place` is the position here of the server at a position there; without one it is added to
    /// `gone`.
    fn merge(&mut self, other: &Self, place: impl Fn(usize) -> Option<usize>) {
        self.values.merge(&other.values);
        self.gone.merge(&other.gone);
        for (index, theirs) in other.servers.iter().enumerate() {
            let mine = place(index).and_then(|place| self.servers.get_mut(place));
            mine.unwrap_or(&mut self.gone).merge(theirs);
        }
    }
}

/// The counts of one server.
pub type ServerSnapshot = Values<ServerMetric, { ServerMetric::COUNT }>;

impl ServerSnapshot {
    /// The current values of a server.
    pub(super) fn of_server(cells: &ServerCells) -> Self {
        Self::of(cells, cells.latency.counts(), cells.write_wait.counts())
    }
}

/// The values of a set of metrics, and its latencies.
#[derive(Debug, Clone)]
pub struct Values<M, const N: usize> {
    counts: [u64; N],
    /// Of a pool: from accepting a request to the end of its reply. Of a server: from the queueing of a request to the end
    /// of its reply.
    pub latency: HistogramCounts,
    /// The part of it in the proxy. Of a pool: from reading a reply to writing it to the client, of one request in 64. Of a
    /// server: from the queueing of a request to the write, of the oldest of each write.
    pub wait: HistogramCounts,
    metrics: PhantomData<fn(M)>,
}

impl<M: Metric, const N: usize> Values<M, N> {
    fn of(cells: &Cells<M, N>, latency: HistogramCounts, wait: HistogramCounts) -> Self {
        Self {
            counts: cells.values(),
            latency,
            wait,
            metrics: PhantomData,
        }
    }

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

    /// Adds other values.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.latency.merge(&other.latency);
        self.wait.merge(&other.wait);
    }
}

impl<M, const N: usize> Default for Values<M, N> {
    fn default() -> Self {
        Self {
            counts: [0; N],
            latency: HistogramCounts::default(),
            wait: HistogramCounts::default(),
            metrics: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A snapshot in which each server has this number of requests, and each pool so many clients.
    fn snapshot(pools: &[(&str, &[(&str, u64)])]) -> Snapshot {
        let layout = pools.iter().map(|(pool, servers)| {
            let names = servers.iter().map(|(name, _)| *name);
            (*pool, names)
        });
        let mut snapshot = Snapshot::zero(Arc::new(StatsLayout::new(layout)));
        for (pool, (_, servers)) in snapshot.pools.iter_mut().zip(pools) {
            for (server, (_, requests)) in pool.servers.iter_mut().zip(*servers) {
                server.set(ServerMetric::Requests, *requests);
                let clients = pool.values.get(PoolMetric::ClientEof) + requests;
                pool.values.set(PoolMetric::ClientEof, clients);
            }
        }
        snapshot
    }

    #[test]
    fn snapshots_of_different_layouts_merge_by_name() {
        let mut sum = snapshot(&[("p", &[("a", 0), ("b", 0)]), ("q", &[("a", 0)])]);
        sum.merge(&snapshot(&[
            ("q", &[("a", 1)]),
            ("p", &[("b", 2), ("c", 4), ("a", 8)]),
        ]));
        sum.merge(&snapshot(&[
            ("gone", &[("a", 16)]),
            ("p", &[("a", 32), ("b", 64)]),
        ]));

        let requests = |server: &ServerSnapshot| server.get(ServerMetric::Requests);
        let servers: Vec<_> = sum
            .servers()
            .map(|(pool, name, server)| (pool, name, requests(server)))
            .collect();
        assert_eq!(servers, [("p", "a", 40), ("p", "b", 66), ("q", "a", 1)]);
        let gone: Vec<_> = sum
            .pools()
            .map(|(name, pool)| {
                (
                    name,
                    pool.values.get(PoolMetric::ClientEof),
                    requests(&pool.gone),
                )
            })
            .collect();
        assert_eq!(gone, [("p", 110, 4), ("q", 1, 0)]);
        assert_eq!(sum.gone.values.get(PoolMetric::ClientEof), 16);
        assert_eq!(requests(&sum.gone.gone), 16);
        assert!(sum.gone.servers.is_empty());
    }

    #[test]
    fn gauge_across_workers_sums_correctly() {
        let worker = |connections: u64| {
            let mut snapshot = snapshot(&[("alpha", &[("one", 0)])]);
            let values = &mut snapshot.pools[0].values;
            values.set(PoolMetric::ClientConnections, connections);
            snapshot
        };
        let mut sum = worker(1_u64.wrapping_neg());
        sum.merge(&worker(3));
        assert_eq!(sum.pools[0].values.get(PoolMetric::ClientConnections), 2);
    }

    #[test]
    fn total_connections_counts_listeners_clients_and_servers() {
        let mut snapshot = snapshot(&[("a", &[("one", 0), ("two", 0)]), ("b", &[("one", 0)])]);
        let [a, b] = &mut snapshot.pools[..] else {
            panic!("two pools");
        };
        a.values.set(PoolMetric::ClientAccepted, 10);
        b.values.set(PoolMetric::ClientConnections, 3);
        a.servers[1].set(ServerMetric::Connects, 5);
        b.servers[0].set(ServerMetric::ServerConnections, 4);
        snapshot.set_closed_listeners(6);
        assert_eq!(snapshot.connections(), (2 + 6 + 10 + 5, 2 + 3 + 4));
    }

    #[test]
    fn counts_of_the_process_are_set_for_known_names() {
        let mut snapshot = snapshot(&[("a", &[("one", 0)])]);
        for (pool, server, value) in [("a", "one", 77), ("a", "two", 9), ("b", "one", 9)] {
            snapshot.set_of_server(pool, server, ServerMetric::ServerEjectedAt, value);
        }
        for (pool, value) in [("a", 2), ("b", 9)] {
            snapshot.set_of_pool(pool, PoolMetric::ServerEjects, value);
            snapshot.set_of_pool(pool, PoolMetric::ClientRejected, value + 1);
        }
        let pool = snapshot.into_pool("a");
        assert_eq!(pool.values.get(PoolMetric::ServerEjects), 2);
        assert_eq!(pool.values.get(PoolMetric::ClientRejected), 3);
        assert_eq!(pool.servers[0].get(ServerMetric::ServerEjectedAt), 77);
    }
}
