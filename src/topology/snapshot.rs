//! The placement of a pool between two changes.

use std::sync::{Arc, OnceLock};

use crate::config::PoolConfig;
use crate::topology::roles::ReplicaSets;
use crate::topology::{
    Marked, MoveState, PoolReplica, PoolServer, Router, ServerId, ServerIndex, Spread,
};

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
    /// The pool's configuration: that of the file, with the placement that is in force.
    pub config: Arc<PoolConfig>,
    /// The move of keys under way.
    pub moving: Option<Arc<MoveState>>,
    /// The last move, which may have ended.
    pub marked: Option<Marked>,
    /// Routes to the live servers.
    pub router: Router,
    /// The servers in the ring, by position.
    pub live: Vec<bool>,
    servers: Arc<[Arc<PoolServer>]>,
    places: Places,
    spread: OnceLock<Spread>,
    pub(super) replica_sets: ReplicaSets,
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
            moving: None,
            marked: None,
            router,
            live: Vec::new(),
            servers: Arc::default(),
            places: Places::default(),
            spread: OnceLock::new(),
            replica_sets: ReplicaSets::default(),
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
        let places = if is_reconnected {
            Places::of(&servers)
        } else {
            self.places.clone()
        };
        let is_rearranged = !self.router.has_arrangement_of(&router);
        let is_placed_anew = is_rearranged
            || is_reconnected
            || self.live != live
            || !self.router.has_moved_as(&router);
        Self {
            epoch: self.epoch + 1,
            placement: self.placement + u64::from(is_placed_anew),
            handovers: self.handovers + u64::from(is_rearranged || is_reconnected),
            config,
            moving: None,
            marked: None,
            router,
            live,
            servers,
            places,
            spread: OnceLock::new(),
            replica_sets: ReplicaSets::default(),
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

    /// The replicas that may answer reads for a server; none unless the pool reads from replicas.
    #[must_use]
    pub fn replicas(&self, index: ServerIndex) -> &[Arc<PoolReplica>] {
        self.replica_sets.get(index.index())
    }

    /// The position of a server; none if it is not in this topology.
    #[must_use]
    pub fn index_of(&self, id: ServerId) -> Option<ServerIndex> {
        self.places.find(id)
    }

    /// The spread of keys over the servers, which is computed when it is first asked for.
    pub fn spread(&self) -> &Spread {
        self.spread.get_or_init(|| Spread::of(&self.router))
    }

    /// Returns true if a server is in the ring.
    #[must_use]
    pub fn is_live(&self, index: ServerIndex) -> bool {
        self.live.get(index.index()).copied().unwrap_or(false)
    }
}

/// The positions of the servers by their ids. A clone shares them: most topologies have the servers of the one before.
#[derive(Debug, Clone, Default)]
struct Places(Arc<[(ServerId, ServerIndex)]>);

impl Places {
    fn of(servers: &[Arc<PoolServer>]) -> Self {
        let ids = servers.iter().map(id);
        let mut places: Vec<_> = ids.zip(ServerIndex::all()).collect();
        places.sort_unstable();
        Self(places.into())
    }

    fn find(&self, id: ServerId) -> Option<ServerIndex> {
        let place = self.0.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.0.get(place).map(|(_, index)| *index)
    }
}

fn id(server: &Arc<PoolServer>) -> ServerId {
    server.id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn server() -> Arc<PoolServer> {
        let address = "127.0.0.1:1".parse().unwrap();
        Arc::new(PoolServer::new("s".to_owned(), address))
    }

    /// The topology after `old`, with these servers.
    fn after(old: &Topology, servers: &[Arc<PoolServer>]) -> Topology {
        let mut config = PoolConfig::clone(&old.config);
        let template = config.servers[0].clone();
        config.servers = vec![template; servers.len()];
        let router = Router::for_pool(&config);
        let live = vec![true; servers.len()];
        old.next(Arc::new(config), router, live, servers.into())
    }

    fn empty() -> Topology {
        let text = "p: {listen: h:1, servers: ['h:2:1']}";
        let mut config = Config::parse(text, "F").unwrap();
        Topology::empty(Arc::new(config.pools.remove(0)))
    }

    proptest! {
        /// Of servers that have come and gone, in any order.
        #[test]
        fn every_server_is_found_at_its_position(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..40),
        ) {
            let (mut servers, mut gone) = (vec![server()], Vec::new());
            let mut topology = after(&empty(), &servers);
            for (place, is_new) in changes {
                let place = place.index(servers.len());
                if is_new {
                    servers.insert(place, server());
                } else if servers.len() > 1 {
                    gone.push(servers.remove(place).id);
                }
                topology = after(&topology, &servers);
                for (index, server) in ServerIndex::all().zip(&servers) {
                    prop_assert_eq!(topology.index_of(server.id), Some(index));
                }
                for id in &gone {
                    prop_assert_eq!(topology.index_of(*id), None);
                }
            }
        }
    }

    #[test]
    fn positions_are_shared_while_the_servers_stay() {
        let servers = [server(), server()];
        let old = after(&empty(), &servers);
        let new = after(&old, &servers);
        assert!(Arc::ptr_eq(&old.places.0, &new.places.0));
        let [one, other] = servers;
        let new = after(&old, &[other.clone(), one]);
        assert_eq!(new.index_of(other.id), Some(ServerIndex::new(0)));
    }
}
