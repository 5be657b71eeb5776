//! The roles of servers: who is the primary of each shard, and which replicas it has.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::config::PoolConfig;
use crate::topology::{PoolServer, ServerId};

/// The primary of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// Its address.
    pub address: SocketAddr,
    /// Who says so.
    pub by: String,
    /// The epoch of Sentinel's configuration; 0 without Sentinel.
    pub epoch: u64,
    /// When it was first said.
    pub since: Instant,
}

/// A replica of a shard, as its watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its address.
    pub address: SocketAddr,
    /// It answers, and its link to the primary is up.
    pub is_up: bool,
    /// How many bytes of the history of its primary it had not applied when it was asked last.
    pub behind_bytes: Option<u64>,
}

/// A replica of a shard, shared by the topologies that contain it and by all workers.
#[derive(Debug)]
pub struct PoolReplica {
    /// Its identity; never that of another server.
    pub id: ServerId,
    /// Its address.
    pub address: SocketAddr,
    /// All that the primary had acknowledged at that time, in the µs of [`process_us`], can be read here; 0 if nothing is
    /// certain, and the replica is not to be used.
    pub fresh_to_us: AtomicU64,
}

impl PoolReplica {
    fn new(address: SocketAddr) -> Self {
        Self {
            id: ServerId::allocate(),
            address,
            fresh_to_us: AtomicU64::new(0),
        }
    }

    /// The time up to which its primary's acknowledged writes can be read here; 0 is never.
    #[must_use]
    pub fn fresh_to_us(&self) -> u64 {
        self.fresh_to_us.load(Ordering::Acquire)
    }

    /// Certifies that time, or 0 if nothing is certain.
    pub fn set_fresh_to_us(&self, time: u64) {
        self.fresh_to_us.store(time, Ordering::Release);
    }

    /// How far it is behind at most; none if nothing is certain.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Option<Duration> {
        let fresh_to = self.fresh_to_us();
        (fresh_to != 0).then(|| Duration::from_micros(process_us(now).saturating_sub(fresh_to)))
    }
}

/// The µs from a time fixed in this process to `time`: at least 1.
#[must_use]
pub fn process_us(time: Instant) -> u64 {
    static ZERO: LazyLock<Instant> = LazyLock::new(|| {
        let now = Instant::now();
        // A time that was taken just before the first call is after it too.
        now.checked_sub(Duration::from_secs(1)).unwrap_or(now)
    });
    let elapsed = time.saturating_duration_since(*ZERO).as_micros();
    u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
}

/// What is known of the roles, by the names of servers.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    pub(super) primaries: BTreeMap<String, Primary>,
    pub(super) replicas: BTreeMap<String, Vec<Replica>>,
}

impl Roles {
    /// The primaries, by the names of their servers.
    #[must_use]
    pub fn primaries(&self) -> &BTreeMap<String, Primary> {
        &self.primaries
    }

    /// The replicas, by the names of their servers.
    #[must_use]
    pub fn replicas(&self) -> &BTreeMap<String, Vec<Replica>> {
        &self.replicas
    }

    /// Forgets what was said of servers that have left the pool; of all, if nobody says anything any more.
    pub(super) fn retain(&mut self, config: &PoolConfig) {
        let has_roles = config.has_roles();
        let stays = |name: &String| {
            let mut servers = config.servers.iter();
            has_roles && servers.any(|server| server.name == *name)
        };
        self.primaries.retain(|name, _| stays(name));
        self.replicas.retain(|name, _| stays(name));
    }
}

/// The replicas of each server of a topology, by position.
#[derive(Debug, Clone, Default)]
pub(super) struct ReplicaSets(Arc<[Arc<[Arc<PoolReplica>]>]>);

impl ReplicaSets {
    /// The replicas in these roles. Those of the topology before, with these servers, stay the same objects at the same
    /// server and address.
    pub(super) fn next(&self, roles: &Roles, names: &[&str], before: &[Arc<PoolServer>]) -> Self {
        let known: HashMap<_, _> = before
            .iter()
            .zip(self.0.iter())
            .flat_map(|(server, replicas)| {
                replicas
                    .iter()
                    .map(|replica| ((server.name.as_str(), replica.address), replica))
            })
            .collect();
        let replica = |name: &str, replica: &Replica| {
            let known = known.get(&(name, replica.address));
            known.map_or_else(
                || Arc::new(PoolReplica::new(replica.address)),
                |known| Arc::clone(known),
            )
        };
        let of_server = |name: &&str| {
            let replicas = roles.replicas.get(*name);
            let replicas = replicas.into_iter().flatten();
            replicas.map(|known| replica(name, known)).collect()
        };
        Self(names.iter().map(of_server).collect())
    }

    pub(super) fn get(&self, index: usize) -> &[Arc<PoolReplica>] {
        self.0.get(index).map_or(&[], |replicas| replicas)
    }
}
