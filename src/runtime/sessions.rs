//! The sessions of one worker.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use fnv::FnvHashMap;
use tokio::time::timeout;

use crate::protocol::redis::state::client_registry::SessionSignal;
use crate::proxy::ReplyQueue;
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::pool_setup::PoolId;
use crate::stats::{PoolCells, PoolMetric};

/// The open sessions of a worker, to be drained or killed. A clone is another handle to the same ones.
#[derive(Clone, Default)]
pub(crate) struct Sessions {
    open: Rc<RefCell<FnvHashMap<usize, Open>>>,
    next: Rc<Cell<usize>>,
    /// Woken when one closes.
    closing: Rc<RefCell<Vec<Waker>>>,
}

/// An open session.
struct Open {
    pool: PoolId,
    replies: Weak<ReplyQueue>,
}

/// The sessions that are meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// Those of all pools.
    All,
    /// Those of one pool.
    Pool(PoolId),
}

impl Whose {
    fn contains(self, session: &Open) -> bool {
        match self {
            Self::All => true,
            Self::Pool(pool) => session.pool == pool,
        }
    }
}

/// Counts a session as open until it is dropped.
pub(crate) struct SessionGuard {
    number: usize,
    sessions: Sessions,
    cells: Rc<PoolCells>,
    _permit: ClientPermit,
}

impl Sessions {
    /// Registers a session of a pool with these replies, and returns its number.
    pub(crate) fn add(&self, pool: PoolId, replies: &Rc<ReplyQueue>) -> usize {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let replies = Rc::downgrade(replies);
        self.open
            .borrow_mut()
            .insert(number, Open { pool, replies });
        number
    }

    /// Counts the session of this number in the cells of its pool.
    pub(crate) fn guard(
        &self,
        number: usize,
        cells: Rc<PoolCells>,
        permit: ClientPermit,
    ) -> SessionGuard {
        cells.bump(PoolMetric::ClientAccepted);
        cells.bump(PoolMetric::ClientConnections);
        SessionGuard {
            number,
            sessions: self.clone(),
            cells,
            _permit: permit,
        }
    }

    /// Signals a session, if it is still open.
    pub(crate) fn signal(&self, signal: SessionSignal) {
        let (SessionSignal::Kill(number) | SessionSignal::CheckUser(number)) = signal;
        let open = self.open.borrow();
        let replies = open.get(&number).and_then(|open| open.replies.upgrade());
        drop(open);
        if let Some(replies) = replies {
            match signal {
                SessionSignal::Kill(_) => replies.kill(),
                SessionSignal::CheckUser(_) => replies.check_user(),
            }
        }
    }

    /// Lets the sessions finish their requests in flight, and kills those that take longer than `within`.
    pub(crate) async fn drain(&self, of: Whose, within: Duration) {
        self.for_each(of, ReplyQueue::drain);
        if timeout(within, self.all_closed(of)).await.is_err() {
            tracing::warn!(
                clients = self.count(of),
                "drain timed out; closing remaining clients"
            );
            self.for_each(of, ReplyQueue::kill);
            // A killed session ends when it is next polled: nothing can delay it.
            self.all_closed(of).await;
        }
    }

    fn count(&self, of: Whose) -> usize {
        let open = self.open.borrow();
        open.values().filter(|open| of.contains(open)).count()
    }

    /// Completes when none of the sessions is open.
    async fn all_closed(&self, of: Whose) {
        poll_fn(|cx| {
            if self.count(of) == 0 {
                return Poll::Ready(());
            }
            self.closing.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn for_each(&self, of: Whose, signal: impl Fn(&ReplyQueue)) {
        // Signalling a session may close another, which must be able to borrow the map.
        let open: Vec<_> = self
            .open
            .borrow()
            .values()
            .filter(|open| of.contains(open))
            .filter_map(|open| open.replies.upgrade())
            .collect();
        for replies in &open {
            signal(replies);
        }
    }

    /// Calls `signal` for each session, with its pool.
    pub(crate) fn for_each_in(&self, mut signal: impl FnMut(PoolId, &Rc<ReplyQueue>)) {
        let open: Vec<_> = self
            .open
            .borrow()
            .values()
            .filter_map(|open| Some((open.pool, open.replies.upgrade()?)))
            .collect();
        for (pool, replies) in &open {
            signal(*pool, replies);
        }
    }

    fn remove(&self, number: usize) {
        self.open.borrow_mut().remove(&number);
        self.closing.take().into_iter().for_each(Waker::wake);
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.cells.drop_one(PoolMetric::ClientConnections);
        self.sessions.remove(self.number);
    }
}
