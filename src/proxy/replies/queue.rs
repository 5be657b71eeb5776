//! The pending replies of one client, in the order of its requests.
//!
//! ```text
//! responders --> [slot slot slot slot]  a ring; the front one is next
//!                    |    |
//!                    |    +-- came early: its bytes wait in the reorder buffer, or in parts
//!                    +------- its turn: bytes go straight to `out` --one write--> client
//! ```
//!
//! Invariants: replies leave in the order of the slots; a slot is answered once, since only its one [`Responder`] can answer
//! it; after [`ReplyQueue::detach`] nothing is kept any more. Every borrow ends within a method.
//!
//! [`Responder`]: crate::proxy::replies::responder::Responder

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWrite;

use crate::buf::{Frame, WriteBuf};
use crate::protocol::ErrorReplies as _;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::state::{Slot, State};
use crate::proxy::replies::status::{CloseSignal, Seq, Status};
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::output_memory::{ClientUsage, OutputState, Usage};
use crate::proxy::worker::wake::WakeOnce;
use crate::stats::{PoolCells, PoolMetric};

/// Replies from this size are not copied to the reorder buffer, but kept in parts of their own.
const STASH_BYTES: usize = 4 << 10;

/// Write buffer that an idle client keeps: there may be thousands of them.
const KEEP_BYTES: usize = 16 << 10;

/// The pending replies of one client. Shared, within one worker, by its session and its responders.
#[derive(Debug)]
pub struct ReplyQueue {
    pub(crate) state: RefCell<State>,
    pub(crate) wake: WakeOnce,
    cells: Rc<PoolCells>,
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) usage: ClientUsage,
    /// The number by which others know the client.
    client: Cell<u64>,
}

impl ReplyQueue {
    /// Owes nothing yet. Errors of the proxy's own making are counted in `cells`.
    pub fn new(cells: Rc<PoolCells>, context: Rc<WorkerContext>) -> Self {
        let out = WriteBuf::keeping(KEEP_BYTES);
        Self {
            state: RefCell::new(State {
                out,
                ..State::default()
            }),
            wake: WakeOnce::default(),
            cells,
            context,
            usage: ClientUsage::default(),
            client: Cell::new(0),
        }
    }

    /// Says whose queue it is.
    pub(crate) fn belongs_to(&self, client: u64) {
        self.client.set(client);
    }

    /// The number by which others know the client.
    pub(crate) fn client(&self) -> u64 {
        self.client.get()
    }

    /// Remembers whom to wake.
    pub(crate) fn begin_turn(&self, cx: &Context<'_>) {
        self.wake.register(cx);
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.state.borrow();
        Status {
            in_flight: state.slots.len(),
            pending_bytes: state.pending_bytes(),
            expected_bytes: state
                .reply_bytes
                .map(|bytes| bytes.saturating_mul(state.slots.len())),
            out_bytes: state.out.len(),
            cut: state.cut,
            close_signal: state.close_signal,
        }
    }

    /// Whether every request has its whole reply.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.borrow().slots.is_empty()
    }

    /// A slot for the next request.
    pub(crate) fn reserve(&self) -> Seq {
        let mut state = self.state.borrow_mut();
        let seq = state.first + state.slots.len() as u64;
        state.slots.push_back(Slot::Pending);
        Seq(seq)
    }

    /// As [`Self::reserve`], for a request whose reply the client does not want.
    pub(crate) fn reserve_discarded(&self) -> Seq {
        let seq = self.reserve();
        let mut state = self.state.borrow_mut();
        state.silent += 1;
        state.fill(seq, Slot::Discard { whole: false });
        seq
    }

    /// Puts a reply of the proxy's own behind all that is owed.
    pub(crate) fn answer(&self, reply: &[u8]) {
        let mut state = self.state.borrow_mut();
        if state.slots.is_empty() {
            state.out.copy(reply);
        } else {
            let held = state.reorder.put(reply);
            state.slots.push_back(Slot::Buffered(held));
        }
        self.book(state);
    }

    /// The whole reply to a request.
    pub(crate) fn complete(&self, seq: Seq, reply: Frame<'_>) {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return;
        }
        if state.silent > 0 && state.discard(seq, true) {
            return self.changed(state);
        }
        let len = reply.bytes().len();
        state.note_reply(len);
        if state.is_front(seq) {
            state.out.push(reply);
            state.advance();
        } else if len < STASH_BYTES {
            let held = state.reorder.put(reply.bytes());
            state.hold(seq, held);
        } else {
            let mut bytes = Box::new(WriteBuf::new());
            bytes.push(reply);
            state.parts_bytes += len;
            state.fill(seq, Slot::Streaming { bytes, whole: true });
        }
        self.changed(state);
    }

    /// The whole reply to a request, in pieces.
    pub(crate) fn complete_joined(&self, seq: Seq, mut reply: WriteBuf) {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return;
        }
        if state.silent > 0 && state.discard(seq, true) {
            return self.changed(state);
        }
        state.note_reply(reply.len());
        if state.is_front(seq) {
            state.out.append(&mut reply);
            state.advance();
        } else {
            state.parts_bytes += reply.len();
            let bytes = Box::new(reply);
            state.fill(seq, Slot::Streaming { bytes, whole: true });
        }
        self.changed(state);
    }

    /// A part of the reply to a request; more follows.
    pub(crate) fn part(&self, seq: Seq, part: &[u8]) {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return;
        }
        if state.silent > 0 && state.discard(seq, false) {
            return;
        }
        if state.is_front(seq) {
            state.begun = true;
            state.front_bytes += part.len();
            state.out.copy(part);
        } else if let Some(slot) = state.slot(seq) {
            if let Slot::Streaming { bytes, .. } = slot {
                bytes.copy(part);
            } else {
                let mut bytes = Box::new(WriteBuf::new());
                bytes.copy(part);
                *slot = Slot::Streaming {
                    bytes,
                    whole: false,
                };
            }
            state.parts_bytes += part.len();
        }
        self.changed(state);
    }

    /// The end of a reply that came in parts.
    pub(crate) fn finish(&self, seq: Seq) {
        let mut state = self.state.borrow_mut();
        if state.silent > 0 && state.discard(seq, true) {
            return self.changed(state);
        }
        if state.is_front(seq) {
            let streamed = mem::take(&mut state.front_bytes);
            state.note_reply(streamed);
            state.advance();
        } else if let Some(Slot::Streaming { bytes, whole }) = state.slot(seq) {
            *whole = true;
            let streamed = bytes.len();
            state.note_reply(streamed);
        }
        self.changed(state);
    }

    /// Answers a request with an error. `begun` says that a part of its reply may be with the client already.
    pub(crate) fn fail<P: Protocol>(
        &self,
        seq: Seq,
        error: UpstreamError,
        expect: P::Expect,
        begun: bool,
    ) {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return;
        }
        self.cells.bump(PoolMetric::ForwardError);
        if state.silent > 0 && state.discard(seq, true) {
            return self.changed(state);
        }
        if begun && state.is_front(seq) {
            state.cut = true;
            return self.changed(state);
        }
        if let Some(Slot::Streaming { bytes, .. }) = state.slot(seq) {
            let dropped = bytes.len();
            state.parts_bytes -= dropped;
            state.fill(seq, Slot::Pending);
        }
        drop(state);
        let mut text = BytesMut::new();
        P::Errors::write_upstream_error(error, expect, &mut text);
        self.complete(seq, Frame::Borrowed(&text));
    }

    /// Counts a request that was answered by its servers after so long.
    pub(crate) fn answered(&self, took: Duration) {
        self.cells.latency.record(micros(took));
    }

    /// Books bytes that are kept for the client until a reply is whole. Returns true if the client is still there.
    pub(crate) fn hold_bytes(&self, bytes: usize) -> bool {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return false;
        }
        state.gathered_bytes += bytes;
        self.book(state);
        !self.is_detached()
    }

    /// Books that bytes are kept no more. Returns true if the client is still there.
    pub(crate) fn release_bytes(&self, bytes: usize) -> bool {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            return false;
        }
        state.gathered_bytes = state.gathered_bytes.saturating_sub(bytes);
        self.book(state);
        !self.is_detached()
    }

    /// Returns true if the client is gone: what comes for it is dropped.
    pub(crate) fn is_detached(&self) -> bool {
        self.state.borrow().abandoned
    }

    /// Hands what is due to the client, in one system call. Returns the bytes that went.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut out = mem::take(&mut self.state.borrow_mut().out);
        let outcome = out.poll_write(io, cx);
        let mut state = self.state.borrow_mut();
        state.out = out;
        self.book(state);
        outcome
    }

    /// Says that the client is gone: what is still owed to it is dropped as it comes.
    pub(crate) fn detach(&self) {
        self.state.borrow_mut().forget();
        self.context
            .output_memory
            .book(&self.usage, Usage::default());
        self.wake.clear();
    }

    /// Books what is owed now, and drops it all where it is too much.
    fn book(&self, mut state: RefMut<'_, State>) {
        let standing = self
            .context
            .output_memory
            .book(&self.usage, state.pending());
        if standing == OutputState::Over && !state.abandoned {
            state.forget();
            state.close_signal = Some(CloseSignal::OutputLimit);
            drop(state);
            self.context
                .output_memory
                .book(&self.usage, Usage::default());
            self.wake.wake();
        }
    }

    /// Books what is owed now, and wakes the session.
    pub(crate) fn changed(&self, state: RefMut<'_, State>) {
        self.book(state);
        self.wake.wake();
    }

    /// Has the session look around.
    pub(crate) fn wake(&self) {
        self.wake.wake();
    }

    /// Tells the session to end when all is answered.
    pub fn drain(&self) {
        let mut state = self.state.borrow_mut();
        state.close_signal.get_or_insert(CloseSignal::Drain);
        drop(state);
        self.wake.wake();
    }

    /// Tells the session to end now.
    pub fn kill(&self) {
        let mut state = self.state.borrow_mut();
        state.close_signal = Some(CloseSignal::Kill);
        drop(state);
        self.wake.wake();
    }
}

/// Whole microseconds, as the histograms count them.
pub(crate) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams two replies at once and returns the size that is expected of the next one.
    fn expected_after(first: usize, second: usize) -> Option<usize> {
        let replies = ReplyQueue::new(Rc::default(), Rc::default());
        let (front, behind) = (replies.reserve(), replies.reserve());
        replies.part(behind, &vec![0; second / 2]);
        replies.part(front, &vec![0; first]);
        replies.part(behind, &vec![0; second / 2]);
        replies.finish(front);
        replies.status().expected_bytes
    }

    #[test]
    fn streamed_replies_are_sized_each_by_itself() {
        assert_eq!(expected_after(800, 80_000), expected_after(800, 80));
    }

    #[test]
    fn streamed_reply_that_reaches_the_front_keeps_its_size() {
        let replies = ReplyQueue::new(Rc::default(), Rc::default());
        let (front, behind) = (replies.reserve(), replies.reserve());
        replies.part(behind, &[0; 600]);
        replies.complete(front, Frame::Borrowed(&[0; 1000]));
        replies.part(behind, &[0; 400]);
        replies.finish(behind);
        replies.reserve();
        assert_eq!(replies.status().expected_bytes, Some(1000));
    }
}
