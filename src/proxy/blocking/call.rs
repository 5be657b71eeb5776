//! A request that may take as long as it likes, on a connection that its client has for itself.
//!
//! ```text
//! [BEGIN request COMMIT] --> served at once: the reply
//!                        --> would have waited: [request] --> it waits, until the reply
//! ```
//!
//! What its server has taken out of a key for it must reach its client, or go back. So the reply is kept until it is
//! written, and a client that has left is still waited for: see [`crate::proxy::dispatch`].
//!
//! A client whose request waits, and who says no more, is gone, as in Redis. That is no matter of time: the server itself
//! says whether the request has to wait, since within a transaction none does. So whether its reply comes before or after
//! the end of what the client says decides nothing.

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Blocking as _, Transactions as _};
use crate::protocol::{Phrase, Protocol, Span, TryResult, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::Seq;
use crate::proxy::upstream::conn::UpstreamConn;

/// One such request. Shared by its responders and its session.
#[derive(Debug)]
pub(crate) struct BlockingCall<P: Protocol> {
    replies: Rc<ReplyQueue>,
    /// The place of the reply; `None` where the client is gone.
    seq: Cell<Option<Seq>>,
    expect: P::Expect,
    request: Bytes,
    /// Where it goes: its queue holds this.
    upstream: Weak<UpstreamConn<P>>,
    stage: Cell<Stage>,
    state: RefCell<State>,
}

/// A request of the transaction in which it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TryStep {
    Begin,
    Request,
    Commit,
    /// Where the server does not end what it has begun.
    Discard,
}

/// Receives the reply to one command of the transaction in which a request is tried.
struct TryReply<P: Protocol> {
    call: Rc<BlockingCall<P>>,
    step: TryStep,
}

/// How far a request is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Trying,
    /// It is with the server, which may let it wait.
    Sent,
    /// The server lets it wait.
    Blocked,
}

#[derive(Debug)]
enum State {
    /// What has come of the reply.
    Waiting(BytesMut),
    Answered(Bytes),
    Failed,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not yet.
    Open,
    /// With this reply.
    Answered(Bytes),
    /// Without one.
    Failed,
}

impl<P: Protocol> BlockingCall<P> {
    /// Answers the client at `seq`, or nobody where there is none.
    pub(crate) fn new(
        replies: &Rc<ReplyQueue>,
        seq: Option<Seq>,
        expect: P::Expect,
        upstream: &Rc<UpstreamConn<P>>,
        request: Bytes,
    ) -> Rc<Self> {
        Rc::new(Self {
            replies: Rc::clone(replies),
            seq: Cell::new(seq),
            expect,
            request,
            upstream: Rc::downgrade(upstream),
            stage: Cell::new(Stage::Trying),
            state: RefCell::new(State::Waiting(BytesMut::new())),
        })
    }

    /// Tries whether the request must wait, and has it wait if so.
    pub(crate) fn try_now(self: &Rc<Self>, upstream: &UpstreamConn<P>, now: Instant) {
        if P::Stateful::reads_latest(&self.request) {
            // Between the attempt and the request itself it would miss what others do.
            return self.block(Stage::Sent, None);
        }
        let (mut begin, mut commit) = (BytesMut::new(), BytesMut::new());
        P::Stateful::write_server_command(Phrase::Multi, &mut begin);
        P::Stateful::write_server_command(Phrase::Exec, &mut commit);
        for (bytes, attempt) in [
            (begin.freeze(), TryStep::Begin),
            (self.request.clone(), TryStep::Request),
            (commit.freeze(), TryStep::Commit),
        ] {
            let responder = self.try_responder(attempt);
            upstream.forward(Frame::Shared(bytes), Span::default(), responder, now);
        }
    }

    /// What receives the reply that the client waits for.
    pub(crate) fn responder(self: &Rc<Self>) -> Responder<P> {
        let handler: Rc<dyn ReplyHandler<P>> = Rc::<Self>::clone(self);
        Responder::handler(handler, self.expect)
    }

    /// What receives the reply to one command of the transaction in which it is tried.
    fn try_responder(self: &Rc<Self>, step: TryStep) -> Responder<P> {
        let call = Rc::clone(self);
        Responder::handler(Rc::new(TryReply { call, step }), self.expect)
    }

    /// The end of a reply to the attempt. A server that takes no transactions has the request wait at once.
    fn on_try(self: &Rc<Self>, attempt: TryStep, rest: &[u8]) {
        let Some(reply) = self.take_reply(rest) else {
            return;
        };
        match attempt {
            TryStep::Begin if P::classify(&reply).is_error() => self.note(Stage::Blocked),
            TryStep::Request if self.blocks() => self.answer(reply),
            TryStep::Commit => match P::Stateful::try_result(&reply) {
                TryResult::Ready(served) => self.answer(reply.slice_ref(served)),
                // Nobody is there any more to wait, and the server has nothing left to do.
                TryResult::WouldBlock | TryResult::Rejected if self.seq.get().is_none() => {
                    self.end(UpstreamError::Dropped);
                }
                TryResult::WouldBlock => self.block(Stage::Blocked, None),
                // It is refused again, most likely: that its client says no more is then no matter.
                TryResult::Rejected => self.block(Stage::Sent, None),
                TryResult::Desynced => self.block(Stage::Blocked, Some(Phrase::Discard)),
            },
            // It takes the request for a part of a transaction that never ends.
            TryStep::Discard if P::classify(&reply).is_error() => {
                if let Some(upstream) = self.upstream.upgrade() {
                    upstream.fail_for_good(UpstreamError::BadReply);
                }
            }
            TryStep::Begin | TryStep::Request | TryStep::Discard => {}
        }
    }

    /// Has it wait, if its server lets it.
    fn block(self: &Rc<Self>, stage: Stage, before: Option<Phrase>) {
        let Some(upstream) = self.upstream.upgrade() else {
            return self.end(UpstreamError::Dropped);
        };
        let now = Instant::now();
        if let Some(phrase) = before {
            let mut bytes = BytesMut::new();
            P::Stateful::write_server_command(phrase, &mut bytes);
            let responder = self.try_responder(TryStep::Discard);
            upstream.forward(
                Frame::Shared(bytes.freeze()),
                Span::default(),
                responder,
                now,
            );
        }
        let responder = self.responder();
        let frame = Frame::Shared(self.request.clone());
        upstream.forward(frame, Span::default(), responder, now);
        self.note(stage);
    }

    /// Has the session look: once the server lets the client wait, the end of what it says is the end of that.
    fn note(&self, stage: Stage) {
        self.stage.set(stage);
        self.replies.wake();
    }

    /// Whether the server lets it wait, as far as is known.
    pub(crate) fn blocks(&self) -> bool {
        self.stage.get() == Stage::Blocked
    }

    /// Whether its server has it, not to be tried, but to wait.
    pub(crate) fn is_sent(&self) -> bool {
        self.stage.get() != Stage::Trying
    }

    pub(crate) fn request(&self) -> &Bytes {
        &self.request
    }

    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// The client is gone: the reply is kept, and shown to nobody.
    pub(crate) fn detach_client(&self) {
        self.seq.set(None);
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match &*self.state.borrow() {
            State::Waiting(_) => Outcome::Open,
            State::Answered(reply) => Outcome::Answered(reply.clone()),
            State::Failed => Outcome::Failed,
        }
    }

    /// Bytes of the reply; more follow.
    fn on_part(&self, part: &[u8]) {
        self.replies.hold_bytes(part.len());
        if let State::Waiting(reply) = &mut *self.state.borrow_mut() {
            reply.extend_from_slice(part);
        }
    }

    /// The whole of the reply that ends so, unless there was one already.
    fn take_reply(&self, rest: &[u8]) -> Option<Bytes> {
        let (reply, gathered) = {
            let mut state = self.state.borrow_mut();
            let State::Waiting(reply) = &mut *state else {
                return None;
            };
            let mut reply = mem::take(reply);
            let gathered = reply.len();
            reply.extend_from_slice(rest);
            (reply.freeze(), gathered)
        };
        self.replies.release_bytes(gathered);
        Some(reply)
    }

    fn answer(&self, reply: Bytes) {
        *self.state.borrow_mut() = State::Answered(reply.clone());
        match self.seq.get() {
            Some(seq) => self.replies.complete(seq, Frame::Shared(reply)),
            None => self.replies.wake(),
        }
    }

    /// There will be no reply; the client receives this error reply.
    fn answer_error(&self, words: &[u8]) {
        if self.take_reply(&[]).is_some() {
            self.answer(Bytes::copy_from_slice(words));
        }
    }

    /// There will be no reply.
    fn end(&self, error: UpstreamError) {
        let gathered = {
            let mut state = self.state.borrow_mut();
            let State::Waiting(reply) = &*state else {
                return;
            };
            let gathered = reply.len();
            *state = State::Failed;
            gathered
        };
        self.replies.release_bytes(gathered);
        match self.seq.get() {
            Some(seq) => self.replies.fail::<P>(seq, error, self.expect, false),
            None => self.replies.wake(),
        }
    }
}

/// The dedicated connection serves this client alone, and the server answers when it likes. Nothing reaches the client
/// before the whole reply is there, however much has come.
impl<P: Protocol> ReplyHandler<P> for BlockingCall<P> {
    fn part(&self, part: &[u8]) {
        self.on_part(part);
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        if let Some(reply) = self.take_reply(reply.bytes()) {
            self.answer(reply);
        }
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        self.end(error);
    }

    fn fail_with(self: Rc<Self>, _error: UpstreamError, text: &[u8], _begun: bool) {
        self.answer_error(text);
    }

    fn is_for(&self, _replies: &Rc<ReplyQueue>) -> bool {
        true
    }

    fn is_timed(&self) -> bool {
        false
    }
}

impl<P: Protocol> ReplyHandler<P> for TryReply<P> {
    fn part(&self, part: &[u8]) {
        self.call.on_part(part);
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        self.call.on_try(self.step, reply.bytes());
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        self.call.end(error);
    }

    fn fail_with(self: Rc<Self>, _error: UpstreamError, text: &[u8], _begun: bool) {
        self.call.answer_error(text);
    }

    fn is_for(&self, _replies: &Rc<ReplyQueue>) -> bool {
        true
    }

    fn is_timed(&self) -> bool {
        false
    }
}
