//! One worker's view of a pool: where its keys go, and the connections to get there.

pub(crate) mod dedicated;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use crate::config::{Distribution, PoolConfig};
use crate::net::ServerAddr;
use crate::protocol::{ConnProfile, Limits, Protocol, UpstreamError};
use crate::proxy::pool::dedicated::Leases;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::driver::{drive, reply_text};
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{PoolCellSet, PoolCells, PoolMetric, ServerCells, ServerMetric};
use crate::topology::ServerId;
use crate::topology::{PoolHealth, Topology, Transition};

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

/// What a connection must know of its server.
#[derive(Debug)]
pub struct Server<P: Protocol> {
    pool: Rc<str>,
    pub(crate) name: String,
    id: ServerId,
    pub(crate) address: ServerAddr,
    pub(crate) timeout: Option<Duration>,
    pub(crate) keepalive: bool,
    pub(crate) settings: Rc<P::Settings>,
    pub(crate) cells: Rc<ServerCells>,
    pool_cells: Rc<PoolCells>,
    health: Arc<PoolHealth>,
    /// Whether a failing server is ejected: then that is the pause between attempts, and there is no back-off.
    pub(crate) ejects: bool,
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
            &name,
            &settings,
            &context,
            &cells.cells,
            config.pubsub_buffer_limit,
            &health,
            &servers,
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

impl<P: Protocol> Server<P> {
    /// Counts and reports the end of a connection that harmed requests. `first` since it last worked: the one that is
    /// worth a line in the log. Returns whether it counts towards ejection.
    pub(crate) fn failed(
        &self,
        disconnect: &Disconnect,
        profile: ConnProfile,
        since: Instant,
        now: Instant,
        first: bool,
    ) -> bool {
        self.count_disconnect(disconnect);
        if first {
            let (pool, server) = (&*self.pool, self.name.as_str());
            match disconnect {
                Disconnect::Error(error) => {
                    tracing::warn!(pool, server, error = %error, "server connection failed");
                }
                Disconnect::Refused(reply) => {
                    let said = reply_text(reply);
                    tracing::warn!(pool, server, reply = said, "server rejected the handshake");
                }
                Disconnect::NoTransactions(_) => {}
            }
        }
        let at_fault = match disconnect {
            Disconnect::Error(error) => !error.is_proxy_shortage(),
            // A server may be well and yet too old for a lane: those who use the others must not lose it for that.
            Disconnect::Refused(_) => profile == ConnProfile::FIRST,
            Disconnect::NoTransactions(_) => false,
        };
        if at_fault {
            self.count_failure(since, now);
        }
        at_fault
    }

    /// Counts the end of a connection.
    pub(crate) fn count_disconnect(&self, disconnect: &Disconnect) {
        self.cells.bump(match disconnect {
            Disconnect::Error(UpstreamError::TimedOut) => ServerMetric::ServerTimedout,
            Disconnect::Error(UpstreamError::Closed) => ServerMetric::ServerEof,
            _ => ServerMetric::ServerErr,
        });
    }

    /// What was taken for a client that had left is back.
    pub(crate) fn pops_restored(&self) {
        self.pool_cells.bump(PoolMetric::GivenBack);
    }

    /// What was taken for a client that had left could not be put back.
    pub(crate) fn pops_lost(&self) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        tracing::warn!(
            pool,
            server,
            "could not restore elements popped for a disconnected client; elements lost"
        );
    }

    /// Counts a reply that says the server is in trouble; its connection lives on.
    pub(crate) fn server_error(&self, since: Instant, now: Instant) {
        self.count_failure(since, now);
    }

    /// Reports that the server answers again after a failure.
    pub(crate) fn recovered(&self) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        tracing::info!(pool, server, "server answers again");
    }

    /// Reports that clients hear nothing of what is published meanwhile.
    pub(crate) fn lost_subscriptions(&self, subscriptions: usize) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        tracing::warn!(
            pool,
            server,
            subscriptions,
            "subscription connection lost; messages are missed until it reconnects"
        );
    }

    /// Reports that the server does not let the pool subscribe to what it was subscribed to before.
    pub(crate) fn refused_subscription(&self, name: &[u8], reply: &Bytes) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        let (subject, said) = (name.escape_ascii(), reply_text(reply));
        tracing::warn!(pool, server, %subject, reply = said, "server rejected a subscription; closing its subscribers");
    }

    /// The server has answered a request.
    pub(crate) fn replied(&self) {
        self.health.on_reply(self.id);
    }

    fn count_failure(&self, since: Instant, now: Instant) {
        let (since, now) = (since.into_std(), now.into_std());
        let wall = SystemTime::now();
        if let Some(transition) = self.health.on_failure(self.id, since, now, wall) {
            log_transition(&self.pool, &self.health.topology(), transition);
        }
    }
}

impl<P: Protocol> fmt::Debug for LocalPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One line a transition: whoever causes it writes it, so there is one for all workers.
pub(crate) fn log_transition(pool: &str, topology: &Topology, transition: Transition) {
    let members = topology.router.members();
    let server = members
        .get(transition.server.index())
        .map_or("", |member| member.name.as_str());
    tracing::warn!(pool, server, "server {}", transition.change);
}
