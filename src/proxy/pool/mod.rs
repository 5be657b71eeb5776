//! One worker's view of a pool: where its keys go, and the connections to get there.

pub(crate) mod dedicated;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use crate::config::{Distribution, PoolConfig};
use crate::protocol::{ConnProfile, Limits, Protocol};
use crate::proxy::pool::dedicated::Leases;
use crate::proxy::pubsub;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::driver::drive;
use crate::proxy::upstream::server::Server;
use crate::proxy::upstream::server::log_transition;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{PoolCellSet, PoolCells};
use crate::topology::ServerId;
use crate::topology::{PoolHealth, Topology};

/// One pool, as one worker serves it.
pub struct LocalPool<P: Protocol> {
    /// The pool's name.
    pub name: Rc<str>,
    pub(crate) settings: Rc<P::Settings>,
    pub(crate) limits: Limits,
    pub(crate) flow: FlowLimits,
    /// Where this worker counts what concerns the pool.
    pub cells: Rc<PoolCells>,
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) plan_buffers: Cell<PlanBuffers>,
    health: Arc<PoolHealth>,
    topology: RefCell<Arc<Topology>>,
    epoch: Cell<u64>,
    servers: Vec<Rc<Server<P>>>,
    /// Connections to one server in one lane.
    connections: usize,
    /// Lane by lane, server by server; made when first used, each with a task that drives it on this thread.
    upstreams: Vec<OnceCell<Rc<UpstreamConn<P>>>>,
    drivers: RefCell<Vec<JoinHandle<()>>>,
    /// What its clients are subscribed to.
    pub(crate) pubsub: Rc<PubSub<P>>,
    /// Connections that one client has for itself.
    pub(crate) leases: Leases<P>,
}

impl<P: Protocol> LocalPool<P> {
    /// Knows the servers of `config`. No connection is opened before it is wanted, unless the pool says `preconnect`:
    /// then one to each server, in the first lane.
    pub fn start(
        config: &PoolConfig,
        settings: P::Settings,
        health: Arc<PoolHealth>,
        cells: &PoolCellSet,
        context: Rc<WorkerContext>,
    ) -> Self {
        let name: Rc<str> = config.name.as_str().into();
        let settings = Rc::new(settings);
        let flow = FlowLimits::default();
        let servers = config.servers.iter().zip(ServerId::all());
        let servers: Vec<_> = servers
            .zip(&cells.servers)
            .map(|((server, id), cell)| {
                Rc::new(Server {
                    pool: Rc::clone(&name),
                    name: server.name.clone(),
                    id,
                    address: server.address.clone(),
                    timeout: config.timeout,
                    keepalive: config.tcpkeepalive,
                    settings: Rc::clone(&settings),
                    cells: Rc::clone(cell),
                    pool_cells: Rc::clone(&cells.cells),
                    health: Arc::clone(&health),
                    ejects: config.auto_eject_hosts,
                })
            })
            .collect();
        let pubsub = PubSub::new(
            (&name, &settings),
            &context,
            &cells.cells,
            config.pubsub_buffer_limit,
            &health,
            &servers,
            |conn, pubsub| spawn_local(pubsub::driver::drive(conn, pubsub)),
        );
        let topology = health.topology();
        let connections = config.server_connections.max(1);
        let upstreams = P::profiles(&settings) * servers.len() * connections;
        let leases = Leases::new(&servers, config.server_leases);
        let pool = Self {
            name,
            settings,
            limits: Limits::default(),
            flow,
            cells: Rc::clone(&cells.cells),
            context,
            plan_buffers: Cell::default(),
            epoch: Cell::new(topology.epoch),
            topology: RefCell::new(topology),
            health,
            servers,
            connections,
            upstreams: (0..upstreams).map(|_| OnceCell::new()).collect(),
            drivers: RefCell::default(),
            pubsub,
            leases,
        };
        if config.preconnect {
            let servers = ServerId::all().take(pool.server_count());
            servers
                .filter_map(|server| pool.upstream(server, ConnProfile::FIRST, 0))
                .for_each(|first| first.want());
        }
        pool
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

impl<P: Protocol> Drop for LocalPool<P> {
    fn drop(&mut self) {
        self.drivers.get_mut().iter().for_each(JoinHandle::abort);
        self.pubsub.stop();
    }
}

impl<P: Protocol> fmt::Debug for LocalPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
