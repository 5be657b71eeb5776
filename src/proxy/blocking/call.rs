//! A request that may block without limit, on the dedicated connection of its client.
//!
//! ```text
//! [MULTI request EXEC] --> ready: the reply
//!                      --> would block: [request] --> it blocks, until the reply
//! ```
//!
//! Elements that its server has popped for it must reach its client, or be restored. So the reply is kept until it is
//! written, and the wait continues for a disconnected client: see [`crate::proxy::dispatch`].
//!
//! A blocked client that sends EOF is gone, as in Redis. That does not depend on timing: the server itself reports
//! whether the request would block, since within a transaction none does. So it is irrelevant whether its reply arrives
//! before or after the EOF of the client.

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Blocking as _, Connections as _, Transactions as _};
use crate::protocol::{
    Effect, ErrorCode, Protocol, ProxyReply, ReplyClass, ServerCommand, Span, TryResult,
    UpstreamError,
};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::Seq;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::stats::CommandId;

/// A blocking request, shared by its responders and its session.
#[derive(Debug)]
pub(crate) struct BlockingCall<P: Protocol> {
    replies: Rc<ReplyQueue>,
    /// The slot of the reply; `None` if the client is gone.
    seq: Cell<Option<Seq>>,
    expect: P::Expect,
    command: CommandId,
    /// When the client began to wait.
    since: Instant,
    request: Bytes,
    /// Its connection, whose queue holds this.
    upstream: Weak<UpstreamConn<P>>,
    /// What the worker knew of moves of keys when it was tried.
    guard_changes: u64,
    /// The client waits if its server is no primary.
    waits_for_primary: bool,
    stage: Cell<Stage>,
    /// The reply in place of the server's error to a client that the proxy unblocks.
    notice: Cell<Option<ProxyReply>>,
    /// The client does not learn that the request was ended.
    is_moving: Cell<bool>,
    state: RefCell<State>,
}

/// A command of the transaction in which a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TryStep {
    Begin,
    Request,
    Commit,
    /// Sent if the server does not end the transaction.
    Discard,
}

/// Receives the reply to one command of the transaction in which a request is tried.
struct TryReply<P: Protocol> {
    call: Rc<BlockingCall<P>>,
    step: TryStep,
}

/// The known progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Trying,
    /// Sent to the server, where it may block.
    Sent,
    /// Blocked at the server.
    Blocked,
}

#[derive(Debug)]
enum State {
    /// The part of the reply that has arrived.
    Waiting(BytesMut),
    Answered(Bytes),
    Failed,
    /// The server was to end the request, and has done nothing else; the client waits on.
    Unblocked,
    /// The server has done nothing, since it is no primary; the client waits on.
    Refused,
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No outcome yet.
    Open,
    /// The request ended with this reply.
    Answered(Bytes),
    /// The request ended without a reply.
    Failed,
    /// The request was ended, so that it can be sent to another server.
    Unblocked,
    /// The server has refused the request: it is to be sent to the primary of then.
    Refused,
}

impl<P: Protocol> BlockingCall<P> {
    /// Creates a call that answers the client at `seq`, or nobody if there is none.
    pub(crate) fn new(
        replies: &Rc<ReplyQueue>,
        seq: Option<Seq>,
        expect: P::Expect,
        (command, since): (CommandId, Instant),
        upstream: &Rc<UpstreamConn<P>>,
        request: Bytes,
    ) -> Rc<Self> {
        Rc::new(Self {
            replies: Rc::clone(replies),
            seq: Cell::new(seq),
            expect,
            command,
            since,
            request,
            upstream: Rc::downgrade(upstream),
            guard_changes: upstream.server.guard_changes(),
            waits_for_primary: upstream.server.failover.is_some(),
            stage: Cell::new(Stage::Trying),
            notice: Cell::new(None),
            is_moving: Cell::new(false),
            state: RefCell::new(State::Waiting(BytesMut::new())),
        })
    }

    /// Tries whether the request would block, and sends it to block if so.
    pub(crate) fn try_now(self: &Rc<Self>, upstream: &UpstreamConn<P>, now: Instant) {
        if P::Stateful::reads_latest(&self.request) {
            // Between the attempt and the request itself it would miss writes of other clients.
            return self.block(Stage::Sent, None);
        }
        let (mut begin, mut commit) = (BytesMut::new(), BytesMut::new());
        P::Stateful::write_server_command(ServerCommand::Multi, &mut begin);
        P::Stateful::write_server_command(ServerCommand::Exec, &mut commit);
        for (bytes, step) in [
            (begin.freeze(), TryStep::Begin),
            (self.request.clone(), TryStep::Request),
            (commit.freeze(), TryStep::Commit),
        ] {
            let responder = self.try_responder(step);
            upstream.forward(Frame::Shared(bytes), Span::default(), responder, now);
        }
    }

    /// The responder of the reply that the client waits for.
    pub(crate) fn responder(self: &Rc<Self>) -> Responder<P> {
        let handler: Rc<dyn ReplyHandler<P>> = Rc::<Self>::clone(self);
        Responder::handler(handler, self.expect)
    }

    /// The responder of one command of the transaction in which the request is tried.
    fn try_responder(self: &Rc<Self>, step: TryStep) -> Responder<P> {
        let call = Rc::clone(self);
        Responder::handler(Rc::new(TryReply { call, step }), self.expect)
    }

    /// Handles the end of a reply to the attempt. A server that accepts no transactions blocks on the request at once.
    fn on_try(self: &Rc<Self>, step: TryStep, rest: &[u8]) {
        let Some(reply) = self.take_reply(rest) else {
            return;
        };
        match step {
            TryStep::Begin if P::classify(&reply).is_error() => self.set_stage(Stage::Blocked),
            TryStep::Request if self.blocks() => self.answer(reply),
            TryStep::Commit => match P::Stateful::try_result(&reply) {
                TryResult::Ready(served) => self.answer(reply.slice_ref(served)),
                // The client is gone, and the server has nothing left to do.
                TryResult::WouldBlock | TryResult::Rejected if self.seq.get().is_none() => {
                    self.end(UpstreamError::Dropped);
                }
                TryResult::WouldBlock | TryResult::Rejected if self.is_moving.get() => {
                    self.end_unsent();
                }
                TryResult::WouldBlock => self.block(Stage::Blocked, None),
                // It is most likely rejected again: EOF from its client is then irrelevant.
                TryResult::Rejected => self.block(Stage::Sent, None),
                TryResult::Desynced => self.block(Stage::Blocked, Some(ServerCommand::Discard)),
            },
            // The server takes the request as part of a transaction that never ends.
            TryStep::Discard if P::classify(&reply).is_error() => {
                if let Some(upstream) = self.upstream.upgrade() {
                    upstream.fail_for_good(UpstreamError::BadReply);
                }
            }
            TryStep::Begin | TryStep::Request | TryStep::Discard => {}
        }
    }

    /// Sends the request to block, after `before` if there is one.
    fn block(self: &Rc<Self>, stage: Stage, before: Option<ServerCommand>) {
        let Some(upstream) = self.upstream.upgrade() else {
            return self.end(UpstreamError::Dropped);
        };
        if upstream.server.guard_changes() != self.guard_changes {
            // After a hold has begun, nothing more may be sent for its keys: the request goes to where they are.
            return self.end_unsent();
        }
        let now = Instant::now();
        if let Some(command) = before {
            let mut bytes = BytesMut::new();
            P::Stateful::write_server_command(command, &mut bytes);
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
        self.set_stage(stage);
    }

    /// Sets the stage and wakes the session: once the client is blocked at the server, its EOF ends the wait.
    fn set_stage(&self, stage: Stage) {
        self.stage.set(stage);
        self.replies.wake();
    }

    /// Has the client wait for a primary: the request is nowhere.
    pub(crate) fn await_primary(&self) {
        *self.state.borrow_mut() = State::Refused;
    }

    /// Returns true if the request is known to be blocked.
    pub(crate) fn blocks(&self) -> bool {
        self.stage.get() == Stage::Blocked
    }

    /// Returns true if the request itself is sent, after the attempt.
    pub(crate) fn is_sent(&self) -> bool {
        self.stage.get() != Stage::Trying
    }

    pub(crate) fn request(&self) -> &Bytes {
        &self.request
    }

    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// The command, and when the client began to wait.
    pub(crate) fn waits(&self) -> (CommandId, Instant) {
        (self.command, self.since)
    }

    /// Sets the reply for the case that the server reports that the client was unblocked: the proxy did that.
    pub(crate) fn set_notice(&self, notice: ProxyReply) {
        self.notice.set(Some(notice));
    }

    /// Keeps it from the client that the proxy ends the request: it is to be sent to another server.
    pub(crate) fn begin_move(&self) {
        self.is_moving.set(true);
    }

    /// Ends the request, of which the server has received nothing.
    pub(crate) fn end_unsent(&self) {
        if self.take_reply(&[]).is_some() {
            *self.state.borrow_mut() = State::Unblocked;
            self.replies.wake();
        }
    }

    /// The slot of the reply; `None` if the client is gone.
    pub(crate) fn seq(&self) -> Option<Seq> {
        self.seq.get()
    }

    /// Answers the client of a request that is nowhere.
    pub(crate) fn conclude(&self, reply: Bytes) {
        self.is_moving.set(false);
        self.notice.set(None);
        let _ = self.take_reply(&[]);
        self.answer(reply);
    }

    /// Detaches the client, which is gone: the reply is kept, and written to nobody.
    pub(crate) fn detach_client(&self) {
        self.seq.set(None);
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match &*self.state.borrow() {
            State::Waiting(_) => Outcome::Open,
            State::Answered(reply) => Outcome::Answered(reply.clone()),
            State::Failed => Outcome::Failed,
            State::Unblocked => Outcome::Unblocked,
            State::Refused => Outcome::Refused,
        }
    }

    /// Returns true for the reply of a server that has done nothing, while a client waits for another one.
    fn is_refusal(&self, reply: &[u8]) -> bool {
        let is_unblocked = P::classify(reply) == ReplyClass::Error(ErrorCode::Unblocked);
        self.waits_for_primary
            && self.seq.get().is_some()
            // What has come since its arrival cannot be read again.
            && !(is_unblocked && P::Stateful::reads_latest(&self.request))
            && P::Stateful::effect(&self.request, self.expect, reply) == Effect::Refused
    }

    /// Appends bytes to the reply; more follow.
    fn on_part(&self, part: &[u8]) {
        self.replies.hold_bytes(part.len());
        if let State::Waiting(reply) = &mut *self.state.borrow_mut() {
            reply.extend_from_slice(part);
        }
    }

    /// Takes the complete reply that ends with `rest`, unless there was one already.
    fn take_reply(&self, rest: &[u8]) -> Option<Bytes> {
        let (reply, held) = {
            let mut state = self.state.borrow_mut();
            let State::Waiting(reply) = &mut *state else {
                return None;
            };
            let mut reply = mem::take(reply);
            let held = reply.len();
            reply.extend_from_slice(rest);
            (reply.freeze(), held)
        };
        self.replies.release_bytes(held);
        Some(reply)
    }

    fn answer(&self, mut reply: Bytes) {
        let is_unblocked = P::classify(&reply) == ReplyClass::Error(ErrorCode::Unblocked);
        if is_unblocked && self.is_moving.get() {
            *self.state.borrow_mut() = State::Unblocked;
            return self.replies.wake();
        }
        if let Some(notice) = self.notice.get()
            && is_unblocked
        {
            let mut text = BytesMut::new();
            P::Stateful::write_proxy_reply(notice, &mut text);
            reply = text.freeze();
        }
        *self.state.borrow_mut() = State::Answered(reply.clone());
        match self.seq.get() {
            Some(seq) => {
                self.replies.waited(self.command, self.since.elapsed());
                self.replies
                    .conclude::<P>((seq, self.command), Frame::Shared(reply));
            }
            None => self.replies.wake(),
        }
    }

    /// Ends without a reply; the client receives this error reply, unless it waits for a primary.
    fn answer_error(&self, error: UpstreamError, text: &[u8]) {
        if self.take_reply(&[]).is_none() {
            return;
        }
        if error == UpstreamError::NoPrimary && self.seq.get().is_some() {
            // The connection was not opened.
            self.await_primary();
            return self.replies.wake();
        }
        self.answer(Bytes::copy_from_slice(text));
    }

    /// Ends without a reply.
    fn end(&self, error: UpstreamError) {
        if error == UpstreamError::Moving {
            // Nothing was sent: the request goes to where its keys are.
            return self.end_unsent();
        }
        let held = {
            let mut state = self.state.borrow_mut();
            let State::Waiting(reply) = &*state else {
                return;
            };
            let held = reply.len();
            *state = State::Failed;
            held
        };
        self.replies.release_bytes(held);
        match self.seq.get() {
            Some(seq) => {
                let place = (seq, self.command);
                self.replies.fail::<P>(place, error, self.expect, false);
            }
            None => self.replies.wake(),
        }
    }
}

/// The dedicated connection serves this client alone, without a timeout. Nothing is written to the client before the
/// reply is complete.
impl<P: Protocol> ReplyHandler<P> for BlockingCall<P> {
    fn part(&self, part: &[u8]) {
        self.on_part(part);
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        let Some(reply) = self.take_reply(reply.bytes()) else {
            return;
        };
        if self.is_refusal(&reply) {
            self.await_primary();
            return self.replies.wake();
        }
        self.answer(reply);
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        self.end(error);
    }

    fn fail_with(self: Rc<Self>, error: UpstreamError, text: &[u8], _begun: bool) {
        self.answer_error(error, text);
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.replies)
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

    fn fail_with(self: Rc<Self>, error: UpstreamError, text: &[u8], _begun: bool) {
        self.call.answer_error(error, text);
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.call.replies)
    }

    fn is_timed(&self) -> bool {
        false
    }
}
