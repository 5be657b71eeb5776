//! Connections that one client has for itself for a while.
//!
//! ```text
//! session --acquire--> Lease --release--> idle --acquire--> ...      the connection is as its greeting left it
//!                        |                  +--after a while--> closed
//!                        +--drop--> closed                           nobody knows what its server remembers
//! a request that overtakes --beside--> closed once it is answered
//! ```
//!
//! Invariants: a server has no more of them than the pool allows, and the process no more than it has file descriptors
//! for, idle ones counted; a lease whose connection is lost is
//! never connected again, since what its server remembered is lost with it.

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
use crate::proxy::upstream::connect_guard::ConnectGuard;
use crate::proxy::upstream::connect_guard::ConnectState;
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
    open: Cell<usize>,
    idle: RefCell<Vec<Idle<P>>>,
    connects: Rc<ConnectState>,
}

#[derive(Debug)]
struct Idle<P: Protocol> {
    conn: LeasedConn<P>,
    /// Since when it is free for the next; `None` where nobody is to have it.
    since: Option<Instant>,
}

/// A connection, closed when it is dropped.
#[derive(Debug)]
struct LeasedConn<P: Protocol> {
    upstream: Rc<UpstreamConn<P>>,
    driver: JoinHandle<()>,
    server_leases: Rc<ServerLeases<P>>,
    _place: ConnPermit,
}

/// A connection in the hands of one client. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Lease<P: Protocol> {
    conn: Option<LeasedConn<P>>,
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
                connects: Rc::default(),
            })
        };
        Rc::new(Self {
            servers: servers.iter().map(server_leases).collect(),
            waiting: RefCell::default(),
            keeper: RefCell::new(None),
        })
    }

    /// A connection to the server of this index in a lane, as its greeting leaves it.
    pub(crate) fn acquire(
        self: &Rc<Self>,
        backends: &Rc<Backends<P>>,
        server: ServerId,
        profile: ConnProfile,
    ) -> Result<Lease<P>, LeaseError> {
        let server_leases = self.servers.get(server.index());
        let server_leases = server_leases.ok_or(LeaseError::Down(UpstreamError::Ejected))?;
        let opened = server_leases.conn(profile, backends.flow, &backends.context)?;
        server_leases.server.cells.bump(ServerMetric::Leases);
        self.keep(backends);
        Ok(Lease {
            conn: Some(opened),
            server_leases: Rc::clone(server_leases),
        })
    }

    /// A connection to the server of this index for requests that are queued at once, and for nothing else: a server that is
    /// busy does not say who it is, so no client may wait on it. It is closed when all is answered.
    pub(crate) fn bypass(
        self: &Rc<Self>,
        backends: &Rc<Backends<P>>,
        server: ServerId,
        profile: ConnProfile,
    ) -> Result<Rc<UpstreamConn<P>>, LeaseError> {
        let server_leases = self.servers.get(server.index());
        let server_leases = server_leases.ok_or(LeaseError::Down(UpstreamError::Ejected))?;
        if let Some(upstream) = server_leases.bypass(profile) {
            return Ok(upstream);
        }
        let opened = server_leases.open(profile, backends.flow, &backends.context)?;
        let upstream = Rc::clone(&opened.upstream);
        server_leases.idle.borrow_mut().push(Idle {
            conn: opened,
            since: None,
        });
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

    /// Closes what nobody has wanted for a while. Returns whether anything is still open.
    fn expire(&self, now: Instant) -> bool {
        let mut expired = Vec::new();
        for server_leases in &self.servers {
            let mut idle = server_leases.idle.borrow_mut();
            expired.extend(idle.extract_if(.., |idle| idle.is_over(now)));
        }
        drop(expired);
        self.servers
            .iter()
            .any(|server_leases| server_leases.open.get() > 0)
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
        // Each knows its desk, which would never go.
        for server_leases in &self.servers {
            drop(server_leases.idle.take());
        }
    }
}

impl<P: Protocol> ServerLeases<P> {
    fn conn(
        self: &Rc<Self>,
        profile: ConnProfile,
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
    ) -> Result<LeasedConn<P>, LeaseError> {
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
        self.open(profile, flow, context)
    }

    fn open(
        self: &Rc<Self>,
        profile: ConnProfile,
        flow: FlowLimits,
        context: &Rc<WorkerContext>,
    ) -> Result<LeasedConn<P>, LeaseError> {
        if self.open.get() >= self.most && !self.close_one() {
            self.server.cells.bump(ServerMetric::LeasesRefused);
            return Err(LeaseError::Exhausted(self.most));
        }
        if !context.conn_limit.has_room() && !self.close_one() {
            self.server.cells.bump(ServerMetric::LeasesRefused);
            return Err(LeaseError::NoRoom(context.conn_limit.limit()));
        }
        self.open.set(self.open.get() + 1);
        let upstream = Rc::new(UpstreamConn::dedicated(
            Rc::clone(&self.server),
            profile,
            flow,
        ));
        let driver = drive_once(
            Rc::clone(&upstream),
            Rc::clone(context),
            ConnectGuard::begin(&self.connects),
        );
        Ok(LeasedConn {
            upstream,
            driver: spawn_local(driver),
            server_leases: Rc::clone(self),
            _place: context.conn_limit.take(),
        })
    }

    /// An idle connection of this lane that owes nothing.
    fn reuse(&self, profile: ConnProfile) -> Option<LeasedConn<P>> {
        let mut lost = Vec::new();
        let found = {
            let mut idle = self.idle.borrow_mut();
            lost.extend(idle.extract_if(.., |idle| idle.conn.upstream.is_lost()));
            let fits = |idle: &Idle<P>| {
                let upstream = &idle.conn.upstream;
                idle.since.is_some() && upstream.profile == profile && upstream.is_idle()
            };
            let at = idle.iter().rposition(fits);
            at.map(|at| idle.swap_remove(at))
        };
        drop(lost);
        found.map(|idle| idle.conn)
    }

    /// One of this lane that nobody is to have, and that is not closed yet.
    fn bypass(&self, profile: ConnProfile) -> Option<Rc<UpstreamConn<P>>> {
        let idle = self.idle.borrow();
        let fits = |idle: &&Idle<P>| {
            let upstream = &idle.conn.upstream;
            idle.since.is_none() && upstream.profile == profile && !upstream.is_lost()
        };
        idle.iter()
            .find(fits)
            .map(|idle| Rc::clone(&idle.conn.upstream))
    }

    /// Closes an idle connection to make room. Returns whether there was one.
    fn close_one(&self) -> bool {
        let closed = {
            let mut idle = self.idle.borrow_mut();
            let at = idle.iter().position(|idle| idle.conn.upstream.is_idle());
            at.map(|at| idle.swap_remove(at))
        };
        closed.is_some()
    }
}

impl<P: Protocol> Idle<P> {
    fn is_over(&self, now: Instant) -> bool {
        let upstream = &self.conn.upstream;
        let is_unwanted = self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) > KEEP);
        upstream.is_lost() || upstream.is_idle() && is_unwanted
    }
}

impl<P: Protocol> Lease<P> {
    pub(crate) fn upstream(&self) -> Option<&Rc<UpstreamConn<P>>> {
        self.conn.as_ref().map(|line| &line.upstream)
    }

    /// Whether what its server remembers is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.upstream().is_none_or(|upstream| upstream.is_lost())
    }

    /// Gives it back as its greeting left it: others may have it when all that is in flight is answered.
    pub(crate) fn release(mut self) {
        if let Some(line) = self.conn.take()
            && !line.upstream.is_lost()
        {
            let since = Some(Instant::now());
            self.server_leases
                .idle
                .borrow_mut()
                .push(Idle { conn: line, since });
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

impl<P: Protocol> Drop for LeasedConn<P> {
    fn drop(&mut self) {
        self.driver.abort();
        self.server_leases
            .open
            .set(self.server_leases.open.get() - 1);
        // Whatever is still in flight answers now, and not while its queue is torn down.
        self.upstream.fail_for_good(UpstreamError::Dropped);
    }
}
