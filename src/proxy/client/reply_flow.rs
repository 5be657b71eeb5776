//! How many replies of what size a client may have in flight.
//!
//! Replies are not known before they arrive: they are expected to be as large as the client's last ones. What is in
//! flight delays the other clients of the shared server connections, and has to be stored if the client does not read.

use std::task::Context;

use tokio::time::Instant;

use crate::protocol::Protocol;
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::replies::status::Status;
use crate::proxy::worker::large_replies::{LARGE_BYTES, LargePermit};

/// The limits of one client's replies in flight.
#[derive(Debug, Default)]
pub(crate) struct ReplyFlow {
    large_permit: LargePermit,
}

impl ReplyFlow {
    /// Returns true if a further request may be taken: neither too many are in flight, nor too large replies expected, nor
    /// too many replies unread.
    pub(crate) fn may_take<P: Protocol>(dispatcher: &Dispatcher<P>, status: Status) -> bool {
        let pool = &dispatcher.forwarder.pool;
        let flow = &pool.flow;
        let Some(expected_bytes) = status.expected_bytes else {
            return status.in_flight < flow.first_in_flight
                && status.out_bytes < flow.unread_bytes
                && status.pending_bytes < flow.pending_bytes;
        };
        let in_flight = if pool.context.load.is_shared() {
            flow.shared_in_flight
        } else {
            flow.in_flight
        };
        status.in_flight < in_flight
            && expected_bytes < flow.flight_bytes
            && status.out_bytes < flow.unread_bytes
            && status.pending_bytes.saturating_add(expected_bytes) < flow.pending_bytes
    }

    /// Releases the permit for large replies if none is in flight any more.
    pub(crate) fn begin_turn<P: Protocol>(&mut self, dispatcher: &Dispatcher<P>) {
        if self.large_permit.is_active() && dispatcher.forwarder.replies.is_idle() {
            self.release(dispatcher);
        }
    }

    /// Returns true if the client waits for a permit for large replies.
    pub(crate) fn is_waiting(&self) -> bool {
        self.large_permit.is_waiting()
    }

    /// Returns true if replies of the client's usual size may be requested: large ones need a permit.
    #[inline]
    pub(crate) fn may_expect<P: Protocol>(
        &mut self,
        dispatcher: &Dispatcher<P>,
        status: Status,
        cx: &Context<'_>,
        now: Instant,
    ) -> bool {
        if status.reply_bytes.is_some_and(|bytes| bytes < LARGE_BYTES) {
            return true;
        }
        self.acquire(dispatcher, status, cx, now)
    }

    #[cold]
    fn acquire<P: Protocol>(
        &mut self,
        dispatcher: &Dispatcher<P>,
        status: Status,
        cx: &Context<'_>,
        now: Instant,
    ) -> bool {
        let large_replies = &dispatcher.forwarder.pool.context.large_replies;
        let bytes = match status.reply_bytes {
            Some(bytes) => bytes,
            None => large_replies.assumed_bytes(now),
        };
        if bytes < LARGE_BYTES {
            return true;
        }
        // Requests that were taken without a permit are answered first.
        if status.in_flight > 0 && !self.large_permit.is_active() {
            return false;
        }
        large_replies.acquire(&mut self.large_permit, bytes, cx)
    }

    /// Releases the permit for large replies: none is in flight.
    pub(crate) fn release<P: Protocol>(&mut self, dispatcher: &Dispatcher<P>) {
        let large_replies = &dispatcher.forwarder.pool.context.large_replies;
        large_replies.release(&mut self.large_permit);
    }
}
