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
use crate::protocol::{Fault, Phrase, Protocol, Span, Tried};
use crate::proxy::replies::queue::{Pipeline, Seq};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::upstream::conn::Upstream;

/// One such request. Shared by its tickets and its session.
#[derive(Debug)]
pub(crate) struct Wait<P: Protocol> {
    pipeline: Rc<Pipeline>,
    /// The place of the reply; `None` where the client is gone.
    seq: Cell<Option<Seq>>,
    expect: P::Expect,
    request: Bytes,
    /// Where it goes: its queue holds this.
    upstream: Weak<Upstream<P>>,
    stage: Cell<Stage>,
    state: RefCell<State>,
}

/// A request of the transaction in which it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Begin,
    Request,
    Commit,
    /// Where the server does not end what it has begun.
    Discard,
}

/// How far a request is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Tried,
    /// It is with the server, which may let it wait.
    Sent,
    /// The server lets it wait.
    Blocks,
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

impl<P: Protocol> Wait<P> {
    /// Answers the client at `seq`, or nobody where there is none.
    pub(crate) fn new(
        pipeline: &Rc<Pipeline>,
        seq: Option<Seq>,
        expect: P::Expect,
        upstream: &Rc<Upstream<P>>,
        request: Bytes,
    ) -> Rc<Self> {
        Rc::new(Self {
            pipeline: Rc::clone(pipeline),
            seq: Cell::new(seq),
            expect,
            request,
            upstream: Rc::downgrade(upstream),
            stage: Cell::new(Stage::Tried),
            state: RefCell::new(State::Waiting(BytesMut::new())),
        })
    }

    /// Tries whether the request must wait, and has it wait if so.
    pub(crate) fn attempt(self: &Rc<Self>, upstream: &Upstream<P>, now: Instant) {
        if P::is_now(&self.request) {
            // Between the attempt and the request itself it would miss what others do.
            return self.block(Stage::Sent, None);
        }
        let (mut begin, mut commit) = (BytesMut::new(), BytesMut::new());
        P::write_phrase(Phrase::Begin, &mut begin);
        P::write_phrase(Phrase::Commit, &mut commit);
        for (bytes, attempt) in [
            (begin.freeze(), Attempt::Begin),
            (self.request.clone(), Attempt::Request),
            (commit.freeze(), Attempt::Commit),
        ] {
            let ticket = Ticket::attempt(Rc::clone(self), attempt);
            upstream.forward(Frame::Shared(bytes), Span::default(), ticket, now);
        }
    }

    /// The end of a reply to the attempt. A server that takes no transactions has the request wait at once.
    pub(crate) fn on_attempt(self: &Rc<Self>, attempt: Attempt, rest: &[u8]) {
        let Some(reply) = self.take_reply(rest) else {
            return;
        };
        match attempt {
            Attempt::Begin if P::is_refusal(&reply) => self.note(Stage::Blocks),
            Attempt::Request if self.blocks() => self.answer(reply),
            Attempt::Commit => match P::tried(&reply) {
                Tried::Served(served) => self.answer(reply.slice_ref(served)),
                // Nobody is there any more to wait, and the server has nothing left to do.
                Tried::Waits | Tried::Refused if self.seq.get().is_none() => {
                    self.fail(Fault::Dropped);
                }
                Tried::Waits => self.block(Stage::Blocks, None),
                // It is refused again, most likely: that its client says no more is then no matter.
                Tried::Refused => self.block(Stage::Sent, None),
                Tried::Stuck => self.block(Stage::Blocks, Some(Phrase::Discard)),
            },
            // It takes the request for a part of a transaction that never ends.
            Attempt::Discard if P::is_refusal(&reply) => {
                if let Some(upstream) = self.upstream.upgrade() {
                    upstream.lose(Fault::BadReply);
                }
            }
            Attempt::Begin | Attempt::Request | Attempt::Discard => {}
        }
    }

    /// Has it wait, if its server lets it.
    fn block(self: &Rc<Self>, stage: Stage, before: Option<Phrase>) {
        let Some(upstream) = self.upstream.upgrade() else {
            return self.fail(Fault::Dropped);
        };
        let now = Instant::now();
        if let Some(phrase) = before {
            let mut bytes = BytesMut::new();
            P::write_phrase(phrase, &mut bytes);
            let ticket = Ticket::attempt(Rc::clone(self), Attempt::Discard);
            upstream.forward(Frame::Shared(bytes.freeze()), Span::default(), ticket, now);
        }
        let ticket = Ticket::wait(Rc::clone(self));
        let frame = Frame::Shared(self.request.clone());
        upstream.forward(frame, Span::default(), ticket, now);
        self.note(stage);
    }

    /// Has the session look: once the server lets the client wait, the end of what it says is the end of that.
    fn note(&self, stage: Stage) {
        self.stage.set(stage);
        self.pipeline.nudge();
    }

    /// Whether the server lets it wait, as far as is known.
    pub(crate) fn blocks(&self) -> bool {
        self.stage.get() == Stage::Blocks
    }

    /// Whether its server has it, not to be tried, but to wait.
    pub(crate) fn is_sent(&self) -> bool {
        self.stage.get() != Stage::Tried
    }

    pub(crate) fn request(&self) -> &Bytes {
        &self.request
    }

    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// The client is gone: the reply is kept, and shown to nobody.
    pub(crate) fn forsake(&self) {
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
    pub(crate) fn part(&self, part: &[u8]) {
        self.pipeline.gathered(part.len(), 0);
        if let State::Waiting(reply) = &mut *self.state.borrow_mut() {
            reply.extend_from_slice(part);
        }
    }

    /// The end of the reply.
    pub(crate) fn complete(&self, rest: &[u8]) {
        if let Some(reply) = self.take_reply(rest) {
            self.answer(reply);
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
        self.pipeline.gathered(0, gathered);
        Some(reply)
    }

    fn answer(&self, reply: Bytes) {
        *self.state.borrow_mut() = State::Answered(reply.clone());
        match self.seq.get() {
            Some(seq) => self.pipeline.complete(seq, Frame::Shared(reply)),
            None => self.pipeline.nudge(),
        }
    }

    /// There will be no reply, and these words say why.
    pub(crate) fn fail_with(&self, words: &[u8]) {
        if self.take_reply(&[]).is_some() {
            self.answer(Bytes::copy_from_slice(words));
        }
    }

    /// There will be no reply.
    pub(crate) fn fail(&self, fault: Fault) {
        let gathered = {
            let mut state = self.state.borrow_mut();
            let State::Waiting(reply) = &*state else {
                return;
            };
            let gathered = reply.len();
            *state = State::Failed;
            gathered
        };
        self.pipeline.gathered(0, gathered);
        match self.seq.get() {
            Some(seq) => self.pipeline.fail::<P>(seq, fault, self.expect, false),
            None => self.pipeline.nudge(),
        }
    }
}
