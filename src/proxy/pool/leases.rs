//! The leases of one worker in one pool: the sessions that wait on them, and the task that closes idle ones.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use fnv::FnvHashMap;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::protocol::{ConnProfile, Protocol, UpstreamError};
use crate::proxy::pool::backends::Backends;
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::pool::handle::ServerHandle;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::worker::context::WorkerContext;

/// Interval at which idle connections are checked, and blocked sessions woken to check whether their keys have moved.
const TICK: Duration = Duration::from_secs(1);

/// All the leases of one worker in one pool.
#[derive(Debug)]
pub(crate) struct Leases<P: Protocol> {
    backends: Rc<Backends<P>>,
    context: Rc<WorkerContext>,
    /// Blocked sessions, by their number.
    waiting: RefCell<FnvHashMap<usize, Weak<ReplyQueue>>>,
    keeper: RefCell<Option<JoinHandle<()>>>,
}

impl<P: Protocol> Leases<P> {
    pub(crate) fn new(backends: &Rc<Backends<P>>, context: &Rc<WorkerContext>) -> Rc<Self> {
        Rc::new(Self {
            backends: Rc::clone(backends),
            context: Rc::clone(context),
            waiting: RefCell::default(),
            keeper: RefCell::new(None),
        })
    }

    /// A dedicated connection to a server in a profile. See [`ServerLeases::acquire`].
    ///
    /// [`ServerLeases::acquire`]: crate::proxy::pool::dedicated::ServerLeases::acquire
    pub(crate) fn acquire(
        self: &Rc<Self>,
        server: &ServerHandle<P>,
        profile: ConnProfile,
    ) -> Result<Lease<P>, LeaseError> {
        let lease = server
            .leases
            .acquire(profile, self.context.flow, &self.context)?;
        self.keep();
        Ok(lease)
    }

    /// A connection to a server past the queue of the shared one. See [`ServerLeases::bypass`].
    ///
    /// [`ServerLeases::bypass`]: crate::proxy::pool::dedicated::ServerLeases::bypass
    pub(crate) fn bypass(
        self: &Rc<Self>,
        server: &ServerHandle<P>,
        profile: ConnProfile,
    ) -> Result<Rc<UpstreamConn<P>>, UpstreamError> {
        let upstream = server
            .leases
            .bypass(profile, self.context.flow, &self.context)?;
        self.keep();
        Ok(upstream)
    }

    /// Registers a blocked session: it is polled every second, since its keys may have moved to another server.
    pub(crate) fn wait(&self, session: usize, replies: &Rc<ReplyQueue>) {
        let replies = Rc::downgrade(replies);
        self.waiting.borrow_mut().insert(session, replies);
    }

    pub(crate) fn wait_no_more(&self, session: usize) {
        self.waiting.borrow_mut().remove(&session);
    }

    /// Starts the task that closes idle connections, unless it runs.
    fn keep(self: &Rc<Self>) {
        let mut keeper = self.keeper.borrow_mut();
        if keeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *keeper = Some(spawn_local(keep(Rc::downgrade(self))));
        }
    }

    /// Closes connections past their idle timeout. Returns true if any is still open.
    fn expire(&self, now: Instant) -> bool {
        let view = self.backends.view();
        view.servers()
            .fold(false, |any, (_, server)| server.leases.expire(now) || any)
    }

    /// Has blocked sessions check whether their keys have moved.
    pub(crate) fn wake_waiting(&self) {
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

/// Closes idle connections and wakes blocked sessions, as long as there are any. The server of one may have left the pool.
async fn keep<P: Protocol>(leases: Weak<Leases<P>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(leases) = leases.upgrade() else {
            return;
        };
        let now = Instant::now();
        leases.backends.refresh(now);
        leases.wake_waiting();
        if !leases.expire(now) && leases.waiting.borrow().is_empty() {
            return;
        }
    }
}

impl<P: Protocol> Drop for Leases<P> {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut() {
            keeper.abort();
        }
    }
}
