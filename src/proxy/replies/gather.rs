//! Waits for the replies to all fragments of one request, then joins them.

use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::protocol::{Fault, Protocol};
use crate::proxy::replies::queue::{Pipeline, Seq};

/// One request that was split by server. Shared by the tickets of its fragments.
pub(crate) struct Gather<P: Protocol> {
    pipeline: Rc<Pipeline>,
    seq: Seq,
    joint: P::Joint,
    expect: P::Expect,
    settings: Rc<P::Settings>,
    label: P::Label,
    /// When it began; `None` where it takes as long as it likes.
    since: Option<Instant>,
    /// For each key, in the order of the request, the fragment that it went with.
    owners: Vec<u16>,
    state: RefCell<State>,
}

struct State {
    /// What has come of each reply, in the order of the servers, or why none will.
    replies: Vec<Result<BytesMut, Fault>>,
    missing: usize,
    /// Bytes that are booked with the pipeline.
    bytes: usize,
}

impl<P: Protocol> Gather<P> {
    pub(crate) fn new(
        (pipeline, seq): (Rc<Pipeline>, Seq),
        (joint, expect): (P::Joint, P::Expect),
        (settings, label): (Rc<P::Settings>, P::Label),
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
            pipeline,
            seq,
            joint,
            expect,
            settings,
            label,
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
    pub(crate) fn pipeline(&self) -> &Rc<Pipeline> {
        &self.pipeline
    }

    /// For each key, in the order of the request, the fragment that it went with.
    pub(crate) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// Bytes of the reply to one fragment.
    pub(crate) fn part(&self, index: u16, part: &[u8]) {
        let is_wanted = self.pipeline.gathered(part.len(), 0);
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
    pub(crate) fn fail(&self, index: u16, fault: Fault) {
        {
            let mut state = self.state.borrow_mut();
            if let Some(reply) = state.replies.get_mut(usize::from(index)) {
                *reply = Err(fault);
            }
        }
        self.finish();
    }

    fn join(&self) {
        let (replies, bytes) = {
            let mut state = self.state.borrow_mut();
            (mem::take(&mut state.replies), state.bytes)
        };
        if !self.pipeline.gathered(0, bytes) {
            return;
        }
        if let Some(since) = self.since {
            let took = Instant::now().saturating_duration_since(since);
            self.pipeline.answered(took);
            if took >= P::slow_from(&self.settings) {
                P::note_slow(&self.settings, self.label, self.pipeline.client(), took);
            }
        }
        let replies = replies
            .into_iter()
            .map(|reply| reply.map(BytesMut::freeze))
            .collect();
        let mut joined = WriteBuf::new();
        match P::gather(&self.joint, &self.owners, replies, &mut joined) {
            Ok(()) => self.pipeline.complete_joined(self.seq, joined),
            Err(fault) => self.pipeline.fail::<P>(self.seq, fault, self.expect, false),
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
