//! The sessions of one worker.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use fnv::FnvHashMap;

use crate::proxy::ReplyQueue;
use crate::runtime::client_permit::ClientPermit;
use crate::stats::{PoolCells, PoolMetric};

/// The open sessions of a worker, to be drained or killed. A clone is another handle to the same ones.
#[derive(Clone, Default)]
pub(crate) struct Sessions {
    open: Rc<RefCell<FnvHashMap<usize, Weak<ReplyQueue>>>>,
    next: Rc<Cell<usize>>,
    /// Woken when the last one closes.
    empty: Rc<Cell<Option<Waker>>>,
}

/// Counts a session as open until it is dropped.
pub(crate) struct SessionGuard {
    number: usize,
    sessions: Sessions,
    cells: Rc<PoolCells>,
    _permit: ClientPermit,
}

impl Sessions {
    /// Registers a session with these replies, and returns its number.
    pub(crate) fn add(&self, replies: &Rc<ReplyQueue>) -> usize {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        self.open
            .borrow_mut()
            .insert(number, Rc::downgrade(replies));
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

    /// Kills the session of this number, if it is still open.
    pub(crate) fn kill(&self, number: usize) {
        let replies = self.open.borrow().get(&number).and_then(Weak::upgrade);
        if let Some(replies) = replies {
            replies.kill();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Lets every session finish its requests in flight.
    pub(crate) fn drain_all(&self) {
        self.for_each(ReplyQueue::drain);
    }

    /// Kills every session.
    pub(crate) fn kill_all(&self) {
        self.for_each(ReplyQueue::kill);
    }

    /// Completes when no session is open.
    pub(crate) async fn all_closed(&self) {
        poll_fn(|cx| {
            if self.count() == 0 {
                return Poll::Ready(());
            }
            self.empty.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn for_each(&self, signal: impl Fn(&ReplyQueue)) {
        // Signalling a session may close another, which must be able to borrow the map.
        let open: Vec<_> = self
            .open
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for replies in &open {
            signal(replies);
        }
    }

    fn remove(&self, number: usize) {
        let is_empty = {
            let mut open = self.open.borrow_mut();
            open.remove(&number);
            open.is_empty()
        };
        if is_empty && let Some(waker) = self.empty.take() {
            waker.wake();
        }
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.cells.drop_one(PoolMetric::ClientConnections);
        self.sessions.remove(self.number);
    }
}
