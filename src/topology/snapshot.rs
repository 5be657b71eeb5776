//! The placement of a pool between two changes.

use std::sync::Arc;

use crate::config::PoolConfig;
use crate::topology::{PoolServer, Router, ServerId, ServerIndex};

/// The configuration of a pool, its servers, which of them are in the ring, and where each key belongs. Immutable; a worker
/// holds one for a turn at least. Invariant: `servers`, `live` and the members of `router` have the same length and order.
#[derive(Debug)]
pub struct Topology {
    /// How many times the topology has changed.
    pub epoch: u64,
    /// How many times a key may have got another owner.
    pub placement: u64,
    /// How many times requests for a key may have got another connection, for another reason than a failing server: a
    /// client's next request waits for the replies to those before.
    pub handovers: u64,
    /// The pool's configuration.
    pub config: Arc<PoolConfig>,
    /// Routes to the live servers.
    pub router: Router,
    /// The servers in the ring, by position.
    pub live: Vec<bool>,
    servers: Arc<[Arc<PoolServer>]>,
}

impl Topology {
    /// A first topology, without servers: every key has no owner.
    #[must_use]
    pub fn empty(config: Arc<PoolConfig>) -> Self {
        let router = Router::new(config.hash, config.hash_tag, config.distribution, &[]);
        Self {
            epoch: 0,
            placement: 0,
            handovers: 0,
            config,
            router,
            live: Vec::new(),
            servers: Arc::default(),
        }
    }

    /// The topology after this one.
    pub(super) fn next(
        &self,
        config: Arc<PoolConfig>,
        router: Router,
        live: Vec<bool>,
        servers: Arc<[Arc<PoolServer>]>,
    ) -> Self {
        debug_assert_eq!(router.members().len(), servers.len());
        debug_assert_eq!(live.len(), servers.len());
        let is_reconnected = !self.servers.iter().map(id).eq(servers.iter().map(id));
        let is_rearranged = !self.router.has_arrangement_of(&router);
        let is_placed_anew = is_rearranged || is_reconnected || self.live != live;
        Self {
            epoch: self.epoch + 1,
            placement: self.placement + u64::from(is_placed_anew),
            handovers: self.handovers + u64::from(is_rearranged || is_reconnected),
            config,
            router,
            live,
            servers,
        }
    }

    /// All servers, live or not, by position.
    #[must_use]
    pub fn servers(&self) -> &[Arc<PoolServer>] {
        &self.servers
    }

    /// The server at a position.
    #[must_use]
    pub fn server(&self, index: ServerIndex) -> Option<&Arc<PoolServer>> {
        self.servers.get(index.index())
    }

    /// The position of a server; none if it is not in this topology.
    #[must_use]
    pub fn index_of(&self, id: ServerId) -> Option<ServerIndex> {
        let mut servers = ServerIndex::all().zip(&*self.servers);
        servers.find_map(|(index, server)| (server.id == id).then_some(index))
    }

    /// Returns true if a server is in the ring.
    #[must_use]
    pub fn is_live(&self, index: ServerIndex) -> bool {
        self.live.get(index.index()).copied().unwrap_or(false)
    }
}

fn id(server: &Arc<PoolServer>) -> ServerId {
    server.id
}
