//! The right, and the duty, to answer one request or one fragment of it.
//!
//! A ticket that is dropped answers with an error: no path can forget a client.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::protocol::{HandshakeStep, Protocol, UpstreamError};
use crate::proxy::blocking::call::{BlockingCall, TryStep};
use crate::proxy::blocking::offset_marker::OffsetMarker;
use crate::proxy::blocking::unblock_retry::UnblockRetry;
use crate::proxy::forward::eval_fallback::EvalFallback;
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::{ReplyQueue, Seq};
use crate::proxy::transaction::probe::TxProbe;
use crate::proxy::upstream::loaded_scripts::LoadedScripts;

/// Answers one request, once.
pub(crate) struct Responder<P: Protocol> {
    owner: Option<Recipient<P>>,
    expect: P::Expect,
    tag: P::CommandTag,
    /// A part of the reply was handed on already.
    begun: bool,
}

enum Recipient<P: Protocol> {
    /// A whole request.
    Slot(Rc<ReplyQueue>, Seq),
    /// A fragment: the gather joins it with the others.
    Fragment(Rc<Gather<P>>, u16),
    /// A request that may take as long as it likes.
    Wait(Rc<BlockingCall<P>>),
    /// As `Wait`, of which it is first tried whether it has to.
    Attempt(Rc<BlockingCall<P>>, TryStep),
    /// A request that asks whether the server takes transactions.
    Trial(Rc<TxProbe<P>>),
    /// A request of a transaction: only whether its server queued it matters.
    Step(Rc<QueueError>),
    /// The end of a transaction.
    Verdict(Box<ExecReply>),
    /// A whole request that may be said in other words.
    Retold(Box<EvalFallback<P>>),
    /// A fragment that may come too early.
    Again(Box<UnblockRetry<P>>),
    /// What is written before a request that asks how far others have come.
    Mark(Box<OffsetMarker<P>>),
}

/// Whom the end of a transaction answers, and with what if its server did not queue all of it.
struct ExecReply {
    replies: Rc<ReplyQueue>,
    seq: Seq,
    cause: Rc<QueueError>,
    loaded_scripts: Option<Rc<LoadedScripts>>,
}

/// Why a server did not queue a request of a transaction: what it said first.
#[derive(Debug, Default)]
pub(crate) struct QueueError(OnceCell<Bytes>);

impl<P: Protocol> Responder<P> {
    #[inline]
    pub(crate) fn whole(replies: Rc<ReplyQueue>, seq: Seq, expect: P::Expect) -> Self {
        Self {
            owner: Some(Recipient::Slot(replies, seq)),
            expect,
            tag: P::CommandTag::default(),
            begun: false,
        }
    }

    pub(crate) fn fragment(gather: Rc<Gather<P>>, index: u16) -> Self {
        Self {
            expect: gather.expect(),
            owner: Some(Recipient::Fragment(gather, index)),
            tag: P::CommandTag::default(),
            begun: false,
        }
    }

    /// The same ticket, for a request that is known by this label if it turns out to be slow.
    #[inline]
    pub(crate) fn tagged(mut self, label: P::CommandTag) -> Self {
        self.tag = label;
        self
    }

    pub(crate) fn wait(wait: Rc<BlockingCall<P>>) -> Self {
        Self {
            expect: wait.expect(),
            owner: Some(Recipient::Wait(wait)),
            tag: P::CommandTag::default(),
            begun: false,
        }
    }

    /// One request of the transaction in which something that may wait is tried.
    pub(crate) fn try_step(wait: Rc<BlockingCall<P>>, attempt: TryStep) -> Self {
        let expect = wait.expect();
        Self {
            owner: Some(Recipient::Attempt(wait, attempt)),
            ..Self::discard(expect)
        }
    }

    /// One request of those that ask whether the server takes transactions.
    pub(crate) fn probe(asking: Rc<TxProbe<P>>, expect: P::Expect) -> Self {
        Self {
            owner: Some(Recipient::Trial(asking)),
            ..Self::discard(expect)
        }
    }

    pub(crate) fn eval_fallback(retold: EvalFallback<P>, expect: P::Expect) -> Self {
        Self {
            owner: Some(Recipient::Retold(Box::new(retold))),
            expect,
            begun: false,
            tag: P::CommandTag::default(),
        }
    }

    pub(crate) fn unblock_retry(again: UnblockRetry<P>) -> Self {
        let expect = again.gather.expect();
        Self {
            owner: Some(Recipient::Again(Box::new(again))),
            ..Self::discard(expect)
        }
    }

    pub(crate) fn offset_marker(mark: OffsetMarker<P>) -> Self {
        let expect = mark.gather.expect();
        Self {
            owner: Some(Recipient::Mark(Box::new(mark))),
            ..Self::discard(expect)
        }
    }

    /// One request of a transaction.
    pub(crate) fn queue_reply(cause: Rc<QueueError>, expect: P::Expect) -> Self {
        Self {
            owner: Some(Recipient::Step(cause)),
            ..Self::discard(expect)
        }
    }

    /// The end of a transaction. What its server was given for it is noted in `lessons`.
    pub(crate) fn exec(
        (replies, seq): (Rc<ReplyQueue>, Seq),
        cause: Rc<QueueError>,
        loaded_scripts: Option<Rc<LoadedScripts>>,
        expect: P::Expect,
    ) -> Self {
        let verdict = ExecReply {
            replies,
            seq,
            cause,
            loaded_scripts,
        };
        Self {
            owner: Some(Recipient::Verdict(Box::new(verdict))),
            ..Self::discard(expect)
        }
    }

    /// Answers nobody: the proxy asks for itself.
    pub(crate) fn discard(expect: P::Expect) -> Self {
        Self {
            owner: None,
            expect,
            begun: false,
            tag: P::CommandTag::default(),
        }
    }

    /// Whether the client of this pipeline waits for it.
    pub(crate) fn is_for(&self, replies: &Rc<ReplyQueue>) -> bool {
        let own = match &self.owner {
            Some(Recipient::Slot(own, _)) => own,
            Some(Recipient::Verdict(verdict)) => &verdict.replies,
            Some(Recipient::Fragment(gather, _)) => gather.replies(),
            Some(Recipient::Retold(retold)) => &retold.replies,
            Some(Recipient::Again(again)) => again.gather.replies(),
            Some(Recipient::Mark(mark)) => mark.gather.replies(),
            Some(Recipient::Wait(_) | Recipient::Attempt(..)) => return true,
            Some(Recipient::Step(_) | Recipient::Trial(_)) | None => return false,
        };
        Rc::ptr_eq(own, replies)
    }

    /// Whether it is to be answered within the timeout of the pool.
    pub(crate) fn is_timed(&self) -> bool {
        match &self.owner {
            Some(Recipient::Wait(_) | Recipient::Attempt(..)) => false,
            Some(Recipient::Fragment(gather, _)) => gather.is_timed(),
            _ => true,
        }
    }

    /// What reply the request expects.
    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// Notes how long a request took. A fragment is only part of one: its gather notes the whole.
    pub(crate) fn note_latency(&self, took: Duration) {
        if let Some(replies) = self.whole_recipient() {
            replies.answered(took);
        }
    }

    /// Notes that the servers of a request took so long. A fragment is only part of one: its gather notes the whole.
    #[cold]
    pub(crate) fn note_slow(&self, settings: &P::Settings, took: Duration) {
        if let Some(replies) = self.whole_recipient() {
            P::note_slow(settings, self.tag, replies.client(), took);
        }
    }

    /// Whether it is the end of a transaction.
    pub(crate) fn is_exec(&self) -> bool {
        matches!(self.owner, Some(Recipient::Verdict(..)))
    }

    /// Whom a whole request answers.
    fn whole_recipient(&self) -> Option<&Rc<ReplyQueue>> {
        match &self.owner {
            Some(Recipient::Slot(replies, _)) => Some(replies),
            Some(Recipient::Verdict(verdict)) => Some(&verdict.replies),
            Some(Recipient::Retold(retold)) => Some(&retold.replies),
            _ => None,
        }
    }

    /// The whole reply, or what is left of one that came in parts.
    pub(crate) fn complete(mut self, reply: Frame<'_>) {
        match self.owner.take() {
            Some(Recipient::Slot(replies, seq)) if self.begun => {
                replies.part(seq, reply.bytes());
                replies.finish(seq);
            }
            Some(Recipient::Slot(replies, seq)) => replies.complete(seq, reply),
            Some(Recipient::Fragment(gather, index)) => {
                gather.part(index, reply.bytes());
                gather.finish();
            }
            Some(Recipient::Wait(wait)) => wait.complete(reply.bytes()),
            Some(Recipient::Attempt(wait, attempt)) => wait.on_try(attempt, reply.bytes()),
            Some(Recipient::Trial(asking)) => asking.note(reply.bytes()),
            Some(Recipient::Step(cause))
                if P::handshake_step(reply.bytes()) == HandshakeStep::Refused =>
            {
                // The first one counts.
                let _ = cause.0.set(Bytes::copy_from_slice(reply.bytes()));
            }
            Some(Recipient::Verdict(verdict)) => verdict.complete::<P>(reply, self.begun),
            Some(Recipient::Retold(retold)) if self.begun => {
                retold.replies.part(retold.seq, reply.bytes());
                retold.replies.finish(retold.seq);
            }
            Some(Recipient::Retold(retold)) => retold.complete(reply, self.expect),
            Some(Recipient::Again(again)) => again.complete(reply.bytes()),
            Some(Recipient::Mark(mark)) => mark.complete(reply.bytes()),
            Some(Recipient::Step(_)) | None => {}
        }
    }

    /// A part of the reply; more follows.
    pub(crate) fn part(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        self.begun = true;
        match &self.owner {
            Some(Recipient::Slot(replies, seq)) => replies.part(*seq, part),
            Some(Recipient::Verdict(verdict)) => {
                verdict.note_noscript::<P>(part);
                verdict.replies.part(verdict.seq, part);
            }
            Some(Recipient::Fragment(gather, index)) => gather.part(*index, part),
            Some(Recipient::Wait(wait) | Recipient::Attempt(wait, _)) => wait.part(part),
            Some(Recipient::Retold(retold)) => retold.replies.part(retold.seq, part),
            // Numbers and errors: they do not come in parts.
            Some(
                Recipient::Step(_) | Recipient::Trial(_) | Recipient::Again(_) | Recipient::Mark(_),
            )
            | None => {}
        }
    }

    /// There will be no reply.
    pub(crate) fn fail(mut self, error: UpstreamError) {
        self.fail_now(error);
    }

    /// As [`Self::fail`], in these words if nothing of a reply is under way. They are no server's answer: an exchange of several
    /// requests does not go on with them.
    pub(crate) fn fail_with(mut self, error: UpstreamError, words: &[u8]) {
        match &self.owner {
            // Nothing of it has reached its client, however much has come.
            Some(Recipient::Wait(_) | Recipient::Attempt(..)) => {}
            _ if self.begun => return self.fail_now(error),
            // What is known of a server that refuses its greeting is that it takes no transactions.
            Some(
                Recipient::Slot(..)
                | Recipient::Fragment(..)
                | Recipient::Verdict(_)
                | Recipient::Trial(_),
            ) => {
                return self.complete(Frame::Borrowed(words));
            }
            _ => {}
        }
        match self.owner.take() {
            Some(Recipient::Wait(wait) | Recipient::Attempt(wait, _)) => wait.fail_with(words),
            Some(Recipient::Retold(retold)) => {
                let EvalFallback { replies, seq, .. } = *retold;
                replies.complete(seq, Frame::Borrowed(words));
            }
            Some(Recipient::Again(again)) => again.finish(words),
            Some(Recipient::Mark(mark)) => mark.fail_with(words),
            _ => {}
        }
    }

    fn fail_now(&mut self, error: UpstreamError) {
        match self.owner.take() {
            Some(Recipient::Slot(replies, seq)) => {
                replies.fail::<P>(seq, error, self.expect, self.begun);
            }
            Some(Recipient::Verdict(verdict)) => {
                let ExecReply { replies, seq, .. } = *verdict;
                replies.fail::<P>(seq, error, self.expect, self.begun);
            }
            Some(Recipient::Fragment(gather, index)) => gather.fail(index, error),
            Some(Recipient::Wait(wait) | Recipient::Attempt(wait, _)) => wait.fail(error),
            Some(Recipient::Trial(asking)) => asking.lose(error),
            Some(Recipient::Retold(retold)) => {
                let EvalFallback { replies, seq, .. } = *retold;
                replies.fail::<P>(seq, error, self.expect, self.begun);
            }
            Some(Recipient::Again(again)) => again.fail(error),
            Some(Recipient::Mark(mark)) => mark.fail(error),
            Some(Recipient::Step(_)) | None => {}
        }
    }
}

impl ExecReply {
    /// Looks whether the server has forgotten what it was given. A line of a reply is never cut between two parts.
    fn note_noscript<P: Protocol>(&self, part: &[u8]) {
        if let Some(loaded_scripts) = &self.loaded_scripts
            && P::contains_noscript(part)
        {
            // The next transaction brings them again.
            loaded_scripts.forget();
        }
    }

    /// The whole reply to the end of a transaction, or what is left of it.
    fn complete<P: Protocol>(self, reply: Frame<'_>, begun: bool) {
        self.note_noscript::<P>(reply.bytes());
        let Self {
            replies,
            seq,
            cause,
            ..
        } = self;
        if begun {
            replies.part(seq, reply.bytes());
            return replies.finish(seq);
        }
        let mut verdict = BytesMut::new();
        match cause.0.get() {
            Some(cause) if P::write_exec_abort(cause, reply.bytes(), &mut verdict) => {
                replies.complete(seq, Frame::Borrowed(&verdict));
            }
            _ => replies.complete(seq, reply),
        }
    }
}

impl<P: Protocol> Drop for Responder<P> {
    fn drop(&mut self) {
        self.fail_now(UpstreamError::Dropped);
    }
}

impl<P: Protocol> fmt::Debug for Responder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}
