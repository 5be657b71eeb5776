//! Waits for the replies to all fragments of one request, then joins them.

use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::protocol::{Merge as _, PoolObserver as _};
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::Seq;

/// One request that was split by server. Shared by the responders of its fragments.
pub(crate) struct Gather<P: Protocol> {
    queue: Rc<ReplyQueue>,
    seq: Seq,
    context: P::MergeContext,
    expect: P::Expect,
    settings: Rc<P::Settings>,
    tag: P::CommandTag,
    /// When it began; `None` where it takes as long as it likes.
    since: Option<Instant>,
    /// For each key, in the order of the request, the fragment that it went with.
    owners: Vec<u16>,
    state: RefCell<State>,
}

struct State {
    /// What has come of each reply, in the order of the servers, or why none will.
    replies: Vec<Result<BytesMut, UpstreamError>>,
    missing: usize,
    /// Bytes that the reply queue holds for it.
    bytes: usize,
}

impl<P: Protocol> Gather<P> {
    pub(crate) fn new(
        (queue, seq): (Rc<ReplyQueue>, Seq),
        (context, expect): (P::MergeContext, P::Expect),
        (settings, tag): (Rc<P::Settings>, P::CommandTag),
        owners: Vec<u16>,
        fragments: usize,
        since: Option<Instant>,
    ) -> Self {
        let replies = vec![Ok(BytesMut::new()); fragments];
        let state = RefCell::new(State {
            replies,
            missing: fragments,
            bytes: 0,
        });
        Self {
            queue,
            seq,
            context,
            expect,
            settings,
            tag,
            since,
            owners,
            state,
        }
    }

    /// What reply each fragment expects.
    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// Whether it is to be answered within the timeout of the pool.
    pub(crate) fn is_timed(&self) -> bool {
        self.since.is_some()
    }

    /// Where the whole will be answered.
    pub(crate) fn replies(&self) -> &Rc<ReplyQueue> {
        &self.queue
    }

    /// For each key, in the order of the request, the fragment that it went with.
    pub(crate) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// Bytes of the reply to one fragment.
    pub(crate) fn part(&self, index: u16, part: &[u8]) {
        let is_wanted = self.queue.hold_bytes(part.len());
        let mut state = self.state.borrow_mut();
        if !is_wanted {
            return state.forget();
        }
        state.bytes += part.len();
        if let Some(Ok(reply)) = state.replies.get_mut(usize::from(index)) {
            reply.extend_from_slice(part);
        }
    }

    /// The reply to one fragment is whole.
    pub(crate) fn finish(&self) {
        let last = {
            let mut state = self.state.borrow_mut();
            state.missing -= 1;
            state.missing == 0
        };
        if last {
            self.join();
        }
    }

    /// There will be no reply to one fragment.
    pub(crate) fn fail(&self, index: u16, error: UpstreamError) {
        {
            let mut state = self.state.borrow_mut();
            if let Some(reply) = state.replies.get_mut(usize::from(index)) {
                *reply = Err(error);
            }
        }
        self.finish();
    }

    fn join(&self) {
        let (replies, bytes) = {
            let mut state = self.state.borrow_mut();
            (mem::take(&mut state.replies), state.bytes)
        };
        if !self.queue.release_bytes(bytes) {
            return;
        }
        if let Some(since) = self.since {
            let took = Instant::now().saturating_duration_since(since);
            self.queue.answered(took);
            if took >= P::Observer::slow_from(&self.settings) {
                P::Observer::note_slow(&self.settings, self.tag, self.queue.client(), took);
            }
        }
        let replies = replies
            .into_iter()
            .map(|reply| reply.map(BytesMut::freeze))
            .collect();
        let mut joined = WriteBuf::new();
        match P::Merge::merge(&self.context, &self.owners, replies, &mut joined) {
            Ok(()) => self.queue.complete_joined(self.seq, joined),
            Err(error) => self.queue.fail::<P>(self.seq, error, self.expect, false),
        }
    }
}

impl State {
    /// Frees what has come: it will not be joined.
    fn forget(&mut self) {
        self.replies
            .iter_mut()
            .for_each(|reply| *reply = Ok(BytesMut::new()));
    }
}

impl<P: Protocol> fmt::Debug for Gather<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}
