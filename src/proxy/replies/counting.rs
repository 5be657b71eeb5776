//! What a reply queue counts of its client's requests, by command.

use std::time::Duration;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{PoolObserver as _, Protocol};
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::Seq;
use crate::stats::{CommandId, Latency};

impl ReplyQueue {
    /// Answers a request with an error reply that no server has sent.
    pub(crate) fn fail_with<P: Protocol>(&self, place: (Seq, CommandId), text: &[u8]) {
        let (seq, command) = place;
        self.cells.commands.unanswered(command);
        if let Some(code) = P::Observer::error_code(text) {
            self.cells.errors.note(code);
        }
        self.complete(seq, Frame::Borrowed(text));
    }

    /// As [`Self::complete`], and counts the reply if it is an error.
    pub(crate) fn conclude<P: Protocol>(&self, place: (Seq, CommandId), reply: Frame<'_>) {
        let (seq, command) = place;
        self.note_error::<P>(command, reply.bytes());
        self.complete(seq, reply);
    }

    /// Counts a reply to a recorded request if it is an error.
    #[inline]
    pub(crate) fn note_error<P: Protocol>(&self, command: CommandId, reply: &[u8]) {
        if let Some(code) = P::Observer::error_code(reply) {
            self.count_error(command, code);
        }
    }

    #[cold]
    fn count_error(&self, command: CommandId, code: &[u8]) {
        self.cells.commands.failed(command);
        self.cells.errors.note(code);
    }

    /// Records the latency of a request.
    #[inline]
    pub(crate) fn answered(&self, command: CommandId, latency: Latency) {
        self.cells.commands.record(command, latency);
    }

    /// Samples the time from now, when a reply was read, to the next write to the client.
    pub(crate) fn sample(&self, now: Instant) {
        self.sampled.set(Some(now));
    }

    /// Records the wait of a reply that is a sample, after a write.
    #[inline]
    pub(crate) fn note_written(&self) {
        if self.sampled.get().is_some() {
            self.end_sample();
        }
    }

    #[cold]
    fn end_sample(&self) {
        if let Some(read_at) = self.sampled.take() {
            let waited = Latency::of(read_at.elapsed());
            self.cells.reply_wait.record(waited);
        }
    }

    /// Records a request that has waited for other clients.
    pub(crate) fn waited(&self, command: CommandId, took: Duration) {
        self.cells.commands.record_apart(command, Latency::of(took));
    }
}
