//! One worker's connections to one server: shared, dedicated and for subscriptions.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use tokio::task::{JoinHandle, spawn_local};

use crate::protocol::{ConnProfile, Protocol};
use crate::proxy::pool::dedicated::ServerLeases;
use crate::proxy::pubsub::conn::SubscriberConn;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::driver::drive;
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;

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

impl<P: Protocol> Drop for ServerHandle<P> {
    fn drop(&mut self) {
        self.drivers.get_mut().iter().for_each(JoinHandle::abort);
        self.leases.close();
    }
}
