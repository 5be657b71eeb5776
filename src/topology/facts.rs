//! What is known of a pool, and the topology that follows from it.
//!
//! ```text
//! file ------------------+
//! marks of a move -------+
//! requests and probes ---+--> Facts --compose--> Topology     a pure function of the facts; only the identity of
//! DNS -------------------+                                    servers that stay is taken from the topology before
//! Sentinel, ROLE --------+
//! operator --------------+
//! ```
//!
//! Each source owns its fact, and the last word of a source is all that counts: no source edits a topology.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{PoolConfig, ServerConfig};
use crate::hash::name_order;
use crate::net::ServerAddr;
use crate::topology::reshard::Marks;
use crate::topology::roles::{ReplicaSets, Roles};
use crate::topology::{
    Effective, EjectPolicy, Health, MoveState, PoolServer, Router, SeenMark, SourceState, Topology,
};

/// What is known of a pool.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Said by the configuration file, and when.
    pub config: (Arc<PoolConfig>, Instant),
    /// Said by requests and probes.
    pub health: Health,
    /// Said by DNS: what the address of a server stands for, by its name and the address, if it is another than the first
    /// that was used.
    pub resolved: BTreeMap<(String, String), (SocketAddr, Instant)>,
    /// Said by Sentinel, or by the servers themselves: who is the primary of each, and their replicas.
    pub roles: Roles,
    /// Said by the operator: the names of servers that are to own no keys.
    pub drained: BTreeMap<String, Instant>,
    /// Said by the marks at the servers, of a pool with `placement_guard`.
    pub(super) marks: Marks,
    /// What follows from the file and the marks.
    pub in_force: Effective,
}

impl Facts {
    pub(super) fn new(config: Arc<PoolConfig>, now: Instant) -> Self {
        Self {
            health: Health::new(EjectPolicy::of(&config)),
            resolved: BTreeMap::new(),
            roles: Roles::default(),
            drained: BTreeMap::new(),
            marks: Marks::default(),
            in_force: Marks::default().effective(&config),
            config: (config, now),
        }
    }

    /// Takes the word of the mark at a server. Returns true if it is news.
    pub(super) fn set_mark(&mut self, server: &PoolServer, seen: SeenMark, now: Instant) -> bool {
        let at = (server.name.as_str(), &server.place);
        let is_news = self.marks.set(at, seen, now);
        if is_news {
            self.infer();
        }
        is_news
    }

    /// Returns true if anybody may say who is the primary of this server.
    pub(super) fn may_have_roles(&self, server: &str) -> bool {
        let config = &self.in_force.config;
        config.has_roles() && config.servers.iter().any(|known| known.name == server)
    }

    /// Infers what is in force. What has not changed stays the same object.
    fn infer(&mut self) {
        let mut next = self.marks.effective(&self.config.0);
        if *next.config == *self.in_force.config {
            next.config = Arc::clone(&self.in_force.config);
        }
        if next.moving == self.in_force.moving {
            next.moving.clone_from(&self.in_force.moving);
        }
        self.in_force = next;
    }

    /// Said by the marks, by server.
    pub fn marks(&self) -> impl Iterator<Item = (&str, &SeenMark, &Instant)> {
        self.marks.seen()
    }

    /// Takes the word of the file. What others said of servers that have left it, or have another address, is void.
    pub(super) fn set_config(&mut self, config: Arc<PoolConfig>, now: Instant) {
        let (old, new) = (addresses(&self.config.0), addresses(&config));
        self.resolved
            .retain(|(name, _), _| new.get(name.as_str()) == old.get(name.as_str()));
        self.drained
            .retain(|name, _| new.contains_key(name.as_str()));
        self.config = (config, now);
        self.infer();
        self.roles.retain(&self.in_force.config);
        let policy = EjectPolicy::of(&self.in_force.config);
        self.health.set_policy(policy, now);
    }
}

/// The address of each server by its name.
fn addresses(config: &PoolConfig) -> HashMap<&str, &ServerAddr> {
    let servers = config.servers.iter();
    servers
        .map(|server| (server.name.as_str(), &server.address))
        .collect()
}

/// The topology that follows from the facts, after `old`. A server of `old` keeps its identity as long as its name, its
/// address and what its connections are set up with are the same.
pub(super) fn compose(facts: &Facts, old: &Topology) -> Topology {
    let Effective {
        config,
        moving,
        marked,
    } = &facts.in_force;
    let servers = servers(facts, old);
    // The placements of a move are fixed.
    let is_live = |server: &Arc<PoolServer>| {
        moving.is_some()
            || facts.health.is_live(server.id) && !facts.drained.contains_key(&server.name)
    };
    let live: Vec<_> = servers.iter().map(is_live).collect();
    let router = match moving {
        Some(moving) => moving_router(moving, old),
        None => router(config, &live, old),
    };
    let replica_sets = if config.reads_replicas() {
        let names: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
        old.replica_sets.next(&facts.roles, &names, old.servers())
    } else {
        ReplicaSets::default()
    };
    let mut next = old.next(Arc::clone(config), router, live, servers);
    next.replica_sets = replica_sets;
    next.moving.clone_from(moving);
    next.marked.clone_from(marked);
    next
}

/// The router of a move, whose rings are taken from `old` if it is the same.
fn moving_router(moving: &MoveState, old: &Topology) -> Router {
    let source = |name: &str| -> SourceState { moving.source(name) };
    let same = old.moving.as_ref().filter(|old| old.id == moving.id);
    same.and_then(|_| old.router.with_sources(source))
        .unwrap_or_else(|| Router::moving(&moving.before, &moving.after, source))
}

/// The router of the servers that are live. A large ring takes milliseconds to build, so that of `old` is copied if it is
/// the same.
fn router(config: &PoolConfig, live: &[bool], old: &Topology) -> Router {
    if old.router.is_for_pool(config) {
        return if old.live == live {
            old.router.clone()
        } else {
            old.router.with_live(live)
        };
    }
    let all = Router::for_pool(config);
    if live.iter().all(|live| *live) {
        all
    } else {
        all.with_live(live)
    }
}

fn servers(facts: &Facts, old: &Topology) -> Arc<[Arc<PoolServer>]> {
    let config = &facts.in_force.config;
    let has_same_links = has_same_links(config, &old.config);
    let known: HashMap<_, _> = old
        .servers()
        .iter()
        .map(|server| ((server.name.as_str(), &server.place), server))
        .collect();
    let server = |wanted: &ServerConfig| {
        let known = known.get(&(wanted.name.as_str(), &wanted.address));
        let before = known.and_then(|known| known.socket_address());
        let new = || PoolServer::new(wanted.name.clone(), wanted.address.clone());
        if let Some(primary) = primary(facts, wanted) {
            let at_primary = known.filter(|_| before == Some(primary));
            return match at_primary {
                Some(known) if has_same_links => Arc::clone(known),
                Some(known) => Arc::new(new().at(primary).after(known)),
                None => Arc::new(new().at(primary)),
            };
        }
        let key = (wanted.name.clone(), wanted.address.to_string());
        let resolved = facts.resolved.get(&key).map(|(address, _)| *address);
        // Until now it stood for a primary elsewhere.
        let known = known.filter(|known| known.address == known.place);
        let in_use = known.and_then(|known| known.in_use());
        let stays = |_: &&&Arc<PoolServer>| {
            has_same_links && resolved.is_none_or(|resolved| in_use == Some(resolved))
        };
        known.filter(stays).map_or_else(
            || {
                let server = new().using(resolved.or(in_use));
                Arc::new(
                    match known.filter(|_| resolved.is_none() || resolved == in_use) {
                        Some(known) => server.after(known),
                        None => server,
                    },
                )
            },
            |known| Arc::clone(known),
        )
    };
    config.servers.iter().map(server).collect()
}

/// Who is the primary of a server of the configuration in force; none if nobody has said so. Not of two servers of one name, of
/// which one is to take the place of the other by replication.
fn primary(facts: &Facts, wanted: &ServerConfig) -> Option<SocketAddr> {
    let primary = facts.roles.primaries().get(&wanted.name)?;
    let servers = &facts.in_force.config.servers;
    let is_before = |server: &ServerConfig| name_order(&server.name, &wanted.name).is_lt();
    let first = servers.partition_point(is_before);
    let mut namesakes = servers.iter().skip(first).take(2);
    let is_only =
        namesakes.all(|server| server.name != wanted.name || server.address == wanted.address);
    is_only.then_some(primary.address)
}

/// Returns true if open connections to the servers serve both configurations.
fn has_same_links(one: &PoolConfig, other: &PoolConfig) -> bool {
    let links = |pool: &PoolConfig| {
        (
            pool.server_auth(),
            pool.databases,
            pool.server_connections,
            pool.placement_guard,
            pool.fails_over(),
            pool.tls.server.clone(),
        )
    };
    links(one) == links(other)
}
