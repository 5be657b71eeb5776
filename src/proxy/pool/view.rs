//! A topology with its servers, as one worker uses both between two changes.

use std::rc::Rc;
use std::sync::Arc;

use crate::config::Distribution;
use crate::protocol::{ConnProfile, Protocol};
use crate::proxy::pool::handle::{ReplicaHandle, ServerHandle};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::topology::{ServerId, ServerIndex, Topology};

/// The current placement of keys, and the servers. Immutable: a client's forwarder holds one for a batch of requests,
/// so an index is valid for the batch. Invariant: `servers` are those of `topology`, in its order.
#[derive(Debug)]
pub(crate) struct PoolView<P: Protocol> {
    pub(crate) topology: Arc<Topology>,
    /// The protocol's settings, which follow from the configuration of the topology.
    pub(crate) settings: Rc<P::Settings>,
    /// Keys may be moved, or replicas answer reads: requests are looked at before they are executed.
    pub(crate) is_looked_at: bool,
    /// Replicas answer reads.
    pub(crate) reads_replicas: bool,
    /// Keys are being moved.
    pub(crate) is_moving: bool,
    servers: Box<[Rc<ServerHandle<P>>]>,
    /// The replicas of each server that answer reads; empty if none do.
    replicas: Box<[Vec<ReplicaHandle<P>>]>,
}

impl<P: Protocol> PoolView<P> {
    /// Creates the view of `topology`; `servers` are its servers, by position.
    pub(crate) fn new(
        servers: Box<[Rc<ServerHandle<P>>]>,
        settings: Rc<P::Settings>,
        topology: Arc<Topology>,
    ) -> Self {
        debug_assert_eq!(topology.servers().len(), servers.len());
        let reads_replicas = topology.config.reads_replicas();
        Self {
            is_looked_at: topology.config.placement_guard || reads_replicas,
            reads_replicas,
            is_moving: topology.router.is_moving(),
            topology,
            settings,
            servers,
            replicas: Box::default(),
        }
    }

    /// The same view, with the replicas of each server.
    pub(crate) fn with_replicas(self, replicas: Box<[Vec<ReplicaHandle<P>>]>) -> Self {
        Self { replicas, ..self }
    }

    /// A view without servers, for the time between two batches.
    pub(crate) fn without_servers(&self) -> Self {
        let topology = Topology::empty(Arc::clone(&self.topology.config));
        Self::new(
            Box::default(),
            Rc::clone(&self.settings),
            Arc::new(topology),
        )
    }

    /// Counts the changes of the topology.
    pub(crate) fn epoch(&self) -> u64 {
        self.topology.epoch
    }

    /// Counts the changes of the placement of keys.
    pub(crate) fn placement(&self) -> u64 {
        self.topology.placement
    }

    /// See [`Topology::handovers`].
    #[inline]
    pub(crate) fn handovers(&self) -> u64 {
        self.topology.handovers
    }

    /// Returns true if a key may be stored on any server.
    pub(crate) fn is_random(&self) -> bool {
        self.topology.router.distribution() == Distribution::Random
    }

    /// The server that stores a key; `None` if all are ejected.
    #[inline]
    pub(crate) fn route(&self, key: &[u8]) -> Option<ServerIndex> {
        self.topology.router.route(key)
    }

    /// Returns true if requests for a key wait, since it is being moved at this moment.
    pub(crate) fn is_held(&self, key: &[u8]) -> bool {
        self.is_moving && self.topology.router.is_held(key)
    }

    /// The server at which a channel is at home; `None` if all are ejected.
    pub(crate) fn home(&self, channel: &[u8]) -> Option<ServerIndex> {
        self.topology.router.home(channel)
    }

    /// All servers, live or not.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (ServerIndex, &Rc<ServerHandle<P>>)> {
        ServerIndex::all().zip(&self.servers)
    }

    /// The servers to which requests go that are for all: not those that are to take the place of another, nor those whose
    /// place is taken.
    pub(crate) fn asked_servers(&self) -> impl Iterator<Item = ServerIndex> {
        let router = &self.topology.router;
        let is_asked = |index: &ServerIndex| {
            !self.is_moving || !router.is_standby(*index) && !router.is_replaced(*index)
        };
        ServerIndex::all().take(self.servers.len()).filter(is_asked)
    }

    /// The replicas of a server that answer reads.
    pub(crate) fn replicas(&self, index: ServerIndex) -> &[ReplicaHandle<P>] {
        self.replicas.get(index.index()).map_or(&[], Vec::as_slice)
    }

    /// All replicas that answer reads.
    pub(crate) fn all_replicas(&self) -> impl Iterator<Item = &ReplicaHandle<P>> {
        self.replicas.iter().flatten()
    }

    /// The number of servers.
    pub(crate) fn server_count(&self) -> usize {
        self.servers.len()
    }

    /// The server at a position.
    pub(crate) fn server(&self, index: ServerIndex) -> Option<&Rc<ServerHandle<P>>> {
        self.servers.get(index.index())
    }

    /// The position of a server; `None` if it has left the pool.
    pub(crate) fn index_of(&self, id: ServerId) -> Option<ServerIndex> {
        self.topology.index_of(id)
    }

    /// The identity of the server at a position.
    pub(crate) fn id(&self, index: ServerIndex) -> Option<ServerId> {
        self.topology.server(index).map(|server| server.id)
    }

    /// Returns true if a server is in the ring.
    pub(crate) fn is_live(&self, index: ServerIndex) -> bool {
        self.topology.is_live(index)
    }

    /// The shared connection to a server that a session uses, always the same one in a profile.
    #[inline]
    pub(crate) fn upstream(
        &self,
        index: ServerIndex,
        profile: ConnProfile,
        session: usize,
    ) -> Option<&Rc<UpstreamConn<P>>> {
        self.server(index)?.upstream(profile, session)
    }
}
