//! The servers of a pool, as one worker reaches them: the present topology, and the shared connections.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use crate::config::Distribution;
use crate::protocol::{ConnProfile, Protocol};
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::driver::drive;
use crate::proxy::upstream::server::{Server, log_transition};
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::topology::{PoolHealth, ServerId, Topology};

/// Routes keys to servers, and keeps the connections that clients share.
pub(crate) struct Backends<P: Protocol> {
    name: Rc<str>,
    pub(crate) flow: FlowLimits,
    pub(crate) context: Rc<WorkerContext>,
    health: Arc<PoolHealth>,
    topology: RefCell<Arc<Topology>>,
    epoch: Cell<u64>,
    servers: Vec<Rc<Server<P>>>,
    /// Connections to one server in one profile.
    connections: usize,
    /// Profile by profile, server by server; made when first used, each with a task that drives it on this thread.
    upstreams: Vec<OnceCell<Rc<UpstreamConn<P>>>>,
    drivers: RefCell<Vec<JoinHandle<()>>>,
    /// Told of each topology that is adopted.
    pubsub: Rc<PubSub<P>>,
}

impl<P: Protocol> Backends<P> {
    /// Reaches `servers` over `connections` connections each, in each of `profiles` profiles. None is opened yet.
    pub(crate) fn new(
        name: &Rc<str>,
        servers: Vec<Rc<Server<P>>>,
        (connections, profiles): (usize, usize),
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
        health: Arc<PoolHealth>,
        pubsub: &Rc<PubSub<P>>,
    ) -> Self {
        let topology = health.topology();
        let upstreams = profiles * servers.len() * connections;
        Self {
            name: Rc::clone(name),
            flow,
            context: Rc::clone(context),
            epoch: Cell::new(topology.epoch),
            topology: RefCell::new(topology),
            health,
            servers,
            connections,
            upstreams: (0..upstreams).map(|_| OnceCell::new()).collect(),
            drivers: RefCell::default(),
            pubsub: Rc::clone(pubsub),
        }
    }

    /// Adopts what other workers have found out about the servers. Called once a batch.
    pub(crate) fn refresh(&self, now: Instant) {
        for transition in self.health.on_request(now.into_std()) {
            log_transition(&self.name, &self.topology.borrow(), transition);
        }
        if self.health.epoch() != self.epoch.get() {
            let topology = self.health.topology();
            self.epoch.set(topology.epoch);
            self.pubsub.adopt(&topology, now);
            *self.topology.borrow_mut() = topology;
        }
    }

    /// Counts the changes of where keys live.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Whether a key may live on any server.
    pub(crate) fn is_random(&self) -> bool {
        self.topology.borrow().router.distribution() == Distribution::Random
    }

    /// Whether a server is in the ring.
    pub(crate) fn is_live(&self, server: ServerId) -> bool {
        let topology = self.topology.borrow();
        topology.live.get(server.index()).copied().unwrap_or(false)
    }

    /// The server that a key lives on; `None` when all are ejected.
    pub(crate) fn route(&self, key: &[u8]) -> Option<ServerId> {
        self.topology.borrow().router.route(key)
    }

    /// The connection to a server that a session uses, always the same one in a lane.
    pub(crate) fn upstream(
        &self,
        server: ServerId,
        profile: ConnProfile,
        session: usize,
    ) -> Option<&Rc<UpstreamConn<P>>> {
        let row = profile.index() * self.servers.len() + server.index();
        let place = self
            .upstreams
            .get(row * self.connections + session % self.connections)?;
        match place.get() {
            Some(upstream) => Some(upstream),
            None => self.make_upstream(server, profile, place),
        }
    }

    #[cold]
    fn make_upstream<'p>(
        &self,
        server: ServerId,
        profile: ConnProfile,
        place: &'p OnceCell<Rc<UpstreamConn<P>>>,
    ) -> Option<&'p Rc<UpstreamConn<P>>> {
        let server = self.servers.get(server.index())?;
        Some(place.get_or_init(|| {
            let upstream = Rc::new(UpstreamConn::new(Rc::clone(server), profile, self.flow));
            let driver = drive(Rc::clone(&upstream), Rc::clone(&self.context));
            self.drivers.borrow_mut().push(spawn_local(driver));
            upstream
        }))
    }

    /// Servers of the pool.
    pub(crate) fn server_count(&self) -> usize {
        self.servers.len()
    }
}

impl<P: Protocol> Drop for Backends<P> {
    fn drop(&mut self) {
        self.drivers.get_mut().iter().for_each(JoinHandle::abort);
        self.pubsub.stop();
    }
}

impl<P: Protocol> fmt::Debug for Backends<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backends")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
