//! The topology of one pool, shared by all workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::PoolConfig;
use crate::topology::facts::{Facts, compose};
use crate::topology::{HealthChange, PoolServer, Topology, Transition};

/// The value of `TopologyStore::retry_at_us` that no time reaches: no server is ejected.
const NEVER: u64 = u64::MAX;

/// The facts about a pool and the topology that follows from them, shared by all workers.
///
/// While nothing changes, a worker pays two atomic loads per batch of requests (`on_request`, then `epoch`) and one per
/// batch of replies (`on_reply`). The lock is taken by a failure, by the first reply after one, by the request that
/// finds a server due to return, and by a change from outside; whoever causes the change builds the new ring under it.
#[derive(Debug)]
pub struct TopologyStore {
    /// The pool has a policy of ejection.
    ejects: AtomicBool,
    /// The zero of `retry_at_us`.
    started: Instant,
    ledger: Mutex<Ledger>,
    topology: ArcSwap<Topology>,
    /// The epoch of `topology`, stored after it.
    epoch: AtomicU64,
    /// Wakes those who do not poll the epoch.
    changes: watch::Sender<()>,
    /// The time when the first ejected server may return, in µs since `started`; or `NEVER`.
    retry_at_us: AtomicU64,
}

/// The state under the lock.
#[derive(Debug)]
struct Ledger {
    facts: Facts,
    ejections: u64,
    /// By server: µs since the Unix epoch of its last ejection.
    ejected_at_us: HashMap<String, u64>,
}

impl TopologyStore {
    /// The first topology of a configured pool: all servers are live. `now` is any time not after the first one that is
    /// reported.
    #[must_use]
    pub fn new(config: Arc<PoolConfig>, now: Instant) -> Self {
        let facts = Facts::new(Arc::clone(&config));
        let mut topology = compose(&facts, &Topology::empty(config));
        topology.epoch = 0;
        Self {
            ejects: AtomicBool::new(topology.config.auto_eject_hosts),
            started: now,
            ledger: Mutex::new(Ledger {
                facts,
                ejections: 0,
                ejected_at_us: HashMap::new(),
            }),
            topology: ArcSwap::from_pointee(topology),
            epoch: AtomicU64::new(0),
            changes: watch::Sender::new(()),
            retry_at_us: AtomicU64::new(NEVER),
        }
    }

    /// The epoch, which changes whenever the topology does; a worker with another one adopts the new topology.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Notifies of changes of the epoch from now on; several since the last look are one notification.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The current topology.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Returns true if servers that fail are ejected.
    pub fn ejects(&self) -> bool {
        self.ejects.load(Ordering::Relaxed)
    }

    /// Takes a new configuration of the pool.
    pub fn set_config(&self, config: Arc<PoolConfig>) {
        let mut ledger = self.lock();
        self.ejects
            .store(config.auto_eject_hosts, Ordering::Relaxed);
        ledger.facts.set_config(config);
        self.publish(&mut ledger);
    }

    /// Records a batch of requests for the pool, before it is routed. See `Health::on_request`.
    #[must_use = "each transition is logged"]
    pub fn on_request(&self, now: Instant) -> Vec<Transition> {
        if self.since_start_us(now) <= self.retry_at_us.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut ledger = self.lock();
        let returned = ledger.facts.health.on_request(now);
        if !returned.is_empty() {
            self.publish(&mut ledger);
        }
        returned
    }

    /// Records that a connection to `server` failed at `now`, with work begun at `since`; `wall` is the calendar time
    /// of `now`. See `Health::on_failure`.
    #[must_use = "each transition is logged"]
    pub fn on_failure(
        &self,
        server: &PoolServer,
        since: Instant,
        now: Instant,
        wall: SystemTime,
    ) -> Option<Transition> {
        if !self.ejects() {
            return None;
        }
        let mut ledger = self.lock();
        // A server that has left the pool changes nothing.
        self.topology.load().index_of(server.id)?;
        let health = &mut ledger.facts.health;
        let transition = health.on_failure(server.id, since, now);
        server.set_failing(health.failures(server.id) > 0);
        if let Some(HealthChange::Ejected { .. }) = transition.map(|t| t.change) {
            ledger.ejections += 1;
            ledger
                .ejected_at_us
                .insert(server.name.clone(), unix_us(wall));
            self.publish(&mut ledger);
        }
        transition
    }

    /// Records a batch of forwarded replies of `server`. See `Health::on_reply`.
    pub fn on_reply(&self, server: &PoolServer) {
        if server.is_failing() {
            let mut ledger = self.lock();
            ledger.facts.health.on_reply(server.id);
            server.set_failing(false);
        }
    }

    /// The number of ejections of servers of the pool (the statistic `server_ejects`).
    pub fn ejections(&self) -> u64 {
        self.lock().ejections
    }

    /// The name of each server that was ever ejected, and the time of its last ejection in µs since the Unix epoch (the
    /// statistic `server_ejected_at`). A return does not clear it.
    pub fn ejected_at_us(&self) -> Vec<(String, u64)> {
        let ledger = self.lock();
        let ejected = ledger.ejected_at_us.iter();
        ejected
            .map(|(name, &micros)| (name.clone(), micros))
            .collect()
    }

    /// Publishes the topology that follows from the facts to all workers.
    fn publish(&self, ledger: &mut Ledger) {
        let next = compose(&ledger.facts, &self.topology.load());
        ledger
            .facts
            .health
            .retain(|server| next.index_of(server).is_some());
        ledger
            .ejected_at_us
            .retain(|name, _| next.servers().iter().any(|server| server.name == *name));
        let epoch = next.epoch;
        self.topology.store(Arc::new(next));
        self.epoch.store(epoch, Ordering::Release);
        self.changes.send_replace(());
        let retry_at = ledger.facts.health.earliest_retry();
        let retry_at_us = retry_at.map_or(NEVER, |retry_at| self.since_start_us(retry_at));
        self.retry_at_us.store(retry_at_us, Ordering::Relaxed);
    }

    /// Ignores poisoning: a panic under the lock leaves counters at worst one step behind.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_start_us(&self, time: Instant) -> u64 {
        let elapsed = time.saturating_duration_since(self.started);
        u64::try_from(elapsed.as_micros()).unwrap_or(NEVER)
    }
}

/// Microseconds since the Unix epoch; 0 before it.
fn unix_us(wall: SystemTime) -> u64 {
    let elapsed = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::topology::ServerIndex;

    const SERVERS: usize = 4;
    const RETRY_TIMEOUT: Duration = Duration::from_millis(100);
    const WALL: SystemTime = UNIX_EPOCH;

    fn config(text: &str) -> Arc<PoolConfig> {
        let servers: Vec<_> = (0..SERVERS)
            .map(|index| format!("'127.0.0.1:{}:1 s{index}'", index + 1))
            .collect();
        let yaml = format!(
            "p: {{listen: 127.0.0.1:1, hash: murmur, {text}, servers: [{}]}}",
            servers.join(", ")
        );
        Arc::new(Config::parse(&yaml, "F").unwrap().pools.remove(0))
    }

    fn server(pool: &TopologyStore, index: u16) -> Arc<PoolServer> {
        let topology = pool.topology();
        Arc::clone(topology.server(ServerIndex::new(index)).unwrap())
    }

    fn ejecting_pool(failure_limit: u32, start: Instant) -> TopologyStore {
        let ms = RETRY_TIMEOUT.as_millis();
        let text = format!(
            "auto_eject_hosts: true, server_failure_limit: {failure_limit}, server_retry_timeout: {ms}"
        );
        TopologyStore::new(config(&text), start)
    }

    fn owners(topology: &Topology) -> Vec<bool> {
        let mut owners = vec![false; SERVERS];
        for key in 0..200_u32 {
            if let Some(server) = topology.router.route(&key.to_le_bytes()) {
                owners[server.index()] = true;
            }
        }
        owners
    }

    #[test]
    fn ejection_and_return_are_published_and_counted() {
        let start = Instant::now();
        let pool = ejecting_pool(2, start);
        let server = server(&pool, 2);
        let wall = UNIX_EPOCH + Duration::from_micros(1_234_567);
        assert_eq!(pool.on_failure(&server, start, start, WALL), None);
        assert_eq!((pool.epoch(), pool.ejections()), (0, 0));

        assert!(pool.on_failure(&server, start, start, wall).is_some());
        assert_eq!((pool.epoch(), pool.ejections()), (1, 1));
        assert_eq!(pool.ejected_at_us(), [("s2".to_owned(), 1_234_567)]);
        assert_eq!(pool.topology().live, [true, true, false, true]);

        assert_eq!(pool.on_request(start + RETRY_TIMEOUT), []);
        let later = start + RETRY_TIMEOUT + Duration::from_micros(1);
        let returned = pool.on_request(later);
        assert_eq!(returned.len(), 1);
        assert_eq!(returned[0].server, server.id);
        assert_eq!((pool.epoch(), pool.ejections()), (2, 1));
        assert_eq!(pool.ejected_at_us(), [("s2".to_owned(), 1_234_567)]);
        assert_eq!(pool.topology().live, [true; SERVERS]);
    }

    #[test]
    fn watchers_are_notified_of_changes_only() {
        let start = Instant::now();
        let pool = ejecting_pool(2, start);
        let server = server(&pool, 2);
        let changes = pool.changes();
        let is_notified = |changes: &watch::Receiver<()>| changes.has_changed().unwrap();
        assert!(pool.on_failure(&server, start, start, WALL).is_none());
        assert!(!is_notified(&changes));
        assert!(pool.on_failure(&server, start, start, WALL).is_some());
        assert!(is_notified(&changes));
        let changes = pool.changes();
        assert!(!is_notified(&changes));
        assert_eq!(pool.on_request(start + 2 * RETRY_TIMEOUT).len(), 1);
        assert!(is_notified(&changes));
    }

    #[test]
    fn first_reply_after_a_failure_resets_it() {
        let start = Instant::now();
        let pool = ejecting_pool(2, start);
        let server = server(&pool, 0);
        for _ in 0..5 {
            assert_eq!(pool.on_failure(&server, start, start, WALL), None);
            pool.on_reply(&server);
        }
        assert_eq!(pool.epoch(), 0);
    }

    #[test]
    fn all_ejected_leaves_keys_without_an_owner() {
        let start = Instant::now();
        let pool = ejecting_pool(1, start);
        for index in 0..SERVERS {
            let server = server(&pool, u16::try_from(index).unwrap());
            assert!(pool.on_failure(&server, start, start, WALL).is_some());
        }
        assert_eq!(pool.topology().router.route(b"any"), None);
        let later = start + RETRY_TIMEOUT + Duration::from_millis(1);
        assert_eq!(pool.on_request(later).len(), SERVERS);
        assert!(pool.topology().router.route(b"any").is_some());
    }

    #[test]
    fn without_a_policy_the_topology_never_changes() {
        let start = Instant::now();
        let pool = TopologyStore::new(config("redis: true"), start);
        for _ in 0..100 {
            assert_eq!(pool.on_failure(&server(&pool, 1), start, start, WALL), None);
        }
        assert_eq!(pool.on_request(start + Duration::from_secs(3600)), []);
        assert_eq!((pool.epoch(), pool.ejections()), (0, 0));
    }

    #[test]
    fn server_of_no_pool_changes_nothing() {
        let start = Instant::now();
        let pool = ejecting_pool(1, start);
        let stranger = PoolServer::new("s0".into(), "127.0.0.1:1".parse().unwrap());
        assert_eq!(pool.on_failure(&stranger, start, start, WALL), None);
        pool.on_reply(&stranger);
        assert_eq!(pool.epoch(), 0);
    }

    #[test]
    fn only_one_worker_reports_each_transition() {
        const WORKERS: usize = 8;
        const ROUNDS: u32 = 50;
        let start = Instant::now();
        let pool = ejecting_pool(1, start);
        let server = server(&pool, 1);
        let barrier = Barrier::new(WORKERS);
        let work = || {
            let (mut ejected, mut returned) = (0, 0);
            for round in 0..ROUNDS {
                let now = start + 2 * round * RETRY_TIMEOUT;
                barrier.wait();
                ejected += usize::from(pool.on_failure(&server, now, now, WALL).is_some());
                barrier.wait();
                let topology = pool.topology();
                assert_eq!(topology.epoch, pool.epoch());
                assert!(!topology.live[1]);
                barrier.wait();
                let later = now + RETRY_TIMEOUT + Duration::from_millis(1);
                returned += pool.on_request(later).len();
                barrier.wait();
                assert!(pool.topology().live[1]);
                pool.on_reply(&server);
            }
            (ejected, returned)
        };
        let (ejected, returned) = thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        });
        let rounds = ROUNDS as usize;
        assert_eq!((ejected, returned), (rounds, rounds));
        assert_eq!(pool.ejections(), u64::from(ROUNDS));
        assert_eq!(pool.epoch(), 2 * u64::from(ROUNDS));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Failure { server: u16, age_ms: u64 },
        Reply { server: u16 },
        Request,
    }

    fn event() -> impl Strategy<Value = (u64, Event)> {
        let server = 0..u16::try_from(SERVERS).unwrap();
        let event = prop_oneof![
            3 => (server.clone(), 0..30_u64).prop_map(|(server, age_ms)| Event::Failure { server, age_ms }),
            1 => server.prop_map(|server| Event::Reply { server }),
            2 => Just(Event::Request),
        ];
        (0..40_u64, event)
    }

    proptest! {
        /// Whatever happens, workers see the set that the transitions add up to, and a router that agrees with it.
        #[test]
        fn router_live_set_and_transitions_agree(
            limit in 0..4_u32,
            events in prop::collection::vec(event(), 1..60),
        ) {
            let start = Instant::now();
            let pool = ejecting_pool(limit, start);
            let mut live = vec![true; SERVERS];
            let (mut changes, mut ejections) = (0, 0);
            let mut now = start;
            for (pause_ms, event) in events {
                now += Duration::from_millis(pause_ms);
                let transitions = match event {
                    Event::Failure { server, age_ms } => {
                        let age = Duration::from_millis(age_ms);
                        let since = now.checked_sub(age).unwrap_or(start);
                        Vec::from_iter(pool.on_failure(&self::server(&pool, server), since, now, WALL))
                    }
                    Event::Reply { server } => {
                        pool.on_reply(&self::server(&pool, server));
                        Vec::new()
                    }
                    Event::Request => pool.on_request(now),
                };
                changes += u64::from(!transitions.is_empty());
                for transition in transitions {
                    let index = pool.topology().index_of(transition.server).unwrap();
                    let is_live = &mut live[index.index()];
                    let returns = transition.change == HealthChange::Returned;
                    prop_assert_ne!(*is_live, returns, "a transition changes something");
                    *is_live = returns;
                    ejections += u64::from(!returns);
                }
                let topology = pool.topology();
                prop_assert_eq!(&topology.live, &live);
                prop_assert_eq!(&owners(&topology), &live);
                prop_assert_eq!((topology.epoch, pool.epoch()), (changes, changes));
                prop_assert_eq!(pool.ejections(), ejections);
            }
        }
    }
}
