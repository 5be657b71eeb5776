//! The replies of several servers to one try.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;

/// Collects replies, and wakes the client's session with the last.
#[derive(Debug)]
pub(super) struct Collector {
    queue: Rc<ReplyQueue>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    replies: Vec<Result<BytesMut, UpstreamError>>,
    missing: usize,
    /// Bytes counted as held by the reply queue.
    bytes: usize,
}

impl Collector {
    pub(super) fn new(queue: &Rc<ReplyQueue>, count: usize) -> Rc<Self> {
        Rc::new(Self {
            queue: Rc::clone(queue),
            state: RefCell::new(State {
                replies: vec![Ok(BytesMut::new()); count],
                missing: count,
                bytes: 0,
            }),
        })
    }

    /// The responder of one server.
    pub(super) fn responder<P: Protocol>(
        self: &Rc<Self>,
        index: usize,
        expect: P::Expect,
    ) -> Responder<P> {
        let part: Rc<dyn ReplyHandler<P>> = Rc::new(Part {
            collector: Rc::clone(self),
            index,
        });
        Responder::handler(part, expect)
    }

    /// All replies; `None` if one is missing.
    pub(super) fn take(&self) -> Option<Vec<Result<Bytes, UpstreamError>>> {
        let (replies, bytes) = {
            let mut state = self.state.borrow_mut();
            if state.missing > 0 {
                return None;
            }
            (mem::take(&mut state.replies), mem::take(&mut state.bytes))
        };
        self.queue.release_bytes(bytes);
        let replies = replies.into_iter();
        Some(replies.map(|reply| reply.map(BytesMut::freeze)).collect())
    }

    fn append(&self, index: usize, part: &[u8]) {
        let is_attached = self.queue.hold_bytes(part.len());
        let mut state = self.state.borrow_mut();
        if !is_attached {
            state
                .replies
                .iter_mut()
                .for_each(|reply| *reply = Ok(BytesMut::new()));
            return;
        }
        state.bytes += part.len();
        if let Some(Ok(reply)) = state.replies.get_mut(index) {
            reply.extend_from_slice(part);
        }
    }

    fn end(&self, index: usize, error: Option<UpstreamError>) {
        let is_last = {
            let mut state = self.state.borrow_mut();
            if let (Some(error), Some(reply)) = (error, state.replies.get_mut(index)) {
                *reply = Err(error);
            }
            state.missing = state.missing.saturating_sub(1);
            state.missing == 0
        };
        if is_last {
            self.queue.wake();
        }
    }
}

/// The reply of one server.
#[derive(Debug)]
struct Part {
    collector: Rc<Collector>,
    index: usize,
}

impl<P: Protocol> ReplyHandler<P> for Part {
    fn part(&self, part: &[u8]) {
        self.collector.append(self.index, part);
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        self.collector.append(self.index, reply.bytes());
        self.collector.end(self.index, None);
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        self.collector.end(self.index, Some(error));
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.collector.queue)
    }
}
