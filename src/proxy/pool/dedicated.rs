//! Dedicated connections: each serves one client for a while.
//!
//! ```text
//! session --acquire--> Lease --release--> idle --acquire--> ...      the connection is as its handshake left it
//!                        |                  +--after a while--> closed
//!                        +--drop--> closed                           nobody knows what its server remembers
//! SCRIPT KILL --bypass--> closed once it is answered                 past the queue of a busy server
//! ```
//!
//! Invariants: a server has no more leases than the pool allows, idle ones counted; what bypasses has a connection of its own
//! however many those are, one for each server and profile; the process has no more of both than it has file
//! descriptors for; a lease whose connection is lost is never connected again, since what its server remembered is lost
//! with it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use fnv::FnvHashMap;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::net::ConnPermit;
use crate::protocol::{ConnProfile, Protocol, UpstreamError};
use crate::proxy::pool::backends::Backends;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::connect_guard::{ConnectGuard, ConnectState};
use crate::proxy::upstream::driver::drive_once;
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::stats::ServerMetric;
use crate::topology::ServerId;

/// How often idle connections are looked through, and sessions that wait are told to look around.
const TICK: Duration = Duration::from_secs(1);

/// How long a connection that nobody wants is kept.
const KEEP: Duration = Duration::from_secs(5);

/// All the leases of one worker in one pool.
#[derive(Debug)]
pub(crate) struct Leases<P: Protocol> {
    servers: Vec<Rc<ServerLeases<P>>>,
    /// Sessions that wait for a server, by their number.
    waiting: RefCell<FnvHashMap<usize, Weak<ReplyQueue>>>,
    keeper: RefCell<Option<JoinHandle<()>>>,
}

/// The leases on one server.
#[derive(Debug)]
pub(crate) struct ServerLeases<P: Protocol> {
    pub(crate) server: Rc<Server<P>>,
    most: usize,
    /// Leases, idle ones counted.
    open: Cell<usize>,
    idle: RefCell<Vec<Idle<P>>>,
    /// Connections for requests that bypass the queue, at most one for each profile.
    bypassing: RefCell<Vec<DedicatedConn<P>>>,
    connects: Rc<ConnectState>,
}

/// A lease that the next client may have.
#[derive(Debug)]
struct Idle<P: Protocol> {
    conn: DedicatedConn<P>,
    since: Instant,
}

/// One of the leases that a server may have.
#[derive(Debug)]
struct LeasePermit<P: Protocol>(Rc<ServerLeases<P>>);

/// A connection, closed when it is dropped.
#[derive(Debug)]
struct DedicatedConn<P: Protocol> {
    upstream: Rc<UpstreamConn<P>>,
    driver: JoinHandle<()>,
    /// None for one that bypasses.
    lease_permit: Option<LeasePermit<P>>,
    _conn_permit: ConnPermit,
}

/// A connection in the hands of one client. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Lease<P: Protocol> {
    conn: Option<DedicatedConn<P>>,
    server_leases: Rc<ServerLeases<P>>,
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseError {
    /// So many are in use, and no more are allowed.
    Exhausted(usize),
    /// There are file descriptors for so many clients and leases, and all are in use.
    NoRoom(usize),
    /// The server did not answer the last attempt to connect in time, nor yet the one that is under way.
    Down(UpstreamError),
}

impl<P: Protocol> Leases<P> {
    /// At most `most` for each of the servers.
    pub(crate) fn new(servers: &[Rc<Server<P>>], most: usize) -> Rc<Self> {
        let server_leases = |server: &Rc<Server<P>>| {
            Rc::new(ServerLeases {
                server: Rc::clone(server),
                most,
                open: Cell::new(0),
                idle: RefCell::default(),
                bypassing: RefCell::default(),
                connects: Rc::default(),
            })
        };
        Rc::new(Self {
            servers: servers.iter().map(server_leases).collect(),
            waiting: RefCell::default(),
            keeper: RefCell::new(None),
        })
    }

    /// A connection to a server in a profile, as its handshake leaves it.
    pub(crate) fn acquire(
        self: &Rc<Self>,
        backends: &Rc<Backends<P>>,
        server: ServerId,
        profile: ConnProfile,
    ) -> Result<Lease<P>, LeaseError> {
        let server_leases = self.servers.get(server.index());
        let server_leases = server_leases.ok_or(LeaseError::Down(UpstreamError::Ejected))?;
        let conn = server_leases.conn(profile, backends.flow, &backends.context)?;
        server_leases.server.cells.bump(ServerMetric::Leases);
        self.keep(backends);
        Ok(Lease {
            conn: Some(conn),
            server_leases: Rc::clone(server_leases),
        })
    }

    /// A connection to a server for requests that are queued at once, and for nothing else: a server that is busy does
    /// not say who it is, so no client may wait on it. It is closed when all is answered. Leases do not use it up: what ends a
    /// script that hangs is needed most when clients wait behind that script.
    pub(crate) fn bypass(
        self: &Rc<Self>,
        backends: &Rc<Backends<P>>,
        server: ServerId,
        profile: ConnProfile,
    ) -> Result<Rc<UpstreamConn<P>>, UpstreamError> {
        let server_leases = self.servers.get(server.index());
        let server_leases = server_leases.ok_or(UpstreamError::Ejected)?;
        let upstream = server_leases.bypass(profile, backends.flow, &backends.context)?;
        self.keep(backends);
        Ok(upstream)
    }

    /// Notes that a session waits for a server: it is polled now and then, to see whether the world is still the same.
    pub(crate) fn wait(&self, session: usize, replies: &Rc<ReplyQueue>) {
        let replies = Rc::downgrade(replies);
        self.waiting.borrow_mut().insert(session, replies);
    }

    pub(crate) fn wait_no_more(&self, session: usize) {
        self.waiting.borrow_mut().remove(&session);
    }

    /// Starts the task that looks after what is open, unless it runs.
    fn keep(self: &Rc<Self>, backends: &Rc<Backends<P>>) {
        let mut keeper = self.keeper.borrow_mut();
        if keeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *keeper = Some(spawn_local(keep(
                Rc::downgrade(self),
                Rc::downgrade(backends),
            )));
        }
    }

    /// Closes what nobody has wanted for a while. Returns true if anything is still open.
    fn expire(&self, now: Instant) -> bool {
        let (mut idle, mut answered) = (Vec::new(), Vec::new());
        for server in &self.servers {
            let is_over = |idle: &mut Idle<P>| idle.is_over(now);
            idle.extend(server.idle.borrow_mut().extract_if(.., is_over));
            let mut bypassing = server.bypassing.borrow_mut();
            answered.extend(bypassing.extract_if(.., |conn| conn.is_over()));
        }
        drop((idle, answered));
        let is_open = |server: &Rc<ServerLeases<P>>| {
            server.open.get() > 0 || !server.bypassing.borrow().is_empty()
        };
        self.servers.iter().any(is_open)
    }

    fn wake_waiting(&self) {
        let waiting: Vec<_> = self
            .waiting
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for replies in waiting {
            replies.wake();
        }
    }
}

/// Runs as long as connections are open.
async fn keep<P: Protocol>(leases: Weak<Leases<P>>, backends: Weak<Backends<P>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some((leases, backends)) = leases.upgrade().zip(backends.upgrade()) else {
            return;
        };
        let now = Instant::now();
        backends.refresh(now);
        leases.wake_waiting();
        if !leases.expire(now) {
            return;
        }
    }
}

impl<P: Protocol> Drop for Leases<P> {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut() {
            keeper.abort();
        }
        // Each idle one refers to its server's leases, which would never go.
        for server_leases in &self.servers {
            drop(server_leases.idle.take());
            drop(server_leases.bypassing.take());
        }
    }
}

impl<P: Protocol> ServerLeases<P> {
    fn conn(
        self: &Rc<Self>,
        profile: ConnProfile,
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
    ) -> Result<DedicatedConn<P>, LeaseError> {
        if let Some(idle) = self.reuse(profile) {
            return Ok(idle);
        }
        // There is no pause between attempts: a client may come the moment its server is back. One that refuses costs
        // little; one that hangs is waited for by one client at a time.
        if let Some(error @ UpstreamError::TimedOut) = self.connects.failing()
            && self.connects.is_under_way()
        {
            return Err(LeaseError::Down(error));
        }
        if self.open.get() >= self.most && !self.close_one() {
            self.server.cells.bump(ServerMetric::LeasesRefused);
            return Err(LeaseError::Exhausted(self.most));
        }
        let permit = LeasePermit::new(self);
        self.open(profile, flow, context, Some(permit))
    }

    fn open(
        &self,
        profile: ConnProfile,
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
        lease_permit: Option<LeasePermit<P>>,
    ) -> Result<DedicatedConn<P>, LeaseError> {
        if !context.conn_limit.has_room() && !self.close_one() {
            self.server.cells.bump(ServerMetric::LeasesRefused);
            return Err(LeaseError::NoRoom(context.conn_limit.limit()));
        }
        let upstream = UpstreamConn::dedicated(Rc::clone(&self.server), profile, flow);
        let upstream = Rc::new(upstream);
        let driver = drive_once(
            Rc::clone(&upstream),
            Rc::clone(context),
            ConnectGuard::begin(&self.connects),
        );
        Ok(DedicatedConn {
            upstream,
            driver: spawn_local(driver),
            lease_permit,
            _conn_permit: context.conn_limit.take(),
        })
    }

    /// An idle connection of this profile with nothing in flight.
    fn reuse(&self, profile: ConnProfile) -> Option<DedicatedConn<P>> {
        let mut lost = Vec::new();
        let found = {
            let mut idle = self.idle.borrow_mut();
            lost.extend(idle.extract_if(.., |idle| idle.conn.upstream.is_lost()));
            let fits = |idle: &Idle<P>| {
                let upstream = &idle.conn.upstream;
                upstream.profile == profile && upstream.is_idle()
            };
            let at = idle.iter().rposition(fits);
            at.map(|at| idle.swap_remove(at))
        };
        drop(lost);
        found.map(|idle| idle.conn)
    }

    /// The connection of this profile for requests that bypass the queue.
    fn bypass(
        &self,
        profile: ConnProfile,
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
    ) -> Result<Rc<UpstreamConn<P>>, UpstreamError> {
        let fits =
            |conn: &&DedicatedConn<P>| conn.upstream.profile == profile && !conn.upstream.is_lost();
        if let Some(conn) = self.bypassing.borrow().iter().find(fits) {
            return Ok(Rc::clone(&conn.upstream));
        }
        let conn = self
            .open(profile, flow, context, None)
            .map_err(|_| UpstreamError::NO_FILES)?;
        let upstream = Rc::clone(&conn.upstream);
        let lost: Vec<_> = {
            let mut bypassing = self.bypassing.borrow_mut();
            let lost = bypassing.extract_if(.., |conn| conn.upstream.is_lost());
            lost.collect()
        };
        drop(lost);
        self.bypassing.borrow_mut().push(conn);
        Ok(upstream)
    }

    /// Closes an idle connection to make room. Returns true if there was one.
    fn close_one(&self) -> bool {
        let closed = {
            let mut idle = self.idle.borrow_mut();
            let at = idle.iter().position(|idle| idle.conn.upstream.is_idle());
            at.map(|at| idle.swap_remove(at))
        };
        closed.is_some()
    }
}

impl<P: Protocol> LeasePermit<P> {
    fn new(server_leases: &Rc<ServerLeases<P>>) -> Self {
        server_leases.open.set(server_leases.open.get() + 1);
        Self(Rc::clone(server_leases))
    }
}

impl<P: Protocol> Drop for LeasePermit<P> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl<P: Protocol> DedicatedConn<P> {
    /// Returns true if it has answered everything.
    fn is_over(&self) -> bool {
        self.upstream.is_lost() || self.upstream.is_idle()
    }
}

impl<P: Protocol> Idle<P> {
    fn is_over(&self, now: Instant) -> bool {
        let upstream = &self.conn.upstream;
        let is_unwanted = now.saturating_duration_since(self.since) > KEEP;
        upstream.is_lost() || upstream.is_idle() && is_unwanted
    }
}

impl<P: Protocol> Lease<P> {
    pub(crate) fn upstream(&self) -> Option<&Rc<UpstreamConn<P>>> {
        self.conn.as_ref().map(|conn| &conn.upstream)
    }

    /// Returns true if what its server remembers is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.upstream().is_none_or(|upstream| upstream.is_lost())
    }

    /// Gives it back as its handshake left it: others may have it when all that is in flight is answered.
    pub(crate) fn release(mut self) {
        if let Some(conn) = self.conn.take()
            && !conn.upstream.is_lost()
        {
            let since = Instant::now();
            self.server_leases
                .idle
                .borrow_mut()
                .push(Idle { conn, since });
        }
    }
}

impl<P: Protocol> Drop for Lease<P> {
    fn drop(&mut self) {
        self.server_leases
            .server
            .cells
            .drop_one(ServerMetric::Leases);
    }
}

impl<P: Protocol> Drop for DedicatedConn<P> {
    fn drop(&mut self) {
        self.driver.abort();
        drop(self.lease_permit.take());
        // Whatever is still in flight answers now, and not while its queue is torn down.
        self.upstream.fail_for_good(UpstreamError::Dropped);
    }
}
