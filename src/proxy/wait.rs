//! A request that may take as long as it likes, on a connection that its client has for itself.
//!
//! What its server has taken out of a key for it must reach its client, or go back. So the reply is kept until it is
//! written, and a client that has left is still waited for: see [`super::dispatch`].

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::pipeline::{Pipeline, Seq};
use crate::buf::Frame;
use crate::protocol::{Fault, Protocol};

/// One such request. Shared by its ticket and its session.
#[derive(Debug)]
pub(super) struct Wait<P: Protocol> {
    pipeline: Rc<Pipeline>,
    /// The place of the reply; `None` where the client is gone.
    seq: Cell<Option<Seq>>,
    expect: P::Expect,
    state: RefCell<State>,
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
pub(super) enum Outcome {
    /// Not yet.
    Open,
    /// With this reply.
    Answered(Bytes),
    /// Without one.
    Failed,
}

impl<P: Protocol> Wait<P> {
    /// Waits for a reply to a client, or to nobody where there is no `seq`.
    pub(super) fn new(pipeline: &Rc<Pipeline>, seq: Option<Seq>, expect: P::Expect) -> Rc<Self> {
        Rc::new(Self {
            pipeline: Rc::clone(pipeline),
            seq: Cell::new(seq),
            expect,
            state: RefCell::new(State::Waiting(BytesMut::new())),
        })
    }

    pub(super) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// The client is gone: the reply is kept, and shown to nobody.
    pub(super) fn forsake(&self) {
        self.seq.set(None);
    }

    pub(super) fn outcome(&self) -> Outcome {
        match &*self.state.borrow() {
            State::Waiting(_) => Outcome::Open,
            State::Answered(reply) => Outcome::Answered(reply.clone()),
            State::Failed => Outcome::Failed,
        }
    }

    /// Bytes of the reply; more follow.
    pub(super) fn part(&self, part: &[u8]) {
        self.pipeline.gathered(part.len(), 0);
        if let State::Waiting(reply) = &mut *self.state.borrow_mut() {
            reply.extend_from_slice(part);
        }
    }

    /// The end of the reply.
    pub(super) fn complete(&self, rest: &[u8]) {
        let (reply, gathered) = {
            let mut state = self.state.borrow_mut();
            let State::Waiting(reply) = &mut *state else {
                return;
            };
            let gathered = reply.len();
            reply.extend_from_slice(rest);
            let reply = mem::take(reply).freeze();
            *state = State::Answered(reply.clone());
            (reply, gathered)
        };
        self.pipeline.gathered(0, gathered);
        match self.seq.get() {
            Some(seq) => self.pipeline.complete(seq, Frame::Shared(reply)),
            None => self.pipeline.nudge(),
        }
    }

    /// There will be no reply.
    pub(super) fn fail(&self, fault: Fault) {
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
