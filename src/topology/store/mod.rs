//! The topology of one pool, shared by all workers.

mod journal;
mod roles;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::config::PoolConfig;
use crate::journal::PoolJournal;
use crate::topology::facts::{Facts, compose};
use crate::topology::{
    Health, HealthChange, Mark, MarkReading, PoolServer, SeenMark, Topology, Transition, Vouching,
};

/// The value of `TopologyStore::retry_at_us` that no time reaches: no server is ejected.
const NEVER: u64 = u64::MAX;

/// The number of servers above which no worker builds a ring: with a thousand it takes some 15 ms.
const LARGE_POOL: usize = 64;

/// The facts about a pool and the topology that follows from them, shared by all workers.
///
/// While nothing changes, a worker pays two atomic loads per batch of requests (`on_request`, then `epoch`) and one per
/// batch of replies (`on_reply`). The lock is taken by a failure, by the first reply after one, by the request that
/// finds a server due to return, and by a change from outside. Whoever causes the change builds the new ring under it;
/// in a pool of more than 64 servers the control thread does so instead, once for all that workers said meanwhile, and
/// without the lock, as it does for each new configuration.
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
    /// The pool's names are looked up while it runs.
    resolves: AtomicBool,
    /// Notifies that a name must be looked up at once.
    lookups: Notify,
    /// The roles of the pool's servers are watched.
    watches_roles: AtomicBool,
    /// Notifies that the roles must be looked at at once.
    role_lookups: Notify,
    /// The primaries are known, as far as anybody tells.
    roles_read: watch::Sender<bool>,
    /// Notifies that facts are to be published.
    deferred: Notify,
    /// The name of this process on its connections to the servers, unique among all proxies.
    proxy: String,
    vouching: Vouching,
    mark_reading: MarkReading,
    journal: PoolJournal,
}

/// The state under the lock.
#[derive(Debug)]
struct Ledger {
    facts: Facts,
    ejections: u64,
    roles_conflicts: u64,
    primary_changes: u64,
    /// By server: µs since the Unix epoch of its last ejection.
    ejected_at_us: HashMap<String, u64>,
}

/// A topology that was composed without the lock.
#[derive(Debug)]
struct Deferred {
    next: Topology,
    /// The epoch of the one that it may follow.
    base: u64,
}

impl TopologyStore {
    /// The first topology of a configured pool: all servers are live. `now` is any time not after the first one that is
    /// reported.
    #[must_use]
    pub fn new(config: Arc<PoolConfig>, now: Instant) -> Self {
        let journal = PoolJournal::new(&Arc::default(), &config.name);
        let facts = Facts::new(Arc::clone(&config), now);
        let mut topology = compose(&facts, &Topology::empty(config));
        (topology.epoch, topology.placement, topology.handovers) = (0, 0, 0);
        Self {
            ejects: AtomicBool::new(topology.config.auto_eject_hosts),
            resolves: AtomicBool::new(!topology.config.server_resolve_interval.is_zero()),
            lookups: Notify::new(),
            watches_roles: AtomicBool::new(topology.config.has_roles()),
            role_lookups: Notify::new(),
            roles_read: watch::Sender::new(false),
            deferred: Notify::new(),
            proxy: format!("{:016x}", fastrand::u64(..)),
            vouching: Vouching::default(),
            mark_reading: MarkReading::default(),
            journal,
            started: now,
            ledger: Mutex::new(Ledger {
                facts,
                ejections: 0,
                roles_conflicts: 0,
                primary_changes: 0,
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
        let resolves = !config.server_resolve_interval.is_zero();
        self.resolves.store(resolves, Ordering::Relaxed);
        self.set_watches_roles(config.has_roles());
        ledger.facts.set_config(config, Instant::now());
        drop(ledger);
        self.finish_deferred(self.begin_deferred());
    }

    /// Takes a new address of a server, which its name stands for by now.
    pub fn set_resolved(&self, server: &PoolServer, address: SocketAddr) {
        let mut ledger = self.lock();
        // It may have left the pool meanwhile.
        if self.topology.load().index_of(server.id).is_some() {
            self.record_address(server, address);
            let said = (address, Instant::now());
            let key = (server.name.clone(), server.place.to_string());
            ledger.facts.resolved.insert(key, said);
            self.publish(&mut ledger);
        }
    }

    /// Takes what was read of the mark at a server. Returns true if it is news.
    pub fn set_mark(&self, server: &PoolServer, seen: SeenMark) -> bool {
        let mut ledger = self.lock();
        let is_news = ledger.facts.set_mark(server, seen, Instant::now());
        if is_news {
            let config = &ledger.facts.in_force.config;
            self.ejects
                .store(config.auto_eject_hosts, Ordering::Relaxed);
            self.publish(&mut ledger);
        }
        is_news
    }

    /// The mark that the last move of the pool has left at a server, by its name, if it has ended.
    pub fn ended_move(&self, server: &str) -> Option<Mark> {
        self.lock().facts.marks.ended(server)
    }

    /// Returns true if a server has no longer the mark of the move that has ended, which the same process had when it was read
    /// last.
    pub fn lacks_ended_move(&self, server: &PoolServer, seen: &SeenMark) -> bool {
        let at = (server.name.as_str(), &server.address);
        self.lock().facts.marks.lacks_ended(at, seen)
    }

    /// Forgets what the last move has left at servers: an operator removes it.
    pub fn forget_ended_move(&self) {
        let mut ledger = self.lock();
        let file = Arc::clone(&ledger.facts.config.0);
        ledger.facts.marks.forget_ended(&file);
        self.publish(&mut ledger);
    }

    /// The configuration that a new file is compared with: that of the last one, with the placement that the marks say. During
    /// a move, that of the last file.
    pub fn comparable_config(&self) -> Arc<PoolConfig> {
        let ledger = self.lock();
        match ledger.facts.in_force.moving {
            Some(_) => Arc::clone(&ledger.facts.config.0),
            None => Arc::clone(&ledger.facts.in_force.config),
        }
    }

    /// When the marks must be read.
    pub fn mark_reading(&self) -> &MarkReading {
        &self.mark_reading
    }

    /// The name of this proxy in its connections' names: random, so that no other has it.
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// What the workers say about their connections in a hold.
    pub fn vouching(&self) -> &Vouching {
        &self.vouching
    }

    /// Has a server own no keys, or no longer so.
    pub fn set_drained(&self, server: &PoolServer, drained: bool) {
        let mut ledger = self.lock();
        let names = &mut ledger.facts.drained;
        let changes = if drained {
            names.insert(server.name.clone(), Instant::now()).is_none()
        } else {
            names.remove(&server.name).is_some()
        };
        if changes {
            self.record_drain(server, drained);
            self.publish(&mut ledger);
        }
    }

    /// Ejects a live server by hand. `None` if it is ejected already, or if the pool ejects none.
    pub fn eject(&self, server: &PoolServer, now: Instant, wall: SystemTime) -> Option<Transition> {
        let mut ledger = self.lock();
        let transition = ledger.facts.health.eject(server.id, now);
        self.after(&mut ledger, server, transition, wall)
    }

    /// Lets an ejected server return by hand. `None` if it is live.
    pub fn admit(&self, server: &PoolServer) -> Option<Transition> {
        let mut ledger = self.lock();
        let transition = ledger.facts.health.admit(server.id);
        self.after(&mut ledger, server, transition, UNIX_EPOCH)
    }

    /// Records a probe of a server, and whether it was answered.
    #[must_use = "each transition is logged"]
    pub fn on_probe(
        &self,
        server: &PoolServer,
        answered: bool,
        (now, wall): (Instant, SystemTime),
    ) -> Option<Transition> {
        self.judge(server, wall, |health| {
            if answered {
                health.on_answered_probe(server.id, now)
            } else {
                health.on_failed_probe(server.id, now)
            }
        })
    }

    /// All that is known of the pool.
    pub fn facts(&self) -> Facts {
        self.lock().facts.clone()
    }

    /// Returns true if the pool's names are looked up while it runs: connections use the address that was found first.
    pub fn resolves(&self) -> bool {
        self.resolves.load(Ordering::Relaxed)
    }

    /// Has the name and the role of a server looked up at once: it cannot be reached, or says that it is not what it was.
    pub fn want_lookup(&self, server: &PoolServer) {
        self.want_roles();
        if self.resolves() && server.host().is_some() {
            server.want_lookup();
            self.lookups.notify_one();
        }
    }

    /// Waits until a name must be looked up at once.
    pub async fn lookup_wanted(&self) {
        self.lookups.notified().await;
    }

    /// Records a batch of requests for the pool, before it is routed. See `Health::on_request`.
    #[must_use = "each transition is logged"]
    pub fn on_request(&self, now: Instant) -> Vec<Transition> {
        let retry_at_us = self.retry_at_us.load(Ordering::Relaxed);
        if retry_at_us == NEVER || self.since_start_us(now) <= retry_at_us {
            return Vec::new();
        }
        let mut ledger = self.lock();
        let returned = ledger.facts.health.on_request(now);
        for transition in &returned {
            self.record_transition(*transition);
        }
        if !returned.is_empty() {
            self.publish_soon(&mut ledger);
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
        self.judge(server, wall, |health| {
            health.on_failure(server.id, since, now)
        })
    }

    /// Records a judgement of a server, in a pool that ejects.
    fn judge(
        &self,
        server: &PoolServer,
        wall: SystemTime,
        judgement: impl FnOnce(&mut Health) -> Option<Transition>,
    ) -> Option<Transition> {
        if !self.ejects() {
            return None;
        }
        let mut ledger = self.lock();
        // A server that has left the pool changes nothing.
        self.topology.load().index_of(server.id)?;
        let health = &mut ledger.facts.health;
        let transition = judgement(health);
        server.set_failing(health.failures(server.id) > 0);
        self.after(&mut ledger, server, transition, wall)
    }

    /// Counts and publishes a transition, if there was one.
    fn after(
        &self,
        ledger: &mut Ledger,
        server: &PoolServer,
        transition: Option<Transition>,
        wall: SystemTime,
    ) -> Option<Transition> {
        self.record_transition(transition?);
        if let HealthChange::Ejected { .. } = transition?.change {
            ledger.ejections += 1;
            ledger
                .ejected_at_us
                .insert(server.name.clone(), unix_us(wall));
        }
        self.publish_soon(ledger);
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

    /// Publishes what workers have said. In a large pool that takes milliseconds: then [`Self::publish_deferred`] does it,
    /// for all that is said meanwhile.
    fn publish_soon(&self, ledger: &mut Ledger) {
        if self.topology.load().servers().len() > LARGE_POOL {
            self.set_retry(ledger);
            self.deferred.notify_one();
        } else {
            self.publish(ledger);
        }
    }

    /// Waits until a worker has left it to others to publish what it said, and does so. For one task, on the thread of
    /// those who change the pool from outside.
    pub async fn publish_deferred(&self) {
        self.deferred.notified().await;
        self.finish_deferred(self.begin_deferred());
    }

    /// Composes a topology without the lock: workers need not wait for the ring.
    fn begin_deferred(&self) -> Deferred {
        let base = self.topology();
        Deferred {
            next: compose(&self.facts(), &base),
            base: base.epoch,
        }
    }

    fn finish_deferred(&self, Deferred { base, next }: Deferred) {
        let mut ledger = self.lock();
        if self.topology.load().epoch == base {
            self.install(&mut ledger, next);
        } else {
            // Another topology was published meanwhile, as by a worker after the pool has become small.
            self.publish(&mut ledger);
        }
    }

    /// Publishes the topology that follows from the facts to all workers.
    fn publish(&self, ledger: &mut Ledger) {
        let next = compose(&ledger.facts, &self.topology.load());
        self.install(ledger, next);
    }

    fn install(&self, ledger: &mut Ledger, next: Topology) {
        ledger
            .facts
            .health
            .retain(|server| next.index_of(server).is_some());
        if !ledger.ejected_at_us.is_empty() {
            let servers = next.servers().iter();
            let names: HashSet<_> = servers.map(|server| server.name.as_str()).collect();
            ledger
                .ejected_at_us
                .retain(|name, _| names.contains(name.as_str()));
        }
        self.record_move(&self.topology.load(), &next);
        let epoch = next.epoch;
        self.topology.store(Arc::new(next));
        self.epoch.store(epoch, Ordering::Release);
        self.changes.send_replace(());
        self.set_retry(ledger);
    }

    fn set_retry(&self, ledger: &Ledger) {
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
mod tests;
