//! The cells of one worker, by name.
//!
//! Whoever counts keeps the `Rc` of its cells; a name is looked up only when a pool or a server is new to the worker.
//! Cells of a name that has left stay as long as anybody counts in them. Then their values are added to a sum, and they
//! are dropped: memory depends on the names of now, not on how many there were, and no total runs backwards.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use super::{
    CommandTable, PoolCells, PoolSnapshot, ServerCells, ServerSnapshot, Snapshot, StatsLayout,
};

/// All the cells of one worker.
#[derive(Debug, Default)]
pub struct WorkerCells {
    pools: RefCell<BTreeMap<Box<str>, Named<PoolCellSet>>>,
    /// The sum of the pools that have left.
    gone: RefCell<PoolSnapshot>,
}

/// The cells of one pool and of its servers.
#[derive(Debug, Default)]
pub struct PoolCellSet {
    /// The pool's own cells.
    pub cells: Rc<PoolCells>,
    servers: RefCell<BTreeMap<Box<str>, Named<ServerCells>>>,
    /// The sum of the servers that have left.
    gone: RefCell<ServerSnapshot>,
}

/// The cells of a name.
#[derive(Debug, Default)]
struct Named<T> {
    cells: Rc<T>,
    /// False once the name has left.
    is_current: bool,
}

impl WorkerCells {
    /// Cells without a pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pool with these commands, and returns its cells. They are zero, except if a pool of that name and protocol is
    /// there, or has left but has clients or servers that still count: then it goes on.
    pub fn add_pool(&self, name: &str, commands: CommandTable) -> Rc<PoolCellSet> {
        let mut pools = self.pools.borrow_mut();
        if let Some(known) = pools.get(name)
            && !ptr::eq(known.cells.cells.commands.table(), commands)
            && let Some(mut former) = pools.remove(name)
        {
            // Another protocol, whose clients may still count. No pool has such a name.
            former.is_current = false;
            let mut names = (0..).map(|number| format!("{name}\0{number}").into_boxed_str());
            if let Some(unused) = names.find(|name| !pools.contains_key(name)) {
                pools.insert(unused, former);
            }
        }
        let new = || Named::new(PoolCellSet::new(commands));
        pools.entry(name.into()).or_insert_with(new).take_up()
    }

    /// Lets a pool leave.
    pub fn remove_pool(&self, name: &str) {
        if let Some(pool) = self.pools.borrow_mut().get_mut(name) {
            pool.is_current = false;
        }
    }

    /// Overwrites `snapshot` with the current counts. Allocates nothing unless pools or servers have come or left.
    pub fn copy_to(&self, snapshot: &mut Snapshot) {
        self.sweep();
        let pools = self.pools.borrow();
        if !self.is_laid_out_as(&snapshot.layout) {
            *snapshot = Snapshot::zero(Arc::new(self.layout()));
        }
        for (snapshot, pool) in snapshot.pools.iter_mut().zip(pools.values()) {
            pool.cells.copy_to(snapshot);
        }
        snapshot.gone.clone_from(&self.gone.borrow());
    }

    /// Drops the cells of names that have left, if nobody counts in them any more.
    fn sweep(&self) {
        let mut gone = self.gone.borrow_mut();
        self.pools.borrow_mut().retain(|_, pool| {
            pool.cells.sweep();
            let is_over = pool.is_over() && pool.cells.is_unused();
            if is_over {
                pool.cells.add_to(&mut gone);
            }
            !is_over
        });
    }

    fn is_laid_out_as(&self, layout: &StatsLayout) -> bool {
        let pools = self.pools.borrow();
        let mut both = layout.pools().zip(&*pools);
        layout.pools().len() == pools.len()
            && both
                .all(|((name, servers), (own, pool))| name == &**own && pool.cells.serves(servers))
    }

    fn layout(&self) -> StatsLayout {
        StatsLayout::new(self.pools.borrow().iter().map(|(name, pool)| {
            let servers = pool.cells.servers.borrow();
            let servers: Vec<_> = servers.keys().map(|name| String::from(&**name)).collect();
            (&**name, servers)
        }))
    }
}

impl PoolCellSet {
    fn new(commands: CommandTable) -> Self {
        Self {
            cells: Rc::new(PoolCells::new(commands)),
            ..Self::default()
        }
    }

    /// The cells of the server of that name; new ones if there are none.
    pub fn server(&self, name: &str) -> Rc<ServerCells> {
        let mut servers = self.servers.borrow_mut();
        servers.entry(name.into()).or_default().take_up()
    }

    /// Lets all servers but those with these names leave.
    pub fn retain<'n>(&self, names: impl IntoIterator<Item = &'n str>) {
        let names: HashSet<&str> = names.into_iter().collect();
        for (name, server) in &mut *self.servers.borrow_mut() {
            server.is_current &= names.contains(&**name);
        }
        self.sweep();
    }

    fn sweep(&self) {
        let mut gone = self.gone.borrow_mut();
        self.servers.borrow_mut().retain(|_, server| {
            let is_over = server.is_over();
            if is_over {
                gone.merge(&ServerSnapshot::of_server(&server.cells));
            }
            !is_over
        });
    }

    fn serves(&self, names: &[String]) -> bool {
        let servers = self.servers.borrow();
        let own = servers.keys().map(|name| &**name);
        names.iter().map(String::as_str).eq(own)
    }

    fn is_unused(&self) -> bool {
        let servers = self.servers.borrow();
        Rc::strong_count(&self.cells) == 1 && servers.values().all(Named::is_unused)
    }

    fn copy_to(&self, snapshot: &mut PoolSnapshot) {
        snapshot.copy_own(&self.cells);
        for (snapshot, server) in snapshot
            .servers
            .iter_mut()
            .zip(self.servers.borrow().values())
        {
            *snapshot = ServerSnapshot::of_server(&server.cells);
        }
        snapshot.gone.clone_from(&self.gone.borrow());
    }

    fn add_to(&self, gone: &mut PoolSnapshot) {
        let mut own = PoolSnapshot::default();
        own.copy_own(&self.cells);
        gone.values.merge(&own.values);
        gone.gone.merge(&self.gone.borrow());
        for server in self.servers.borrow().values() {
            gone.gone.merge(&ServerSnapshot::of_server(&server.cells));
        }
    }
}

impl<T> Named<T> {
    fn new(cells: T) -> Self {
        Self {
            cells: Rc::new(cells),
            is_current: true,
        }
    }

    fn take_up(&mut self) -> Rc<T> {
        self.is_current = true;
        Rc::clone(&self.cells)
    }

    /// Returns true if nobody else holds the cells.
    fn is_unused(&self) -> bool {
        Rc::strong_count(&self.cells) == 1
    }

    fn is_over(&self) -> bool {
        !self.is_current && self.is_unused()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::{Latency, NO_COMMANDS, PoolMetric, ServerMetric};

    /// The current counts, in the order of these pools and servers.
    fn counts(cells: &WorkerCells, pools: &[(&str, &[&str])]) -> Snapshot {
        let mut own = Snapshot::default();
        cells.copy_to(&mut own);
        let layout = pools
            .iter()
            .map(|(pool, servers)| (*pool, servers.iter().copied()));
        let mut sum = Snapshot::zero(Arc::new(StatsLayout::new(layout)));
        sum.merge(&own);
        sum
    }

    #[test]
    fn server_that_returns_goes_on_counting() {
        let cells = WorkerCells::new();
        let pool = cells.add_pool("p", &NO_COMMANDS);
        let held = pool.server("a");
        held.add(ServerMetric::Requests, 2);
        pool.retain(["b"]);
        pool.server("a").add(ServerMetric::Requests, 3);
        held.bump(ServerMetric::Requests);
        let snapshot = counts(&cells, &[("p", &["a"])]);
        assert_eq!(snapshot.pools[0].servers[0].get(ServerMetric::Requests), 6);
    }

    #[test]
    fn counts_of_a_server_that_left_stay_in_the_pool() {
        let cells = WorkerCells::new();
        let pool = cells.add_pool("p", &NO_COMMANDS);
        let (left, stays) = (pool.server("left"), pool.server("stays"));
        left.add(ServerMetric::Requests, 2);
        left.add(ServerMetric::OutQueue, 1);
        left.latency.record(Latency::of_micros(10));
        stays.add(ServerMetric::Requests, 5);
        pool.retain(["stays"]);
        left.bump(ServerMetric::Requests);
        left.drop_one(ServerMetric::OutQueue);
        for held in [Some(left), None] {
            let snapshot = counts(&cells, &[("p", &["stays"])]);
            let pool = &snapshot.pools[0];
            assert_eq!(pool.servers[0].get(ServerMetric::Requests), 5);
            assert_eq!(pool.gone.get(ServerMetric::Requests), 3);
            assert_eq!(pool.gone.get(ServerMetric::OutQueue), 0);
            assert_eq!(pool.gone.latency.sum_micros(), 10);
            assert_eq!(pool.of_servers(ServerMetric::Requests), 8);
            drop(held);
        }
        assert_eq!(pool.servers.borrow().len(), 1);
    }

    #[test]
    fn counts_of_a_removed_pool_stay_in_the_totals() {
        let cells = WorkerCells::new();
        let pool = cells.add_pool("p", &NO_COMMANDS);
        let client = Rc::clone(&pool.cells);
        client.add(PoolMetric::ClientAccepted, 2);
        client.bump(PoolMetric::ClientConnections);
        pool.server("a").add(ServerMetric::Connects, 3);
        assert_eq!(
            counts(&cells, &[("p", &["a"])]).connections(),
            (1 + 5, 1 + 1)
        );
        cells.remove_pool("p");
        drop(pool);
        assert_eq!(counts(&cells, &[]).connections(), (5, 1));
        client.drop_one(PoolMetric::ClientConnections);
        drop(client);
        assert_eq!(counts(&cells, &[]).connections(), (5, 0));
        assert!(cells.pools.borrow().is_empty());

        cells.add_pool("p", &NO_COMMANDS);
        let snapshot = counts(&cells, &[("p", &["a"])]);
        assert_eq!(snapshot.pools[0].values.get(PoolMetric::ClientAccepted), 0);
        assert_eq!(snapshot.connections(), (1 + 5, 1));
    }

    #[test]
    fn pool_whose_clients_remain_goes_on_when_added_again() {
        let cells = WorkerCells::new();
        let client = Rc::clone(&cells.add_pool("p", &NO_COMMANDS).cells);
        client.bump(PoolMetric::ClientConnections);
        cells.remove_pool("p");
        assert_eq!(counts(&cells, &[]).connections(), (0, 1));
        cells
            .add_pool("p", &NO_COMMANDS)
            .cells
            .bump(PoolMetric::ClientConnections);
        drop(client);
        let snapshot = counts(&cells, &[("p", &[])]);
        assert_eq!(
            snapshot.pools[0].values.get(PoolMetric::ClientConnections),
            2
        );
    }

    #[test]
    fn thousand_reloads_keep_no_cells() {
        let cells = WorkerCells::new();
        for reload in 0..1000 {
            let pool = cells.add_pool(&format!("p{reload}"), &NO_COMMANDS);
            for server in ["a", "b"] {
                pool.server(server).bump(ServerMetric::Connects);
            }
            pool.retain(["b"]);
            assert_eq!(pool.servers.borrow().len(), 1);
            cells.remove_pool(&format!("p{reload}"));
            let snapshot = counts(&cells, &[]);
            assert_eq!(snapshot.connections(), (2 * (reload + 1), 0));
            assert!(cells.pools.borrow().len() <= 1, "only the one that is held");
        }
    }

    const NAMES: [&str; 3] = ["a", "bb", "c"];

    #[derive(Debug, Clone)]
    enum Step {
        Take(usize),
        Count(usize),
        Drop(usize),
        Retain([bool; 3]),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_usize).prop_map(Step::Take),
            (0..4_usize).prop_map(Step::Count),
            (0..4_usize).prop_map(Step::Drop),
            any::<[bool; 3]>().prop_map(Step::Retain),
        ]
    }

    proptest! {
        /// Whoever comes, leaves and counts, in whatever layout it is read: nothing is lost and nothing counted twice.
        #[test]
        fn sum_over_servers_is_what_was_counted(
            steps in prop::collection::vec((0..2_usize, step(), any::<[bool; 3]>()), 1..60),
        ) {
            let named = |which: [bool; 3]| {
                NAMES.into_iter().zip(which).filter_map(|(name, is_in)| is_in.then_some(name))
            };
            let workers = [WorkerCells::new(), WorkerCells::new()];
            let pools = workers.each_ref().map(|cells| cells.add_pool("p", &NO_COMMANDS));
            let mut published = [Snapshot::default(), Snapshot::default()];
            let mut held = [Vec::new(), Vec::new()];
            let mut counted = 0;
            for (worker, step, shown) in steps {
                match step {
                    Step::Take(name) => held[worker].push(pools[worker].server(NAMES[name])),
                    Step::Count(place) => if let Some(server) = held[worker].get(place) {
                        server.bump(ServerMetric::Requests);
                        server.latency.record(Latency::of_micros(1));
                        counted += 1;
                    },
                    Step::Drop(place) => if place < held[worker].len() {
                        held[worker].swap_remove(place);
                    },
                    Step::Retain(which) => pools[worker].retain(named(which)),
                }
                workers[worker].copy_to(&mut published[worker]);
                let layout = StatsLayout::new([("p", named(shown))]);
                let mut sum = Snapshot::zero(Arc::new(layout));
                for one in &published {
                    sum.merge(one);
                }
                let pool = &sum.pools[0];
                prop_assert_eq!(pool.of_servers(ServerMetric::Requests), counted);
                let latencies = pool.servers.iter().chain([&pool.gone]);
                prop_assert_eq!(latencies.map(|one| one.latency.count()).sum::<u64>(), counted);
                prop_assert_eq!(pool.servers.len(), named(shown).count());
            }
        }
    }
}
