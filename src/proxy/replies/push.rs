//! Push messages to a client, between two complete replies.

use tokio::time::Instant;

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::CloseSignal;
use crate::proxy::worker::output_memory::Usage;

impl ReplyQueue {
    /// Queues a push message after the last complete reply: `prefix`, then `frame` without its first byte. Bytes that
    /// several clients share are counted once, by [`OutputMemory::shared`]. Returns true if it is queued; a client
    /// whose pending output exceeds `limit` is closed.
    ///
    /// [`OutputMemory::shared`]: crate::proxy::worker::output_memory::OutputMemory::shared
    pub(crate) fn push(
        &self,
        prefix: u8,
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
        out.copy(&[prefix]);
        match frame.part(1, frame.bytes().len()) {
            Frame::Borrowed(bytes) => out.copy(bytes),
            Frame::Shared(bytes) => out.share_common(bytes),
        }
        if state.is_slow(limit, now) {
            drop(state);
            self.close_slow();
            return false;
        }
        self.changed(state);
        true
    }

    /// Closes a subscriber that does not keep up with its messages.
    pub(crate) fn close_slow(&self) {
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
