//! What pins a client: what it has begun and not ended, and what its next requests therefore depend on.

use std::task::{Context, Poll, ready};

use crate::protocol::{Protocol, UnblockReason};
use crate::proxy::blocking::client::BlockedClient;
use crate::proxy::blocking::wait_replicas::ReplicaWait;
use crate::proxy::forward::Forwarder;
use crate::proxy::transaction::session::TxSession;

/// What a client has begun and not ended.
#[derive(Debug)]
pub(crate) struct Pinned<P: Protocol> {
    pub(crate) tx: TxSession<P>,
    pub(crate) blocked: Option<BlockedClient<P>>,
    pub(crate) replica_wait: Option<ReplicaWait<P>>,
}

impl<P: Protocol> Default for Pinned<P> {
    fn default() -> Self {
        Self {
            tx: TxSession::default(),
            blocked: None,
            replica_wait: None,
        }
    }
}

impl<P: Protocol> Pinned<P> {
    /// Returns true if nothing pins the client any more.
    pub(crate) fn is_over(&self) -> bool {
        self.tx.is_over() && !self.is_waiting()
    }

    /// Returns true if the client waits, or what it waited for is not yet written to it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.blocked.is_some() || self.replica_wait.is_some()
    }

    /// Returns true if the end of the client's input ends its wait: its server lets it wait, or has not said whether it does
    /// for so long that it may be taken for one that never will.
    pub(crate) fn is_blocked(&self) -> bool {
        self.replica_wait
            .as_ref()
            .is_some_and(ReplicaWait::is_blocked)
            || self.blocked.as_ref().is_some_and(BlockedClient::is_blocked)
    }

    /// Returns true if the reply that the client waits for has not come.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.replica_wait.is_some() || self.blocked.as_ref().is_some_and(BlockedClient::is_open)
    }

    /// Has servers end what the client waits for.
    pub(crate) fn end_wait(&mut self, fw: &Forwarder<P>) {
        if let Some(blocked) = &mut self.blocked {
            blocked.end_wait(fw);
        } else if let Some(wait) = &mut self.replica_wait {
            wait.stop(fw, UnblockReason::Error);
        }
    }

    /// Advances the wait. `is_paid` says that everything that came for the client is written.
    pub(crate) fn poll_blocked(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>, is_paid: bool) {
        if let Some(blocked) = &mut self.blocked {
            if blocked.poll(fw, cx, is_paid)
                && let Some(blocked) = self.blocked.take()
            {
                blocked.end(fw);
            }
        } else if let Some(wait) = &mut self.replica_wait
            && wait.poll(fw, cx)
            && let Some(wait) = self.replica_wait.take()
        {
            wait.end(fw);
        }
    }

    /// Advances the wait of a client that is gone. Ready when nothing is left to do for it.
    pub(crate) fn poll_orphaned(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(blocked) = &mut self.blocked {
            ready!(blocked.poll_orphaned(fw, cx));
        }
        if let Some(blocked) = self.blocked.take() {
            blocked.end(fw);
        }
        if let Some(wait) = self.replica_wait.take() {
            wait.end(fw);
        }
        Poll::Ready(())
    }
}
