//! What is known of a pool, and the topology that follows from it.
//!
//! ```text
//! file ---------+
//! requests -----+--> Facts --compose--> Topology      a pure function of the facts; only the identity of servers that
//! operator -----+                                     stay is taken from the topology before
//! ```
//!
//! Each source owns its fact, and the last word of a source is all that counts: no source edits a topology.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::{PoolConfig, ServerConfig};
use crate::topology::{EjectPolicy, Health, PoolServer, Router, Topology};

/// What is known of a pool.
#[derive(Debug)]
pub(super) struct Facts {
    /// Said by the configuration file.
    pub(super) config: Arc<PoolConfig>,
    /// Said by requests and their replies.
    pub(super) health: Health,
    /// Said by the operator: the names of servers that are to own no keys.
    pub(super) drained: BTreeSet<String>,
}

impl Facts {
    pub(super) fn new(config: Arc<PoolConfig>) -> Self {
        Self {
            health: Health::new(EjectPolicy::of(&config)),
            drained: BTreeSet::new(),
            config,
        }
    }

    /// Takes the word of the file. Servers that have left it are not drained any more.
    pub(super) fn set_config(&mut self, config: Arc<PoolConfig>) {
        self.health.set_policy(EjectPolicy::of(&config));
        self.drained
            .retain(|name| config.servers.iter().any(|server| server.name == *name));
        self.config = config;
    }
}

/// The topology that follows from the facts, after `old`. A server of `old` keeps its identity as long as its name, its
/// address and what its connections are set up with are the same.
pub(super) fn compose(facts: &Facts, old: &Topology) -> Topology {
    let config = &facts.config;
    let is_known = Arc::ptr_eq(config, &old.config) && !old.servers().is_empty();
    let servers = servers(config, old);
    let is_live = |server: &Arc<PoolServer>| {
        facts.health.is_live(server.id) && !facts.drained.contains(&server.name)
    };
    let live: Vec<_> = servers.iter().map(is_live).collect();
    let router = if is_known {
        old.router.with_live(&live)
    } else {
        Router::for_pool(config).with_live(&live)
    };
    old.next(Arc::clone(config), router, live, servers)
}

fn servers(config: &PoolConfig, old: &Topology) -> Arc<[Arc<PoolServer>]> {
    let stays = has_same_links(config, &old.config);
    let known: HashMap<_, _> = old
        .servers()
        .iter()
        .map(|server| (server.name.as_str(), server))
        .collect();
    let server = |wanted: &ServerConfig| {
        let known = known.get(wanted.name.as_str());
        let known = known.filter(|known| stays && known.address == wanted.address);
        known.map_or_else(
            || Arc::new(PoolServer::new(wanted.name.clone(), wanted.address.clone())),
            |known| Arc::clone(known),
        )
    };
    config.servers.iter().map(server).collect()
}

/// Returns true if open connections to the servers serve both configurations.
fn has_same_links(one: &PoolConfig, other: &PoolConfig) -> bool {
    let links = |pool: &PoolConfig| {
        (
            pool.redis_auth.clone(),
            pool.redis_db,
            pool.databases,
            pool.server_connections,
        )
    };
    links(one) == links(other)
}
