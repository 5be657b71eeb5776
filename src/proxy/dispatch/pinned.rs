//! The state that pins a client: its transaction, watched keys or blocking call, on which its next requests depend.

use std::task::{Context, Poll, ready};

use crate::protocol::{Protocol, ProxyReply, UnblockReason};
use crate::proxy::blocking::client::BlockedClient;
use crate::proxy::blocking::wait_replicas::ReplicaWait;
use crate::proxy::dispatch::monitoring::Monitoring;
use crate::proxy::dispatch::queued_requests::QueuedRequests;
use crate::proxy::forward::Forwarder;
use crate::proxy::survey::SurveyRun;
use crate::proxy::transaction::session::TxSession;

/// The pinned state of a client.
#[derive(Debug)]
pub(crate) struct Pinned<P: Protocol> {
    pub(crate) tx: TxSession<P>,
    pub(crate) blocked: Option<BlockedClient<P>>,
    pub(crate) replica_wait: Option<ReplicaWait<P>>,
    pub(crate) survey: Option<SurveyRun<P>>,
    pub(crate) monitoring: Option<Monitoring>,
    /// The requests of its transaction, while somebody watches.
    pub(crate) queued: Option<Box<QueuedRequests>>,
}

impl<P: Protocol> Default for Pinned<P> {
    fn default() -> Self {
        Self {
            tx: TxSession::default(),
            blocked: None,
            replica_wait: None,
            survey: None,
            monitoring: None,
            queued: None,
        }
    }
}

impl<P: Protocol> Pinned<P> {
    /// Bytes of what is queued in its transaction.
    pub(crate) fn queued_bytes(&self) -> usize {
        let shown = self.queued.as_ref().map_or(0, |queued| queued.bytes());
        self.tx.queued_bytes() + shown
    }

    /// Returns true if nothing pins the client any more.
    pub(crate) fn is_over(&self) -> bool {
        self.tx.is_over() && !self.is_waiting() && self.monitoring.is_none()
    }

    /// Returns true if the client is blocked, or the reply is not yet written to it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.blocked.is_some()
            || self.replica_wait.is_some()
            || self.survey.is_some()
            || self.tx.is_deferring()
    }

    /// Returns true if EOF from the client ends its wait: its server blocks, or has not reported whether it does for so
    /// long that it presumably never will.
    pub(crate) fn is_blocked(&self) -> bool {
        self.replica_wait
            .as_ref()
            .is_some_and(ReplicaWait::is_blocked)
            || self.blocked.as_ref().is_some_and(BlockedClient::is_blocked)
    }

    /// Returns true if the reply that the client waits for has not arrived.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.replica_wait.is_some()
            || self.survey.is_some()
            || self.tx.is_deferring()
            || self.blocked.as_ref().is_some_and(BlockedClient::is_open)
    }

    /// Has servers unblock the client, since the proxy shuts down. WAIT returns what was reached, as at its timeout.
    pub(crate) fn end_wait(&mut self, fw: &Forwarder<P>) {
        if let Some(blocked) = &mut self.blocked {
            blocked.end_early(fw, ProxyReply::ShuttingDown);
        } else if let Some(wait) = &mut self.replica_wait {
            wait.stop(fw, UnblockReason::Timeout);
        }
    }

    /// Advances the wait. `is_flushed`: all output is written to the client.
    pub(crate) fn poll_blocked(
        &mut self,
        fw: &mut Forwarder<P>,
        cx: &mut Context<'_>,
        is_flushed: bool,
    ) {
        self.tx.poll_deferred(fw);
        if let Some(blocked) = &mut self.blocked {
            if blocked.poll(fw, cx, is_flushed)
                && let Some(blocked) = self.blocked.take()
            {
                blocked.end(fw);
            }
        } else if let Some(wait) = &mut self.replica_wait
            && wait.poll(fw, cx)
            && let Some(wait) = self.replica_wait.take()
        {
            wait.end(fw);
        } else if let Some(survey) = &mut self.survey
            && survey.poll(fw, cx)
        {
            self.survey = None;
        }
    }

    /// Advances the wait of a disconnected client. Ready when nothing is left to do for it.
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
        self.survey = None;
        self.tx.end_deferred();
        Poll::Ready(())
    }
}
