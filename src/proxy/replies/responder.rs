//! The obligation to answer one request, or one fragment of it.
//!
//! A dropped responder answers with an error: no path leaves a client without a reply.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::observe::SlowRequest;
use crate::protocol::PoolObserver as _;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::Seq;
use crate::stats::{CommandId, Latency};

/// Answers one request, once.
pub(crate) struct Responder<P: Protocol> {
    recipient: Option<Recipient<P>>,
    expect: P::Expect,
    command: CommandId,
    progress: Progress,
}

/// How far the request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    New,
    /// As `New`. The first request of a transaction.
    Leading,
    /// As `New`. The request must directly follow the one before it.
    Following,
    /// A part of the reply was passed on already.
    Begun,
}

enum Recipient<P: Protocol> {
    /// A whole request.
    Slot(Rc<ReplyQueue>, Seq),
    /// A fragment: the gather merges it with the others.
    Fragment(Rc<Gather<P>>, u16),
    /// Anything else.
    Handler(Rc<dyn ReplyHandler<P>>),
}

impl<P: Protocol> Responder<P> {
    /// Answers a whole request.
    #[inline]
    pub(crate) fn whole(replies: Rc<ReplyQueue>, seq: Seq, expect: P::Expect) -> Self {
        Self::new(Some(Recipient::Slot(replies, seq)), expect)
    }

    /// Answers one fragment of a request.
    pub(crate) fn fragment(gather: Rc<Gather<P>>, index: u16) -> Self {
        let expect = gather.expect();
        Self::new(Some(Recipient::Fragment(gather, index)), expect)
    }

    /// Passes the reply to `handler`.
    pub(crate) fn handler(handler: Rc<dyn ReplyHandler<P>>, expect: P::Expect) -> Self {
        Self::new(Some(Recipient::Handler(handler)), expect)
    }

    /// Discards the reply: the proxy itself sent the request.
    pub(crate) fn discard(expect: P::Expect) -> Self {
        Self::new(None, expect)
    }

    #[inline]
    fn new(recipient: Option<Recipient<P>>, expect: P::Expect) -> Self {
        Self {
            recipient,
            expect,
            command: CommandId::NONE,
            progress: Progress::New,
        }
    }

    /// Marks the request as the first one of a transaction, which the others follow.
    pub(crate) fn leading(mut self) -> Self {
        self.progress = Progress::Leading;
        self
    }

    /// Marks the request as one that must directly follow the one before it: both belong to a transaction.
    pub(crate) fn following(mut self) -> Self {
        self.progress = Progress::Following;
        self
    }

    /// Returns true if nothing may be sent between the request before it and this one.
    pub(crate) fn is_following(&self) -> bool {
        self.progress == Progress::Following
    }

    /// Returns true for a request of a transaction, as long as nothing of its reply was passed on.
    pub(crate) fn is_in_transaction(&self) -> bool {
        matches!(self.progress, Progress::Leading | Progress::Following)
    }

    /// What is to be sent before the request if that goes to another server than at first.
    pub(crate) fn prerequisites(&self) -> &[Bytes] {
        match &self.recipient {
            Some(Recipient::Handler(handler)) if self.progress == Progress::Leading => {
                handler.prerequisites()
            }
            _ => &[],
        }
    }

    /// Sets the command under which the request is counted, and logged if it is slow.
    #[inline]
    pub(crate) fn of_command(mut self, command: CommandId) -> Self {
        self.command = command;
        self
    }

    /// Returns true if the request may be sent again, as long as nothing of its reply was passed on: it stands for itself.
    pub(crate) fn may_be_sent_again(&self) -> bool {
        let stands_alone = match &self.recipient {
            Some(Recipient::Slot(..) | Recipient::Fragment(..)) => true,
            Some(Recipient::Handler(handler)) => handler.may_be_sent_again(),
            None => false,
        };
        stands_alone && self.progress == Progress::New
    }

    /// Returns true if a part of the reply was passed on.
    fn has_begun(&self) -> bool {
        self.progress == Progress::Begun
    }

    /// Returns true if the client of `replies` waits for it.
    pub(crate) fn is_for(&self, replies: &Rc<ReplyQueue>) -> bool {
        self.client().is_some_and(|own| Rc::ptr_eq(own, replies))
    }

    /// The reply queue of the client that waits for it; `None` for a request of the proxy itself.
    pub(crate) fn client(&self) -> Option<&Rc<ReplyQueue>> {
        match &self.recipient {
            Some(Recipient::Slot(replies, _)) => Some(replies),
            Some(Recipient::Fragment(gather, _)) => Some(gather.replies()),
            Some(Recipient::Handler(handler)) => handler.client(),
            None => None,
        }
    }

    /// Returns true if the server must answer within the timeout of the pool.
    pub(crate) fn is_timed(&self) -> bool {
        match &self.recipient {
            Some(Recipient::Handler(handler)) => handler.is_timed(),
            Some(Recipient::Fragment(gather, _)) => gather.is_timed(),
            Some(Recipient::Slot(..)) | None => true,
        }
    }

    /// The kind of reply that the request expects.
    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// Records the latency of a whole request. For fragments, their gather does.
    #[inline]
    pub(crate) fn note_latency(&self, latency: Latency) {
        if let Some(replies) = self.whole_request() {
            replies.answered(self.command, latency);
        }
    }

    /// Samples how long the reply to a whole request, which was read now, waits for its write.
    #[cold]
    pub(crate) fn sample(&self, now: Instant) {
        if let Some(replies) = self.whole_request() {
            replies.sample(now);
        }
    }

    /// Counts an error reply to a whole request that goes to a slot. For others, their gather and handlers do.
    #[cold]
    pub(crate) fn note_error(&self, reply: &[u8]) {
        if let Some(Recipient::Slot(replies, _)) = &self.recipient {
            replies.note_error::<P>(self.command, reply);
        }
    }

    /// Logs a slow whole request. A fragment is passed to its gather, which logs the whole.
    #[cold]
    pub(crate) fn note_slow(&self, settings: &P::Settings, slow: SlowRequest) {
        if let Some(Recipient::Fragment(gather, _)) = &self.recipient {
            gather.note_slow_part(slow);
        } else if let Some(replies) = self.whole_request() {
            let client = (replies.client(), replies.peer());
            P::Observer::note_slow(settings, self.command, client, slow);
        }
    }

    /// Returns true if it waits for the reply to EXEC.
    pub(crate) fn is_exec(&self) -> bool {
        matches!(&self.recipient, Some(Recipient::Handler(handler)) if handler.is_exec())
    }

    /// The reply queue of a whole request.
    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        match &self.recipient {
            Some(Recipient::Slot(replies, _)) => Some(replies),
            Some(Recipient::Handler(handler)) => handler.whole_request(),
            Some(Recipient::Fragment(..)) | None => None,
        }
    }

    /// Passes on the complete reply, or the rest of one that arrived in parts.
    pub(crate) fn complete(mut self, reply: Frame<'_>) {
        match self.recipient.take() {
            Some(Recipient::Slot(replies, seq)) if self.has_begun() => {
                replies.part(seq, reply.bytes());
                replies.finish(seq);
            }
            Some(Recipient::Slot(replies, seq)) => replies.complete(seq, reply),
            Some(Recipient::Fragment(gather, index)) => {
                gather.part(index, reply.bytes());
                gather.finish();
            }
            Some(Recipient::Handler(handler)) => handler.complete(reply, self.has_begun()),
            None => {}
        }
    }

    /// Passes on a part of the reply; more follows.
    pub(crate) fn part(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        self.progress = Progress::Begun;
        match &self.recipient {
            Some(Recipient::Slot(replies, seq)) => replies.part(*seq, part),
            Some(Recipient::Fragment(gather, index)) => gather.part(*index, part),
            Some(Recipient::Handler(handler)) => handler.part(part),
            None => {}
        }
    }

    /// Answers with an error, in place of a reply.
    pub(crate) fn fail(mut self, error: UpstreamError) {
        self.fail_now(error);
    }

    /// As [`Self::fail`], with this error reply unless a part of the reply was passed on.
    pub(crate) fn fail_with(mut self, error: UpstreamError, text: &[u8]) {
        match self.recipient.take() {
            Some(Recipient::Handler(handler)) => handler.fail_with(error, text, self.has_begun()),
            Some(Recipient::Fragment(gather, index)) if !self.has_begun() => {
                gather.fail_with(index, text);
            }
            Some(Recipient::Slot(replies, seq)) if !self.has_begun() => {
                replies.fail_with::<P>((seq, self.command), text);
            }
            recipient => {
                self.recipient = recipient;
                self.fail_now(error);
            }
        }
    }

    fn fail_now(&mut self, error: UpstreamError) {
        match self.recipient.take() {
            Some(Recipient::Slot(replies, seq)) => {
                replies.fail::<P>((seq, self.command), error, self.expect, self.has_begun());
            }
            Some(Recipient::Fragment(gather, index)) => gather.fail(index, error),
            Some(Recipient::Handler(handler)) => handler.fail(error, self.has_begun()),
            None => {}
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
        f.debug_struct("Responder")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
