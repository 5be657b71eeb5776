//! What a client gets unasked, between two whole replies.

use tokio::time::Instant;

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::CloseSignal;
use crate::proxy::worker::output_memory::Usage;

impl ReplyQueue {
    /// Puts what answers no request behind the last whole reply: `herald`, and `frame` without its first byte. What is shared
    /// is what the ledger has booked as common ([`Ledger::common`](crate::proxy::worker::context::Ledger::common)). Returns
    /// whether the client gets it; where it is owed more than `limit` allows, it ends.
    pub(crate) fn push(
        &self,
        herald: u8,
        frame: &Frame<'_>,
        limit: &BufferLimit,
        now: Instant,
    ) -> bool {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return false;
        }
        if state.pending_bytes() <= limit.soft_bytes {
            state.slow_since = None;
        }
        let out = if state.begun {
            &mut state.pushes
        } else {
            &mut state.out
        };
        out.copy(&[herald]);
        match frame.part(1, frame.bytes().len()) {
            Frame::Borrowed(bytes) => out.copy(bytes),
            Frame::Shared(bytes) => out.share_common(bytes),
        }
        if state.is_slow(limit, now) {
            drop(state);
            self.give_up();
            return false;
        }
        self.changed(state);
        true
    }

    /// Ends a client that does not keep up with what it is subscribed to.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return;
        }
        state.forget();
        state.close_signal = Some(CloseSignal::SlowSubscriber);
        drop(state);
        self.context
            .output_memory
            .book(&self.usage, Usage::default());
        self.wake.wake();
    }
}
