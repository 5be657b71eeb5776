//! Dedicated connections: each serves one client for a while.
//!
//! ```text
//! session --acquire--> Lease --release--> idle --acquire--> ...      the connection is as its handshake left it
//!                        |                  +--after a while--> closed
//!                        +--drop--> closed                           its server-side state is unknown
//! SCRIPT KILL --bypass--> closed once it is answered                 past the queue of a busy server
//! ```
//!
//! Invariants: a server has no more leases than the pool allows, idle ones included; requests that bypass have an
//! additional connection, one for each server and profile; the process has no more of both than it has file descriptors
//! for; a lease whose connection is lost is never reconnected, since its server-side state is lost with it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

use crate::net::ConnPermit;
use crate::protocol::{ConnProfile, Protocol, UpstreamError};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::connect_guard::{ConnectGuard, ConnectState};
use crate::proxy::upstream::driver::drive_once;
use crate::proxy::upstream::failover::Failover;
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::stats::ServerMetric;
use crate::topology::{KeyHashes, ServerId};

/// Idle timeout of a connection.
const KEEP: Duration = Duration::from_secs(5);

/// The time for requests in flight on a connection that is not needed any more, in a pool without a `timeout`.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Interval at which such a connection is checked.
const CLOSE_TICK: Duration = Duration::from_millis(20);

/// The leases on one server.
#[derive(Debug)]
pub(crate) struct ServerLeases<P: Protocol> {
    server: Rc<Server<P>>,
    most: Cell<usize>,
    /// Number of leases, idle ones included.
    open: Cell<usize>,
    idle: RefCell<Vec<Idle<P>>>,
    /// Those in use, and some that were.
    in_use: RefCell<Vec<Weak<UpstreamConn<P>>>>,
    /// Connections for requests that bypass the queue, at most one for each profile.
    bypassing: RefCell<Vec<DedicatedConn<P>>>,
    connects: Rc<ConnectState>,
    /// The server has left the pool: what is given back is closed.
    closed: Cell<bool>,
}

/// An idle connection for the next client.
#[derive(Debug)]
struct Idle<P: Protocol> {
    conn: DedicatedConn<P>,
    since: Instant,
}

/// A permit for one of the leases of a server.
#[derive(Debug)]
struct LeasePermit<P: Protocol>(Rc<ServerLeases<P>>);

/// A connection, closed when it is dropped.
#[derive(Debug)]
struct DedicatedConn<P: Protocol> {
    upstream: Rc<UpstreamConn<P>>,
    driver: JoinHandle<()>,
    /// `None` for one that bypasses the queue.
    lease_permit: Option<LeasePermit<P>>,
    /// How often its server had refused requests before it was opened.
    refusals: u64,
    _conn_permit: ConnPermit,
}

/// A dedicated connection in use by one client. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Lease<P: Protocol> {
    conn: Option<DedicatedConn<P>>,
    server_leases: Rc<ServerLeases<P>>,
}

/// The reason why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseError {
    /// The limit of leases on a server, all in use.
    Exhausted(usize),
    /// The number of clients and leases with file descriptors, all in use.
    NoRoom(usize),
    /// The last attempt to connect timed out, and the one in progress has not succeeded yet.
    Down(UpstreamError),
}

impl<P: Protocol> ServerLeases<P> {
    /// Allows at most `most` leases on `server`. None is opened yet.
    pub(crate) fn new(server: &Rc<Server<P>>, most: usize) -> Self {
        Self {
            server: Rc::clone(server),
            most: Cell::new(most),
            open: Cell::new(0),
            idle: RefCell::default(),
            in_use: RefCell::default(),
            bypassing: RefCell::default(),
            connects: Rc::default(),
            closed: Cell::new(false),
        }
    }

    /// Changes the limit of leases. Those above a lower limit end when their clients release them.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.set(most);
    }

    /// Acquires a connection in a profile, in the state after its handshake.
    pub(crate) fn acquire(
        self: &Rc<Self>,
        profile: ConnProfile,
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
    ) -> Result<Lease<P>, LeaseError> {
        let conn = self.conn(profile, flow, context)?;
        if let Some(dedicated) = conn.upstream.dedicated.as_deref() {
            dedicated.waits_for.take();
        }
        self.server.cells.bump(ServerMetric::Leases);
        let mut in_use = self.in_use.borrow_mut();
        let conn_ref = Rc::downgrade(&conn.upstream);
        in_use.retain(|upstream| upstream.strong_count() > 0 && !upstream.ptr_eq(&conn_ref));
        in_use.push(conn_ref);
        drop(in_use);
        Ok(Lease {
            conn: Some(conn),
            server_leases: Rc::clone(self),
        })
    }

    /// Closes idle connections that have not been used for a while. Returns true if anything is still open.
    pub(crate) fn expire(&self, now: Instant) -> bool {
        let is_over = |idle: &mut Idle<P>| idle.is_over(now);
        let idle: Vec<_> = self.idle.borrow_mut().extract_if(.., is_over).collect();
        let answered: Vec<_> = self
            .bypassing
            .borrow_mut()
            .extract_if(.., |conn| conn.is_over())
            .collect();
        drop((idle, answered));
        self.open.get() > 0 || !self.bypassing.borrow().is_empty()
    }

    /// Closes all that no client has, and later what they give back. An idle connection refers to these leases, which
    /// would never be dropped otherwise.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        // Their drivers learn of the server's last timeout.
        self.busy()
            .iter()
            .for_each(|upstream| upstream.wake_driver());
        for idle in self.idle.take() {
            idle.conn.close_when_idle();
        }
        for conn in self.bypassing.take() {
            conn.close_when_idle();
        }
    }

    /// All connections, also idle ones, and those that are being closed.
    pub(crate) fn conns(&self) -> Vec<Rc<UpstreamConn<P>>> {
        let in_use = self.in_use.borrow();
        let bypassing = self.bypassing.borrow();
        let bypassing = bypassing.iter().map(|conn| Rc::clone(&conn.upstream));
        let leased = in_use.iter().filter_map(Weak::upgrade);
        leased
            .filter(|upstream| !upstream.is_lost())
            .chain(bypassing)
            .collect()
    }

    /// The connections in use with requests in flight.
    fn busy(&self) -> Vec<Rc<UpstreamConn<P>>> {
        let in_use = self.in_use.borrow();
        let in_use = in_use.iter().filter_map(Weak::upgrade);
        in_use.filter(|upstream| !upstream.is_idle()).collect()
    }

    /// Returns true if no client waits for a reply on a leased connection.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy().is_empty()
    }

    /// Fails what is still in flight on leased connections.
    pub(crate) fn fail_busy(&self) {
        for upstream in self.busy() {
            upstream.fail_for_good(UpstreamError::TimedOut);
        }
    }

    fn conn(
        self: &Rc<Self>,
        profile: ConnProfile,
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
    ) -> Result<DedicatedConn<P>, LeaseError> {
        if let Some(idle) = self.reuse(profile) {
            return Ok(idle);
        }
        // There is no back-off between attempts: a client may arrive the moment its server is back. A server that
        // refuses costs little; for one that hangs, one client at a time waits. Who waits for a primary takes turns.
        if let Some(error @ UpstreamError::TimedOut) = self.connects.failing()
            && self.connects.is_under_way()
            && self.server.failover.is_none()
        {
            return Err(LeaseError::Down(error));
        }
        let most = self.most.get();
        if self.open.get() >= most && !self.close_one() {
            self.server.cells.bump(ServerMetric::LeasesRefused);
            return Err(LeaseError::Exhausted(most));
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
            refusals: refusals_of(&upstream),
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
            lost.extend(idle.extract_if(.., |idle| idle.conn.is_useless()));
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

    /// The connection of this profile for requests that bypass the queue, and for nothing else: a server that is busy
    /// does not reply to CLIENT ID, so no client may block on it. Closed when all is answered. It does not count as a
    /// lease: SCRIPT KILL is needed most when clients wait behind the script.
    pub(crate) fn bypass(
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
        if let Some(dedicated) = upstream.dedicated.as_deref() {
            // For no key.
            dedicated.waits_for.replace(Some(KeyHashes::default()));
        }
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
    /// Closes it once what is in flight is answered, at the latest when that would time out.
    fn close_when_idle(self) {
        if self.is_over() {
            return;
        }
        let timeout = self.upstream.server.timeout.get();
        let end = Instant::now() + timeout.unwrap_or(CLOSE_WITHIN);
        spawn_local(async move {
            while !self.is_over() && Instant::now() < end {
                sleep(CLOSE_TICK).await;
            }
        });
    }

    /// Returns true if no other client can use it: it is lost, or its server has refused requests since it was opened, and was no
    /// primary then.
    fn is_useless(&self) -> bool {
        let is_idle = self.upstream.is_idle();
        self.upstream.is_lost() || is_idle && self.refusals != refusals_of(&self.upstream)
    }

    /// Returns true if no request is pending.
    fn is_over(&self) -> bool {
        self.upstream.is_lost() || self.upstream.is_idle()
    }
}

impl<P: Protocol> Idle<P> {
    fn is_over(&self, now: Instant) -> bool {
        let upstream = &self.conn.upstream;
        let is_expired = now.saturating_duration_since(self.since) > KEEP;
        self.conn.is_useless() || upstream.is_idle() && is_expired
    }
}

impl<P: Protocol> Lease<P> {
    /// The server that it is a connection to.
    pub(crate) fn server(&self) -> ServerId {
        self.server_leases.server.id()
    }

    pub(crate) fn upstream(&self) -> Option<&Rc<UpstreamConn<P>>> {
        self.conn.as_ref().map(|conn| &conn.upstream)
    }

    /// A connection to the same server past the queue of the shared one. See [`ServerLeases::bypass`].
    pub(crate) fn bypass(
        &self,
        profile: ConnProfile,
        context: &Rc<WorkerContext>,
    ) -> Option<Rc<UpstreamConn<P>>> {
        let leases = &self.server_leases;
        leases.bypass(profile, context.flow, context).ok()
    }

    /// Returns true if its server-side state is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.upstream().is_none_or(|upstream| upstream.is_lost())
    }

    /// Releases the connection in the state after its handshake: it is reused once nothing is in flight.
    pub(crate) fn release(mut self) {
        let leases = &self.server_leases;
        let conn = self.conn.take();
        let Some(conn) = conn.filter(|conn| !conn.is_useless()) else {
            return;
        };
        if leases.closed.get() || leases.open.get() > leases.most.get() {
            conn.close_when_idle();
        } else {
            let since = Instant::now();
            leases.idle.borrow_mut().push(Idle { conn, since });
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
        // Requests in flight fail now, and not while the queue is dropped.
        self.upstream.fail_for_good(UpstreamError::Dropped);
    }
}

/// How often the server of a connection has refused requests.
fn refusals_of<P: Protocol>(upstream: &UpstreamConn<P>) -> u64 {
    let failover = upstream.server.failover.as_ref();
    failover.map_or(0, Failover::refusals)
}
