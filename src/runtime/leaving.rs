//! Clients on their way from one process to another.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::proxy::{Departure, ReplyQueue};
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::pool_setup::PoolId;
use crate::runtime::sessions::Sessions;

/// A client that has left a pool of a process.
#[derive(Debug)]
pub struct Departed {
    /// The number of its worker, if that is one of this process.
    pub worker: Option<usize>,
    /// The pool.
    pub pool: PoolId,
    /// The client.
    pub client: Departure,
}

/// A client that a worker is to serve.
#[derive(Debug)]
pub(crate) struct Adoption {
    pub(crate) departed: Departed,
    pub(crate) permit: ClientPermit,
    /// It is only to finish its requests.
    pub(crate) is_ending: bool,
    /// Gets what starts the client once it is ready, or the reason why it is not served.
    pub(crate) answer: oneshot::Sender<Result<Start, String>>,
}

/// Has the worker read a client that it has adopted. Dropped, the worker forgets the client.
pub type Start = oneshot::Sender<()>;

/// The clients of one worker that leave, some at a time: what one sends while it leaves waits. A clone is another handle to the
/// same.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    worker: usize,
    under: Rc<RefCell<Option<Under>>>,
}

/// A hand-over that is under way.
#[derive(Debug)]
struct Under {
    /// The pools that the other process has.
    pools: Arc<[PoolId]>,
    /// The sessions whose turn has not come.
    queue: Vec<Weak<ReplyQueue>>,
    departures: mpsc::UnboundedSender<Departed>,
}

impl Leaving {
    pub(crate) fn of(worker: usize) -> Self {
        Self {
            worker,
            under: Rc::default(),
        }
    }

    /// Prepares the clients of these pools to leave, and lets those of others end.
    pub(crate) fn begin(
        &self,
        pools: Arc<[PoolId]>,
        departures: mpsc::UnboundedSender<Departed>,
        sessions: &Sessions,
    ) {
        let mut queue = Vec::new();
        sessions.for_each_in(|pool, replies| {
            if pools.contains(&pool) {
                queue.push(Rc::downgrade(replies));
            } else {
                replies.drain();
            }
        });
        self.under.replace(Some(Under {
            pools,
            queue,
            departures,
        }));
    }

    /// Lets so many more of them leave, each when nothing of it is in flight.
    pub(crate) fn go_on(&self, count: usize) {
        let next: Vec<_> = match &mut *self.under.borrow_mut() {
            Some(under) => {
                let rest = under.queue.len().saturating_sub(count);
                under.queue.split_off(rest)
            }
            None => return,
        };
        for replies in next.iter().filter_map(Weak::upgrade) {
            replies.hand_over();
        }
    }

    /// Lets a client leave, if others do.
    pub(crate) fn join(&self, pool: PoolId, replies: &ReplyQueue) {
        let goes = match &*self.under.borrow() {
            Some(under) => under.pools.contains(&pool),
            None => return,
        };
        if goes {
            replies.hand_over();
        } else {
            replies.drain();
        }
    }

    /// Keeps those that have not left.
    pub(crate) fn end(&self, sessions: &Sessions) {
        self.under.replace(None);
        sessions.for_each_in(|_, replies| replies.stay());
    }

    /// Passes on a client that has left.
    pub(crate) fn send(&self, pool: PoolId, client: Departure) {
        if let Some(under) = &*self.under.borrow() {
            // The receiver lives as long as this process hands over.
            let _ = under.departures.send(Departed {
                worker: Some(self.worker),
                pool,
                client,
            });
        }
    }
}
