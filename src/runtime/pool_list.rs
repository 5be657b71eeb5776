//! The pools of the process, which may change while it runs, and the statistics of exactly these.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::net::tls::seconds_until;
use crate::quota::QuotaKind;
use crate::runtime::pool_setup::PoolSetup;
use crate::stats::{
    FileExpiry, PoolMetric, ServerMetric, Snapshot, StatsBoard, StatsLayout, UserRefusal,
};
use crate::topology::{ServerIndex, Topology};

/// The pools of the process. One thread changes them, any may read.
#[derive(Debug)]
pub struct PoolList {
    listed: ArcSwap<Listed>,
    /// The last layout that was needed: it seldom changes.
    layout: ArcSwap<StatsLayout>,
}

#[derive(Debug)]
struct Listed {
    pools: Arc<[PoolSetup]>,
    /// The number of listeners that former lists had.
    closed_listeners: u64,
}

impl PoolList {
    /// A list of these pools, sorted by name.
    #[must_use]
    pub fn new(pools: Vec<PoolSetup>) -> Self {
        Self {
            listed: ArcSwap::from_pointee(Listed {
                pools: pools.into(),
                closed_listeners: 0,
            }),
            layout: ArcSwap::default(),
        }
    }

    /// The current pools.
    pub fn load(&self) -> Arc<[PoolSetup]> {
        Arc::clone(&self.listed.load().pools)
    }

    /// Replaces the pools by these, sorted by name; so many listeners are closed. Done before workers remove a pool: what
    /// they have counted in it then never seems to be lost.
    pub fn store(&self, pools: Vec<PoolSetup>, closed_listeners: u64) {
        let old = self.listed.load();
        self.listed.store(Arc::new(Listed {
            closed_listeners: old.closed_listeners + closed_listeners,
            pools: pools.into(),
        }));
    }

    /// The last published counts of all workers, and those that no worker counts.
    pub(crate) fn snapshot(&self, stats_board: &StatsBoard) -> Snapshot {
        self.complete(|layout| stats_board.merged(layout))
    }

    /// As [`Self::snapshot`], without the details of other pools than this.
    pub(crate) fn snapshot_for(&self, stats_board: &StatsBoard, pool: &str) -> Snapshot {
        self.complete(|layout| stats_board.merged_for(layout, pool))
    }

    fn complete(&self, merged: impl FnOnce(&Arc<StatsLayout>) -> Snapshot) -> Snapshot {
        let listed = self.listed.load();
        let mut sum = merged(&self.layout(&listed.pools));
        for pool in &*listed.pools {
            add_shared_counts(&mut sum, pool);
        }
        sum.set_closed_listeners(listed.closed_listeners);
        sum
    }

    fn layout(&self, pools: &[PoolSetup]) -> Arc<StatsLayout> {
        let topologies: Vec<_> = pools.iter().map(|pool| pool.store.topology()).collect();
        let names = || {
            let pools = pools.iter().map(|pool| &*pool.name);
            pools.zip(topologies.iter().map(|topology| server_names(topology)))
        };
        let known = self.layout.load_full();
        if known.is_of(names()) {
            return known;
        }
        let layout = Arc::new(StatsLayout::new(names()));
        self.layout.store(Arc::clone(&layout));
        layout
    }
}

/// One for both servers of a name while one takes the place of the other: they are counted together.
fn server_names(topology: &Topology) -> impl Iterator<Item = &str> {
    let servers = topology.servers();
    let names = || servers.iter().map(|server| server.name.as_str());
    let before = std::iter::once(None).chain(names().map(Some));
    let each = names().zip(before);
    each.filter_map(|(name, before)| (before != Some(name)).then_some(name))
}

/// Adds the counts of the acceptor, of the shared health and of the watchers of roles.
fn add_shared_counts(sum: &mut Snapshot, pool: &PoolSetup) {
    let (name, store) = (&*pool.name, &pool.store);
    let (conflicts, changes) = store.role_counts();
    let counts = pool.admission.counts();
    let (auth_failures, auth_throttled) = pool.admission.auth_failures();
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    for (metric, value) in [
        (
            PoolMetric::ClientRejected,
            pool.rejected.load(Ordering::Relaxed),
        ),
        (PoolMetric::TlsReloadErrors, pool.tls_refusals.count()),
        (PoolMetric::ClientDenied, count(&counts.denied)),
        (PoolMetric::ClientAddressLimited, count(&counts.limited)),
        (PoolMetric::ProxyHeaderErrors, count(&counts.faulty_headers)),
        (PoolMetric::AuthFailures, auth_failures),
        (PoolMetric::AuthThrottled, auth_throttled),
        (PoolMetric::AuthTimeouts, count(&counts.auth_timeouts)),
        (
            PoolMetric::QuotaConnectionsRefused,
            pool.shared.refused_connections(),
        ),
        (PoolMetric::ServerEjects, store.ejections()),
        (PoolMetric::PrimaryChanges, changes),
        (PoolMetric::ServerRolesConflict, conflicts),
    ] {
        sum.set_of_pool(name, metric, value);
    }
    let topology = store.topology();
    for (server, live) in topology.servers().iter().zip(&topology.live) {
        let live = u64::from(*live);
        sum.set_of_server(name, &server.name, ServerMetric::Live, live);
    }
    for (server, micros) in store.ejected_at_us() {
        sum.set_of_server(name, &server, ServerMetric::ServerEjectedAt, micros);
    }
    add_replicas(sum, pool);
    add_expiries(sum, pool);
    add_user_refusals(sum, pool);
}

fn add_user_refusals(sum: &mut Snapshot, pool: &PoolSetup) {
    let mut refusals = Vec::new();
    for row in pool.shared.user_refusals() {
        refusals.extend(QuotaKind::ALL.map(|kind| UserRefusal {
            user: row.user.clone(),
            quota: kind.name(),
            count: row.refused.get(kind),
        }));
    }
    if !refusals.is_empty() {
        sum.set_user_refusals(&pool.name, refusals);
    }
}

fn add_expiries(sum: &mut Snapshot, pool: &PoolSetup) {
    let (config, now) = (pool.config(), SystemTime::now());
    let expiries = config.tls.expiries().map(|expiry| FileExpiry {
        file: expiry.file.path.display().to_string(),
        left_seconds: seconds_until(expiry.not_after, now),
    });
    let expiries: Vec<_> = expiries.collect();
    if !expiries.is_empty() {
        sum.set_expiries(&pool.name, expiries);
    }
}

fn add_replicas(sum: &mut Snapshot, pool: &PoolSetup) {
    let roles = pool.store.roles();
    if roles.replicas().is_empty() {
        return;
    }
    let (name, topology, now) = (&*pool.name, pool.store.topology(), Instant::now());
    for (server, replicas) in roles.replicas() {
        let up = replicas.iter().filter(|replica| replica.is_up).count();
        sum.set_of_server(name, server, ServerMetric::ReplicasUp, up as u64);
    }
    for (index, server) in ServerIndex::all().zip(topology.servers()) {
        let replicas = topology.replicas(index).iter();
        let lag = replicas.filter_map(|replica| replica.lag(now)).max();
        if let Some(lag) = lag {
            let ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
            sum.set_of_server(name, &server.name, ServerMetric::ReplicaLag, ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::config::Config;
    use crate::stats::{NO_COMMANDS, WorkerCells};

    fn setups(yaml: &str) -> Vec<PoolSetup> {
        let pools = Config::parse(yaml, "F").unwrap().pools.into_iter();
        let setup =
            |config| PoolSetup::new(config, Instant::now(), &Arc::default(), &Arc::default());
        pools.map(setup).collect()
    }

    #[test]
    fn counts_are_of_the_pools_and_servers_of_now() {
        let yaml = "\
            a: {listen: 127.0.0.1:1, auto_eject_hosts: true, server_failure_limit: 1,
                servers: ['127.0.0.1:9:1 two', '127.0.0.1:8:1 one']}
            \nb: {listen: 127.0.0.1:2, servers: ['127.0.0.1:9:1']}";
        let list = PoolList::new(setups(yaml));
        let stats_board = StatsBoard::new(1);
        let cells = WorkerCells::new();
        let (a, b) = (
            cells.add_pool("a", &NO_COMMANDS),
            cells.add_pool("b", &NO_COMMANDS),
        );
        a.server("two").add(ServerMetric::Requests, 4);
        b.cells.add(PoolMetric::ClientAccepted, 5);
        stats_board.slots()[0].publish(&cells);

        let pools = list.load();
        pools[0].rejected.store(3, Ordering::Relaxed);
        let two = Arc::clone(&pools[0].store.topology().servers()[1]);
        let (now, wall) = (Instant::now(), SystemTime::now());
        assert!(pools[0].store.on_failure(&two, now, now, wall).is_some());

        let snapshot = list.snapshot(&stats_board);
        let servers: Vec<_> = snapshot
            .servers()
            .map(|(pool, name, server)| {
                let is_ejected = server.get(ServerMetric::ServerEjectedAt) > 0;
                (pool, name, server.get(ServerMetric::Requests), is_ejected)
            })
            .collect();
        let expected = [
            ("a", "one", 0, false),
            ("a", "two", 4, true),
            ("b", "127.0.0.1:9", 0, false),
        ];
        assert_eq!(servers, expected);
        let pool = &snapshot.pools[0];
        assert_eq!(pool.values.get(PoolMetric::ClientRejected), 3);
        assert_eq!(pool.values.get(PoolMetric::ServerEjects), 1);

        let before = snapshot.connections().0;
        assert_eq!(before, 2 + 5);
        let setups = setups("c: {listen: 127.0.0.1:1, servers: ['127.0.0.1:9:1']}");
        list.store(setups, 1);
        let snapshot = list.snapshot(&stats_board);
        assert_eq!(
            snapshot.pools().map(|(name, _)| name).collect::<Vec<_>>(),
            ["c"]
        );
        assert_eq!(snapshot.connections().0, before, "nothing was opened");
    }

    #[test]
    fn layout_is_made_anew_only_after_a_change() {
        let yaml = "a: {listen: 127.0.0.1:1, servers: ['127.0.0.1:9:1']}";
        let list = PoolList::new(setups(yaml));
        let first = list.layout(&list.load());
        assert!(Arc::ptr_eq(&first, &list.layout(&list.load())));
        list.store(setups(yaml), 0);
        assert!(
            Arc::ptr_eq(&first, &list.layout(&list.load())),
            "the same names"
        );
        let other = setups("a: {listen: 127.0.0.1:1, servers: ['127.0.0.1:8:1']}");
        list.store(other, 0);
        assert_ne!(first, list.layout(&list.load()));
    }
}
