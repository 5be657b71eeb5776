//! The placement of a pool between two changes.

use std::sync::Arc;

use crate::config::Distribution;
use crate::hash::HashKind;
use crate::topology::{PoolServer, Router, ServerId, ServerIndex};

/// The servers of a pool, which of them are in the ring, and where each key belongs. Immutable; a worker holds one for a
/// turn at least. Invariant: `servers`, `live` and the members of `router` have the same length and order.
#[derive(Debug)]
pub struct Topology {
    /// How many times the topology has changed.
    pub epoch: u64,
    /// Routes to the live servers.
    pub router: Router,
    /// The servers in the ring, by position.
    pub live: Vec<bool>,
    servers: Arc<[Arc<PoolServer>]>,
}

impl Topology {
    /// The first topology of a pool: all servers are live.
    pub(super) fn new(router: Router, servers: Arc<[Arc<PoolServer>]>) -> Self {
        debug_assert_eq!(router.members().len(), servers.len());
        Self {
            epoch: 0,
            router,
            live: vec![true; servers.len()],
            servers,
        }
    }

    /// A topology without servers: every key has no owner.
    #[must_use]
    pub fn empty() -> Self {
        let router = Router::new(HashKind::Fnv1a64, None, Distribution::Ketama, &[]);
        Self::new(router, Arc::default())
    }

    /// The next topology: the same servers, of which these are live.
    pub(super) fn with_live(&self, live: Vec<bool>) -> Self {
        Self {
            epoch: self.epoch + 1,
            router: self.router.with_live(&live),
            live,
            servers: Arc::clone(&self.servers),
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
