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

use crate::net::Place;
use crate::protocol::{Fault, Lane, Protocol};
use crate::proxy::pool::{LocalPool, Target};
use crate::proxy::replies::queue::Pipeline;
use crate::proxy::upstream::conn::Upstream;
use crate::proxy::upstream::driver::drive_once;
use crate::proxy::worker::context::Commons;
use crate::proxy::worker::limits::FlowLimits;
use crate::stats::ServerMetric;

/// How often idle connections are looked through, and sessions that wait are told to look around.
const TICK: Duration = Duration::from_secs(1);

/// How long a connection that nobody wants is kept.
const KEEP: Duration = Duration::from_secs(5);

/// All the leases of one worker in one pool.
#[derive(Debug)]
pub(crate) struct Leases<P: Protocol> {
    servers: Vec<Rc<Desk<P>>>,
    /// Sessions that wait for a server, by their number.
    waiting: RefCell<FnvHashMap<usize, Weak<Pipeline>>>,
    keeper: RefCell<Option<JoinHandle<()>>>,
}

/// The leases on one server.
#[derive(Debug)]
pub(crate) struct Desk<P: Protocol> {
    pub(crate) target: Rc<Target<P>>,
    most: usize,
    open: Cell<usize>,
    idle: RefCell<Vec<Idle<P>>>,
    /// How the last attempt to connect failed; `None` where it did not.
    failing: Cell<Option<Fault>>,
    /// Attempts to connect that are under way.
    attempts: Cell<usize>,
}

/// An attempt to connect, counted as long as it lasts.
#[derive(Debug)]
pub(crate) struct Attempt<P: Protocol>(Rc<Desk<P>>);

#[derive(Debug)]
struct Idle<P: Protocol> {
    line: Line<P>,
    /// Since when it is free for the next; `None` where nobody is to have it.
    since: Option<Instant>,
}

/// A connection, closed when it is dropped.
#[derive(Debug)]
struct Line<P: Protocol> {
    upstream: Rc<Upstream<P>>,
    driver: JoinHandle<()>,
    desk: Rc<Desk<P>>,
    _place: Place,
}

/// A connection in the hands of one client. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Lease<P: Protocol> {
    line: Option<Line<P>>,
    desk: Rc<Desk<P>>,
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// So many are in use, and no more are allowed.
    Exhausted(usize),
    /// There are file descriptors for so many clients and leases, and all are in use.
    NoRoom(usize),
    /// The server did not answer the last attempt to connect in time, nor yet the one that is under way.
    Down(Fault),
}

impl<P: Protocol> Leases<P> {
    /// At most `most` for each of the servers.
    pub(crate) fn new(targets: &[Rc<Target<P>>], most: usize) -> Self {
        let desk = |target: &Rc<Target<P>>| {
            Rc::new(Desk {
                target: Rc::clone(target),
                most,
                open: Cell::new(0),
                idle: RefCell::default(),
                failing: Cell::new(None),
                attempts: Cell::new(0),
            })
        };
        Self {
            servers: targets.iter().map(desk).collect(),
            waiting: RefCell::default(),
            keeper: RefCell::new(None),
        }
    }

    /// A connection to the server of this index in a lane, as its greeting leaves it.
    pub(crate) fn acquire(
        &self,
        pool: &Rc<LocalPool<P>>,
        server: usize,
        lane: Lane,
    ) -> Result<Lease<P>, Denied> {
        let desk = self.servers.get(server);
        let desk = desk.ok_or(Denied::Down(Fault::Ejected))?;
        let opened = desk.line(lane, pool.flow, &pool.commons)?;
        desk.target.cells.bump(ServerMetric::Leases);
        self.keep(pool);
        Ok(Lease {
            line: Some(opened),
            desk: Rc::clone(desk),
        })
    }

    /// A connection to the server of this index for requests that are queued at once, and for nothing else: a server that is
    /// busy does not say who it is, so no client may wait on it. It is closed when all is answered.
    pub(crate) fn beside(
        &self,
        pool: &Rc<LocalPool<P>>,
        server: usize,
        lane: Lane,
    ) -> Result<Rc<Upstream<P>>, Denied> {
        let desk = self.servers.get(server);
        let desk = desk.ok_or(Denied::Down(Fault::Ejected))?;
        if let Some(upstream) = desk.beside(lane) {
            return Ok(upstream);
        }
        let opened = desk.open(lane, pool.flow, &pool.commons)?;
        let upstream = Rc::clone(&opened.upstream);
        desk.idle.borrow_mut().push(Idle {
            line: opened,
            since: None,
        });
        self.keep(pool);
        Ok(upstream)
    }

    /// Notes that a session waits for a server: it is polled now and then, to see whether the world is still the same.
    pub(crate) fn wait(&self, session: usize, pipeline: &Rc<Pipeline>) {
        let pipeline = Rc::downgrade(pipeline);
        self.waiting.borrow_mut().insert(session, pipeline);
    }

    pub(crate) fn wait_no_more(&self, session: usize) {
        self.waiting.borrow_mut().remove(&session);
    }

    /// Starts the task that looks after what is open, unless it runs.
    fn keep(&self, pool: &Rc<LocalPool<P>>) {
        let mut keeper = self.keeper.borrow_mut();
        if keeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *keeper = Some(spawn_local(keep(Rc::downgrade(pool))));
        }
    }

    /// Closes what nobody has wanted for a while. Returns whether anything is still open.
    fn expire(&self, now: Instant) -> bool {
        let mut expired = Vec::new();
        for desk in &self.servers {
            let mut idle = desk.idle.borrow_mut();
            expired.extend(idle.extract_if(.., |idle| idle.is_over(now)));
        }
        drop(expired);
        self.servers.iter().any(|desk| desk.open.get() > 0)
    }

    fn nudge(&self) {
        let waiting: Vec<_> = self
            .waiting
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for pipeline in waiting {
            pipeline.nudge();
        }
    }
}

/// Runs as long as connections are open.
async fn keep<P: Protocol>(pool: Weak<LocalPool<P>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        pool.refresh(now);
        pool.leases.nudge();
        if !pool.leases.expire(now) {
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
        for desk in &self.servers {
            drop(desk.idle.take());
        }
    }
}

impl<P: Protocol> Desk<P> {
    fn line(
        self: &Rc<Self>,
        lane: Lane,
        flow: FlowLimits,
        commons: &Rc<Commons>,
    ) -> Result<Line<P>, Denied> {
        if let Some(idle) = self.reuse(lane) {
            return Ok(idle);
        }
        // There is no pause between attempts: a client may come the moment its server is back. One that refuses costs
        // little; one that hangs is waited for by one client at a time.
        if let Some(fault @ Fault::TimedOut) = self.failing.get()
            && self.attempts.get() > 0
        {
            return Err(Denied::Down(fault));
        }
        self.open(lane, flow, commons)
    }

    fn open(
        self: &Rc<Self>,
        lane: Lane,
        flow: FlowLimits,
        commons: &Rc<Commons>,
    ) -> Result<Line<P>, Denied> {
        if self.open.get() >= self.most && !self.close_one() {
            self.target.cells.bump(ServerMetric::LeasesRefused);
            return Err(Denied::Exhausted(self.most));
        }
        if !commons.places.have_room() && !self.close_one() {
            self.target.cells.bump(ServerMetric::LeasesRefused);
            return Err(Denied::NoRoom(commons.places.limit()));
        }
        self.open.set(self.open.get() + 1);
        let upstream = Rc::new(Upstream::exclusive(Rc::clone(&self.target), lane, flow));
        let driver = drive_once(Rc::clone(&upstream), Rc::clone(commons), self.attempt());
        Ok(Line {
            upstream,
            driver: spawn_local(driver),
            desk: Rc::clone(self),
            _place: commons.places.take(),
        })
    }

    /// An idle connection of this lane that owes nothing.
    fn reuse(&self, lane: Lane) -> Option<Line<P>> {
        let mut lost = Vec::new();
        let found = {
            let mut idle = self.idle.borrow_mut();
            lost.extend(idle.extract_if(.., |idle| idle.line.upstream.is_lost()));
            let fits = |idle: &Idle<P>| {
                let upstream = &idle.line.upstream;
                idle.since.is_some() && upstream.lane == lane && upstream.is_quiet()
            };
            let at = idle.iter().rposition(fits);
            at.map(|at| idle.swap_remove(at))
        };
        drop(lost);
        found.map(|idle| idle.line)
    }

    /// One of this lane that nobody is to have, and that is not closed yet.
    fn beside(&self, lane: Lane) -> Option<Rc<Upstream<P>>> {
        let idle = self.idle.borrow();
        let fits = |idle: &&Idle<P>| {
            let upstream = &idle.line.upstream;
            idle.since.is_none() && upstream.lane == lane && !upstream.is_lost()
        };
        idle.iter()
            .find(fits)
            .map(|idle| Rc::clone(&idle.line.upstream))
    }

    /// Closes an idle connection to make room. Returns whether there was one.
    fn close_one(&self) -> bool {
        let closed = {
            let mut idle = self.idle.borrow_mut();
            let at = idle.iter().position(|idle| idle.line.upstream.is_quiet());
            at.map(|at| idle.swap_remove(at))
        };
        closed.is_some()
    }

    /// An attempt to connect begins.
    fn attempt(self: &Rc<Self>) -> Attempt<P> {
        self.attempts.set(self.attempts.get() + 1);
        Attempt(Rc::clone(self))
    }
}

impl<P: Protocol> Attempt<P> {
    /// It failed. Returns whether it was the first.
    pub(crate) fn fail(self, fault: Fault) -> bool {
        self.0.failing.replace(Some(fault)).is_none()
    }

    pub(crate) fn succeed(self) {
        self.0.failing.set(None);
    }
}

impl<P: Protocol> Drop for Attempt<P> {
    fn drop(&mut self) {
        self.0.attempts.set(self.0.attempts.get() - 1);
    }
}

impl<P: Protocol> Idle<P> {
    fn is_over(&self, now: Instant) -> bool {
        let upstream = &self.line.upstream;
        let is_unwanted = self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) > KEEP);
        upstream.is_lost() || upstream.is_quiet() && is_unwanted
    }
}

impl<P: Protocol> Lease<P> {
    pub(crate) fn upstream(&self) -> Option<&Rc<Upstream<P>>> {
        self.line.as_ref().map(|line| &line.upstream)
    }

    /// Whether what its server remembers is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.upstream().is_none_or(|upstream| upstream.is_lost())
    }

    /// Gives it back as its greeting left it: others may have it when all that is in flight is answered.
    pub(crate) fn release(mut self) {
        if let Some(line) = self.line.take()
            && !line.upstream.is_lost()
        {
            let since = Some(Instant::now());
            self.desk.idle.borrow_mut().push(Idle { line, since });
        }
    }
}

impl<P: Protocol> Drop for Lease<P> {
    fn drop(&mut self) {
        self.desk.target.cells.drop_one(ServerMetric::Leases);
    }
}

impl<P: Protocol> Drop for Line<P> {
    fn drop(&mut self) {
        self.driver.abort();
        self.desk.open.set(self.desk.open.get() - 1);
        // Whatever is still in flight answers now, and not while its queue is torn down.
        self.upstream.lose(Fault::Dropped);
    }
}

/// A place in the gauge of open connections.
#[derive(Debug)]
pub(crate) struct Counted<P: Protocol>(Rc<Target<P>>);

impl<P: Protocol> Counted<P> {
    pub(crate) fn new(target: &Rc<Target<P>>) -> Self {
        target.cells.bump(ServerMetric::ServerConnections);
        Self(Rc::clone(target))
    }
}

impl<P: Protocol> Drop for Counted<P> {
    fn drop(&mut self) {
        self.0.cells.drop_one(ServerMetric::ServerConnections);
    }
}
