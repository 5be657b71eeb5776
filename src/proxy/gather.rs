//! Waits for the replies to all fragments of one request, then joins them.

use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::pipeline::{Pipeline, Seq};
use crate::buf::WriteBuf;
use crate::protocol::{Fault, Protocol};

/// One request that was split by server. Shared by the tickets of its fragments.
pub(super) struct Gather<P: Protocol> {
    pipeline: Rc<Pipeline>,
    seq: Seq,
    split: P::Split,
    since: Instant,
    /// For each key, in the order of the request, the fragment that it went with.
    owners: Vec<u16>,
    state: RefCell<State>,
}

struct State {
    replies: Vec<BytesMut>,
    missing: usize,
    /// Bytes that are booked with the pipeline.
    bytes: usize,
    /// The fault of the first fragment, in the order of the servers, that failed.
    failed: Option<(u16, Fault)>,
}

impl<P: Protocol> Gather<P> {
    pub(super) fn new(
        pipeline: Rc<Pipeline>,
        seq: Seq,
        split: P::Split,
        owners: Vec<u16>,
        fragments: usize,
        since: Instant,
    ) -> Self {
        let replies = vec![BytesMut::new(); fragments];
        let state = RefCell::new(State {
            replies,
            missing: fragments,
            bytes: 0,
            failed: None,
        });
        Self {
            pipeline,
            seq,
            split,
            since,
            owners,
            state,
        }
    }

    /// For each key, in the order of the request, the fragment that it went with.
    pub(super) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// Bytes of the reply to one fragment.
    pub(super) fn part(&self, index: u16, part: &[u8]) {
        let is_wanted = self.pipeline.gathered(part.len(), 0);
        let mut state = self.state.borrow_mut();
        if !is_wanted {
            return state.forget();
        }
        state.bytes += part.len();
        if state.failed.is_none()
            && let Some(reply) = state.replies.get_mut(usize::from(index))
        {
            reply.extend_from_slice(part);
        }
    }

    /// The reply to one fragment is whole.
    pub(super) fn finish(&self) {
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
    pub(super) fn fail(&self, index: u16, fault: Fault) {
        {
            let mut state = self.state.borrow_mut();
            if state.failed.is_none_or(|(first, _)| index < first) {
                state.failed = Some((index, fault));
            }
            state.forget();
        }
        self.finish();
    }

    fn join(&self) {
        let (replies, failed, bytes) = {
            let mut state = self.state.borrow_mut();
            (mem::take(&mut state.replies), state.failed, state.bytes)
        };
        if !self.pipeline.gathered(0, bytes) {
            return;
        }
        let now = Instant::now();
        self.pipeline
            .answered(now.saturating_duration_since(self.since));
        let replies: Vec<Bytes> = replies.into_iter().map(BytesMut::freeze).collect();
        let mut joined = WriteBuf::new();
        let outcome = match failed {
            Some((_, fault)) => Err(fault),
            None => P::gather(self.split, &self.owners, &replies, &mut joined),
        };
        match outcome {
            Ok(()) => self.pipeline.complete_joined(self.seq, joined),
            Err(fault) => self.pipeline.fail::<P>(self.seq, fault, false),
        }
    }
}

impl State {
    /// Frees what has come: it will not be joined.
    fn forget(&mut self) {
        self.replies
            .iter_mut()
            .for_each(|reply| *reply = BytesMut::new());
    }
}

impl<P: Protocol> fmt::Debug for Gather<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}
