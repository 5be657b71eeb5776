//! What a client has begun and not ended, and what its next requests therefore depend on.

use crate::protocol::Protocol;
use crate::proxy::blocking::client::{BlockedClient, WatchState};
use crate::proxy::blocking::wait_replicas::ReplicaWait;
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::transaction::queue::Transaction;

/// What a client has begun and not ended.
#[derive(Debug)]
pub(crate) struct Pinned<P: Protocol> {
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watch: Option<WatchState<P>>,
    pub(crate) blocked: Option<BlockedClient<P>>,
    pub(crate) replica_wait: Option<ReplicaWait<P>>,
    /// A lease that is given back has requests in flight, which the next one must not overtake.
    pub(crate) is_fenced: bool,
}

impl<P: Protocol> Default for Pinned<P> {
    fn default() -> Self {
        Self {
            transaction: None,
            watch: None,
            blocked: None,
            replica_wait: None,
            is_fenced: false,
        }
    }
}

impl<P: Protocol> Dispatcher<P> {
    /// Whether the client waits, or what it waited for is not yet written to it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pinned
            .as_ref()
            .is_some_and(|pinned| pinned.blocked.is_some() || pinned.replica_wait.is_some())
    }

    /// Whether the client's leaving is the end of its wait: its server lets it wait, or has not said whether it does for so
    /// long that it may be taken for one that never will.
    pub(crate) fn is_blocked(&self) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| {
            pinned
                .replica_wait
                .as_ref()
                .is_some_and(ReplicaWait::is_blocked)
                || pinned
                    .blocked
                    .as_ref()
                    .is_some_and(BlockedClient::is_blocked)
        })
    }

    /// Whether the reply that the client waits for has not come.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| {
            pinned.replica_wait.is_some()
                || pinned.blocked.as_ref().is_some_and(BlockedClient::is_open)
        })
    }

    /// Whether the next request must wait: nothing overtakes what waits, or what a lease still has in flight.
    #[cold]
    pub(crate) fn is_barred(&mut self) -> bool {
        if self.is_waiting() {
            return true;
        }
        let is_idle = self.replies.is_idle();
        let Some(pinned) = &mut self.pinned else {
            return false;
        };
        if pinned.is_fenced && !is_idle {
            return true;
        }
        pinned.is_fenced = false;
        self.unpin_if_idle();
        false
    }

    /// Forgets that the client held something, if it holds nothing any more.
    pub(crate) fn unpin_if_idle(&mut self) {
        let is_empty = |pinned: &Pinned<P>| {
            pinned.transaction.is_none()
                && pinned.watch.is_none()
                && pinned.blocked.is_none()
                && pinned.replica_wait.is_none()
                && !pinned.is_fenced
        };
        self.pinned.take_if(|pinned| is_empty(pinned));
    }
}
