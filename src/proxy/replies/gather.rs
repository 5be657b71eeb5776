//! Collects the replies to all fragments of one request, and merges them.

use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::observe::SlowRequest;
use crate::protocol::{Merge as _, PoolObserver as _};
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::Seq;
use crate::stats::{CommandId, Latency};

/// A request that was split by server, shared by the responders of its fragments.
pub(crate) struct Gather<P: Protocol> {
    queue: Rc<ReplyQueue>,
    seq: Seq,
    context: P::MergeContext,
    expect: P::Expect,
    settings: Rc<P::Settings>,
    command: CommandId,
    /// The start of the request, for the slow log.
    head: Vec<u8>,
    /// When it was dispatched.
    since: Instant,
    /// The pool's `timeout` applies.
    is_timed: bool,
    /// The fragment of each key, in the order of the request.
    owners: Vec<u16>,
    state: RefCell<State>,
}

struct State {
    /// The reply received so far from each server, in their order, or the error in its place.
    replies: Vec<Result<BytesMut, UpstreamError>>,
    missing: usize,
    /// The proxy has ended the request at the other servers: what they fail with from now on is its own doing.
    is_cancelled: bool,
    /// Bytes counted as held by the reply queue.
    bytes: usize,
    /// The fragment that took longest, if any was slow.
    slowest: Option<SlowRequest>,
}

impl<P: Protocol> Gather<P> {
    pub(crate) fn new(
        (queue, seq): (Rc<ReplyQueue>, Seq),
        (context, expect): (P::MergeContext, P::Expect),
        (settings, command, request): (Rc<P::Settings>, CommandId, &[u8]),
        owners: Vec<u16>,
        fragments: usize,
        (since, is_timed): (Instant, bool),
    ) -> Self {
        let replies = vec![Ok(BytesMut::new()); fragments];
        let state = RefCell::new(State {
            replies,
            missing: fragments,
            is_cancelled: false,
            bytes: 0,
            slowest: None,
        });
        let head = queue.context.request_heads.copy(request);
        Self {
            queue,
            seq,
            context,
            expect,
            settings,
            command,
            head,
            since,
            is_timed,
            owners,
            state,
        }
    }

    /// The kind of reply that each fragment expects.
    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// Returns true if the pool's `timeout` applies.
    pub(crate) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// The reply queue that receives the merged reply.
    pub(crate) fn replies(&self) -> &Rc<ReplyQueue> {
        &self.queue
    }

    /// The fragment of each key, in the order of the request.
    pub(crate) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// Appends bytes to the reply to one fragment.
    pub(crate) fn part(&self, index: u16, part: &[u8]) {
        let is_attached = self.queue.hold_bytes(part.len());
        let mut state = self.state.borrow_mut();
        if !is_attached {
            return state.forget();
        }
        state.bytes += part.len();
        if let Some(Ok(reply)) = state.replies.get_mut(usize::from(index)) {
            reply.extend_from_slice(part);
        }
    }

    /// Completes the reply to one fragment, and merges all after the last.
    pub(crate) fn finish(&self) {
        let last = {
            let mut state = self.state.borrow_mut();
            state.missing -= 1;
            state.missing == 0
        };
        if last {
            self.merge();
        }
    }

    /// Fails one fragment.
    pub(crate) fn fail(&self, index: u16, error: UpstreamError) {
        {
            let mut state = self.state.borrow_mut();
            let is_cause = !state.is_cancelled;
            if let Some(reply) = state.replies.get_mut(usize::from(index))
                && is_cause
            {
                *reply = Err(error);
            }
        }
        self.finish();
    }

    /// As [`Self::fail`], with this error reply.
    pub(crate) fn fail_with(&self, index: u16, text: &[u8]) {
        let is_cause = !self.state.borrow().is_cancelled;
        if is_cause {
            self.part(index, text);
        }
        self.finish();
    }

    /// Keeps the failures so far as the cause of the merged error, after one of them has made it certain.
    pub(crate) fn cancel(&self) {
        self.state.borrow_mut().is_cancelled = true;
    }

    /// Notes a fragment that was slow.
    pub(crate) fn note_slow_part(&self, slow: SlowRequest) {
        let mut state = self.state.borrow_mut();
        let longest = state.slowest.as_ref().map(|slowest| slowest.took);
        if longest.is_none_or(|longest| longest < slow.took) {
            state.slowest = Some(slow);
        }
    }

    /// Logs the request, with the server that took longest.
    #[cold]
    fn note_slow(&self, took: Duration) {
        let slowest = self.state.borrow_mut().slowest.take();
        let slow = SlowRequest {
            text: P::Observer::text(&self.head),
            took,
            ..slowest.unwrap_or_default()
        };
        let client = (self.queue.client(), self.queue.peer());
        P::Observer::note_slow(&self.settings, self.command, client, slow);
    }

    fn merge(&self) {
        let (replies, bytes) = {
            let mut state = self.state.borrow_mut();
            (mem::take(&mut state.replies), state.bytes)
        };
        if !self.queue.release_bytes(bytes) {
            return;
        }
        let took = Instant::now().saturating_duration_since(self.since);
        let replies = replies
            .into_iter()
            .map(|reply| reply.map(BytesMut::freeze))
            .collect();
        let mut merged = WriteBuf::new();
        match P::Merge::merge(&self.context, &self.owners, replies, &mut merged) {
            Ok(()) => {
                self.note_answer(took);
                self.queue
                    .note_error::<P>(self.command, merged.first_chunk());
                self.queue.complete_merged(self.seq, merged);
            }
            Err(error) => {
                let place = (self.seq, self.command);
                self.queue.fail::<P>(place, error, self.expect, false);
            }
        }
    }

    fn note_answer(&self, took: Duration) {
        if !self.is_timed {
            return self.queue.waited(self.command, took);
        }
        self.queue.answered(self.command, Latency::of(took));
        if took >= P::Observer::slow_from(&self.settings) {
            self.note_slow(took);
        }
    }
}

impl State {
    /// Frees the replies received so far: they will not be merged.
    fn forget(&mut self) {
        self.replies
            .iter_mut()
            .for_each(|reply| *reply = Ok(BytesMut::new()));
    }
}

impl<P: Protocol> Drop for Gather<P> {
    fn drop(&mut self) {
        let head = mem::take(&mut self.head);
        self.queue.context.request_heads.reclaim(head);
    }
}

impl<P: Protocol> fmt::Debug for Gather<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}
