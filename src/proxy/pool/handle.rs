//! One worker's connections to one server: shared, dedicated and for subscriptions.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

use crate::config::PoolConfig;
use crate::protocol::{ConnProfile, Protocol};
use crate::proxy::pool::dedicated::ServerLeases;
use crate::proxy::pool::hedges::Pace;
use crate::proxy::pubsub::conn::SubscriberConn;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::driver::drive;
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::topology::PoolReplica;

/// The time for requests in flight to a server that has left a pool without a `timeout`.
const RETIRE_WITHIN: Duration = Duration::from_secs(10);

/// Interval at which such a server's connections are checked.
const RETIRE_TICK: Duration = Duration::from_millis(20);

/// A server as one worker uses it. It survives every change of the topology that leaves the server in the pool.
#[derive(Debug)]
pub(crate) struct ServerHandle<P: Protocol> {
    pub(crate) server: Rc<Server<P>>,
    pub(crate) leases: Rc<ServerLeases<P>>,
    pub(crate) subscriber_conn: Rc<SubscriberConn<P>>,
    flow: FlowLimits,
    context: Rc<WorkerContext>,
    /// Connections in one profile.
    connections: usize,
    /// The shared connections, by profile; created on first use, each with a task that drives it on this thread.
    conns: Box<[OnceCell<Rc<UpstreamConn<P>>>]>,
    drivers: RefCell<Vec<JoinHandle<()>>>,
}

/// A replica as one worker uses it.
#[derive(Debug)]
pub(crate) struct ReplicaHandle<P: Protocol> {
    pub(crate) replica: Arc<PoolReplica>,
    pub(crate) handle: Rc<ServerHandle<P>>,
    /// How quickly it answers.
    pub(crate) pace: Rc<Pace>,
}

impl<P: Protocol> ServerHandle<P> {
    /// Creates a handle with `connections` shared connections in each of `profiles` profiles, and at most `leases`
    /// dedicated ones. None is opened yet.
    pub(crate) fn new(
        server: Server<P>,
        (connections, profiles): (usize, usize),
        leases: usize,
        context: &Rc<WorkerContext>,
    ) -> Self {
        let server = Rc::new(server);
        Self {
            leases: Rc::new(ServerLeases::new(&server, leases)),
            subscriber_conn: Rc::new(SubscriberConn::new(Rc::clone(&server))),
            server,
            flow: context.flow,
            context: Rc::clone(context),
            connections,
            conns: (0..connections * profiles)
                .map(|_| OnceCell::new())
                .collect(),
            drivers: RefCell::default(),
        }
    }

    /// The shared connection that a session uses, always the same one in a profile.
    #[inline]
    pub(crate) fn upstream(
        &self,
        profile: ConnProfile,
        session: usize,
    ) -> Option<&Rc<UpstreamConn<P>>> {
        let place = profile.index() * self.connections + session % self.connections;
        let conn = self.conns.get(place)?;
        Some(match conn.get() {
            Some(upstream) => upstream,
            None => self.make_upstream(profile, conn),
        })
    }

    #[cold]
    fn make_upstream<'p>(
        &self,
        profile: ConnProfile,
        conn: &'p OnceCell<Rc<UpstreamConn<P>>>,
    ) -> &'p Rc<UpstreamConn<P>> {
        conn.get_or_init(|| {
            let upstream = UpstreamConn::new(Rc::clone(&self.server), profile, self.flow);
            let upstream = Rc::new(upstream);
            let driver = drive(Rc::clone(&upstream), Rc::clone(&self.context));
            self.drivers.borrow_mut().push(spawn_local(driver));
            upstream
        })
    }
}

impl<P: Protocol> ServerHandle<P> {
    /// Adopts what a new configuration says of connections that stay open.
    pub(crate) fn set_config(&self, config: &PoolConfig) {
        self.server.timeout.set(self.server.timeout_of(config));
        self.server.keepalive.set(config.tcpkeepalive);
        self.leases.set_most(config.server_leases);
        if let Some(failover) = &self.server.failover {
            failover.set_within(config.failover_timeout());
        }
    }

    /// Gives what is not sent to the one that serves in this one's place: another primary of the same server.
    pub(crate) fn hand_over(&self, next: &Self) {
        for (old, new) in self.conns.iter().zip(&next.conns) {
            if let Some(old) = old.get() {
                old.hand_over(next.make_upstream(old.profile, new));
            }
        }
        // Who waits for connections asks for those of the other one.
        self.all_conns().iter().for_each(|conn| conn.wake_waiting());
    }

    /// Returns true if no request is queued or in flight on a shared connection.
    fn is_idle(&self) -> bool {
        self.open_conns().all(|conn| conn.is_idle())
    }

    fn open_conns(&self) -> impl Iterator<Item = &Rc<UpstreamConn<P>>> {
        self.conns.iter().filter_map(OnceCell::get)
    }

    /// Gives back what waits for connections that are not open, of a server with a guard: it was routed by what is not so any
    /// more, and nothing of it was sent.
    pub(crate) fn on_news(&self) {
        for conn in self.all_conns() {
            conn.on_news();
        }
    }

    /// Opens the shared connections of the first profile that are not open.
    pub(crate) fn connect(&self) {
        for session in 0..self.connections {
            let upstream = self.upstream(ConnProfile::FIRST, session);
            if let Some(upstream) = upstream.filter(|upstream| upstream.guarded_id().is_none()) {
                upstream.want();
            }
        }
    }

    /// All connections over which requests for keys go.
    pub(crate) fn all_conns(&self) -> Vec<Rc<UpstreamConn<P>>> {
        let mut conns = self.leases.conns();
        conns.extend(self.open_conns().cloned());
        conns
    }
}

/// Ends the use of a handle that has left the view: it takes nothing new, and its connections are closed once what is in
/// flight is answered, or has timed out.
pub(crate) async fn retire<P: Protocol>(handle: Rc<ServerHandle<P>>, pubsub: Rc<PubSub<P>>) {
    let timeout = handle.server.timeout.get().unwrap_or(RETIRE_WITHIN);
    handle.server.timeout.set(Some(timeout));
    handle.leases.close();
    for conn in handle.open_conns() {
        // Sessions that wait for room use the next view; the driver learns of the timeout.
        conn.wake_waiting();
        conn.wake_driver();
    }
    let is_idle =
        || handle.is_idle() && handle.leases.is_idle() && handle.subscriber_conn.is_idle();
    // The connections themselves time out a moment before.
    let end = Instant::now() + timeout + 5 * RETIRE_TICK;
    while !is_idle() && Instant::now() < end {
        sleep(RETIRE_TICK).await;
    }
    // A request to which no timeout applies, or whose connection has not opened, must not wait for ever.
    handle.leases.fail_busy();
    pubsub.forget(handle.server.id());
}

impl<P: Protocol> Drop for ServerHandle<P> {
    fn drop(&mut self) {
        self.drivers.get_mut().iter().for_each(JoinHandle::abort);
        self.leases.close();
    }
}
