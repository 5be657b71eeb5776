//! The right, and the duty, to answer one request or one fragment of it.
//!
//! A ticket that is dropped answers with an error: no path can forget a client.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::protocol::{Fault, Greeted, Protocol};
use crate::proxy::blocking::call::{Attempt, Wait};
use crate::proxy::blocking::offset_marker::Mark;
use crate::proxy::blocking::unblock_retry::Again;
use crate::proxy::forward::eval_fallback::Retold;
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::{Pipeline, Seq};
use crate::proxy::transaction::probe::Asking;
use crate::proxy::upstream::loaded_scripts::Lessons;

/// Answers one request, once.
pub(crate) struct Ticket<P: Protocol> {
    owner: Option<Owner<P>>,
    expect: P::Expect,
    label: P::Label,
    /// A part of the reply was handed on already.
    begun: bool,
}

enum Owner<P: Protocol> {
    /// A whole request.
    Slot(Rc<Pipeline>, Seq),
    /// A fragment: the gather joins it with the others.
    Fragment(Rc<Gather<P>>, u16),
    /// A request that may take as long as it likes.
    Wait(Rc<Wait<P>>),
    /// As `Wait`, of which it is first tried whether it has to.
    Attempt(Rc<Wait<P>>, Attempt),
    /// A request that asks whether the server takes transactions.
    Trial(Rc<Asking<P>>),
    /// A request of a transaction: only whether its server queued it matters.
    Step(Rc<Cause>),
    /// The end of a transaction.
    Verdict(Box<Verdict>),
    /// A whole request that may be said in other words.
    Retold(Box<Retold<P>>),
    /// A fragment that may come too early.
    Again(Box<Again<P>>),
    /// What is written before a request that asks how far others have come.
    Mark(Box<Mark<P>>),
}

/// Whom the end of a transaction answers, and with what if its server did not queue all of it.
struct Verdict {
    pipeline: Rc<Pipeline>,
    seq: Seq,
    cause: Rc<Cause>,
    lessons: Option<Rc<Lessons>>,
}

/// Why a server did not queue a request of a transaction: what it said first.
#[derive(Debug, Default)]
pub(crate) struct Cause(OnceCell<Bytes>);

impl<P: Protocol> Ticket<P> {
    #[inline]
    pub(crate) fn whole(pipeline: Rc<Pipeline>, seq: Seq, expect: P::Expect) -> Self {
        Self {
            owner: Some(Owner::Slot(pipeline, seq)),
            expect,
            label: P::Label::default(),
            begun: false,
        }
    }

    pub(crate) fn fragment(gather: Rc<Gather<P>>, index: u16) -> Self {
        Self {
            expect: gather.expect(),
            owner: Some(Owner::Fragment(gather, index)),
            label: P::Label::default(),
            begun: false,
        }
    }

    /// The same ticket, for a request that is known by this label if it turns out to be slow.
    #[inline]
    pub(crate) fn labelled(mut self, label: P::Label) -> Self {
        self.label = label;
        self
    }

    pub(crate) fn wait(wait: Rc<Wait<P>>) -> Self {
        Self {
            expect: wait.expect(),
            owner: Some(Owner::Wait(wait)),
            label: P::Label::default(),
            begun: false,
        }
    }

    /// One request of the transaction in which something that may wait is tried.
    pub(crate) fn attempt(wait: Rc<Wait<P>>, attempt: Attempt) -> Self {
        let expect = wait.expect();
        Self {
            owner: Some(Owner::Attempt(wait, attempt)),
            ..Self::nobody(expect)
        }
    }

    /// One request of those that ask whether the server takes transactions.
    pub(crate) fn trial(asking: Rc<Asking<P>>, expect: P::Expect) -> Self {
        Self {
            owner: Some(Owner::Trial(asking)),
            ..Self::nobody(expect)
        }
    }

    pub(crate) fn retold(retold: Retold<P>, expect: P::Expect) -> Self {
        Self {
            owner: Some(Owner::Retold(Box::new(retold))),
            expect,
            begun: false,
            label: P::Label::default(),
        }
    }

    pub(crate) fn again(again: Again<P>) -> Self {
        let expect = again.gather.expect();
        Self {
            owner: Some(Owner::Again(Box::new(again))),
            ..Self::nobody(expect)
        }
    }

    pub(crate) fn mark(mark: Mark<P>) -> Self {
        let expect = mark.gather.expect();
        Self {
            owner: Some(Owner::Mark(Box::new(mark))),
            ..Self::nobody(expect)
        }
    }

    /// One request of a transaction.
    pub(crate) fn step(cause: Rc<Cause>, expect: P::Expect) -> Self {
        Self {
            owner: Some(Owner::Step(cause)),
            ..Self::nobody(expect)
        }
    }

    /// The end of a transaction. What its server was given for it is noted in `lessons`.
    pub(crate) fn verdict(
        (pipeline, seq): (Rc<Pipeline>, Seq),
        cause: Rc<Cause>,
        lessons: Option<Rc<Lessons>>,
        expect: P::Expect,
    ) -> Self {
        let verdict = Verdict {
            pipeline,
            seq,
            cause,
            lessons,
        };
        Self {
            owner: Some(Owner::Verdict(Box::new(verdict))),
            ..Self::nobody(expect)
        }
    }

    /// Answers nobody: the proxy asks for itself.
    pub(crate) fn nobody(expect: P::Expect) -> Self {
        Self {
            owner: None,
            expect,
            begun: false,
            label: P::Label::default(),
        }
    }

    /// Whether the client of this pipeline waits for it.
    pub(crate) fn is_for(&self, pipeline: &Rc<Pipeline>) -> bool {
        let own = match &self.owner {
            Some(Owner::Slot(own, _)) => own,
            Some(Owner::Verdict(verdict)) => &verdict.pipeline,
            Some(Owner::Fragment(gather, _)) => gather.pipeline(),
            Some(Owner::Retold(retold)) => &retold.pipeline,
            Some(Owner::Again(again)) => again.gather.pipeline(),
            Some(Owner::Mark(mark)) => mark.gather.pipeline(),
            Some(Owner::Wait(_) | Owner::Attempt(..)) => return true,
            Some(Owner::Step(_) | Owner::Trial(_)) | None => return false,
        };
        Rc::ptr_eq(own, pipeline)
    }

    /// Whether it is to be answered within the timeout of the pool.
    pub(crate) fn is_timed(&self) -> bool {
        match &self.owner {
            Some(Owner::Wait(_) | Owner::Attempt(..)) => false,
            Some(Owner::Fragment(gather, _)) => gather.is_timed(),
            _ => true,
        }
    }

    /// What reply the request expects.
    pub(crate) fn expect(&self) -> P::Expect {
        self.expect
    }

    /// Notes how long a request took. A fragment is only part of one: its gather notes the whole.
    pub(crate) fn note_latency(&self, took: Duration) {
        if let Some(pipeline) = self.whole_of() {
            pipeline.answered(took);
        }
    }

    /// Notes that the servers of a request took so long. A fragment is only part of one: its gather notes the whole.
    #[cold]
    pub(crate) fn note_slow(&self, settings: &P::Settings, took: Duration) {
        if let Some(pipeline) = self.whole_of() {
            P::note_slow(settings, self.label, pipeline.client(), took);
        }
    }

    /// Whether it is the end of a transaction.
    pub(crate) fn is_verdict(&self) -> bool {
        matches!(self.owner, Some(Owner::Verdict(..)))
    }

    /// Whom a whole request answers.
    fn whole_of(&self) -> Option<&Rc<Pipeline>> {
        match &self.owner {
            Some(Owner::Slot(pipeline, _)) => Some(pipeline),
            Some(Owner::Verdict(verdict)) => Some(&verdict.pipeline),
            Some(Owner::Retold(retold)) => Some(&retold.pipeline),
            _ => None,
        }
    }

    /// The whole reply, or what is left of one that came in parts.
    pub(crate) fn complete(mut self, reply: Frame<'_>) {
        match self.owner.take() {
            Some(Owner::Slot(pipeline, seq)) if self.begun => {
                pipeline.part(seq, reply.bytes());
                pipeline.finish(seq);
            }
            Some(Owner::Slot(pipeline, seq)) => pipeline.complete(seq, reply),
            Some(Owner::Fragment(gather, index)) => {
                gather.part(index, reply.bytes());
                gather.finish();
            }
            Some(Owner::Wait(wait)) => wait.complete(reply.bytes()),
            Some(Owner::Attempt(wait, attempt)) => wait.on_attempt(attempt, reply.bytes()),
            Some(Owner::Trial(asking)) => asking.note(reply.bytes()),
            Some(Owner::Step(cause)) if P::greeted(reply.bytes()) == Greeted::Refused => {
                // The first one counts.
                let _ = cause.0.set(Bytes::copy_from_slice(reply.bytes()));
            }
            Some(Owner::Verdict(verdict)) => verdict.complete::<P>(reply, self.begun),
            Some(Owner::Retold(retold)) if self.begun => {
                retold.pipeline.part(retold.seq, reply.bytes());
                retold.pipeline.finish(retold.seq);
            }
            Some(Owner::Retold(retold)) => retold.complete(reply, self.expect),
            Some(Owner::Again(again)) => again.complete(reply.bytes()),
            Some(Owner::Mark(mark)) => mark.complete(reply.bytes()),
            Some(Owner::Step(_)) | None => {}
        }
    }

    /// A part of the reply; more follows.
    pub(crate) fn part(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        self.begun = true;
        match &self.owner {
            Some(Owner::Slot(pipeline, seq)) => pipeline.part(*seq, part),
            Some(Owner::Verdict(verdict)) => {
                verdict.look_for_lack::<P>(part);
                verdict.pipeline.part(verdict.seq, part);
            }
            Some(Owner::Fragment(gather, index)) => gather.part(*index, part),
            Some(Owner::Wait(wait) | Owner::Attempt(wait, _)) => wait.part(part),
            Some(Owner::Retold(retold)) => retold.pipeline.part(retold.seq, part),
            // Numbers and errors: they do not come in parts.
            Some(Owner::Step(_) | Owner::Trial(_) | Owner::Again(_) | Owner::Mark(_)) | None => {}
        }
    }

    /// There will be no reply.
    pub(crate) fn fail(mut self, fault: Fault) {
        self.fail_now(fault);
    }

    /// As [`Self::fail`], in these words if nothing of a reply is under way. They are no server's answer: an exchange of several
    /// requests does not go on with them.
    pub(crate) fn fail_with(mut self, fault: Fault, words: &[u8]) {
        match &self.owner {
            // Nothing of it has reached its client, however much has come.
            Some(Owner::Wait(_) | Owner::Attempt(..)) => {}
            _ if self.begun => return self.fail_now(fault),
            // What is known of a server that refuses its greeting is that it takes no transactions.
            Some(Owner::Slot(..) | Owner::Fragment(..) | Owner::Verdict(_) | Owner::Trial(_)) => {
                return self.complete(Frame::Borrowed(words));
            }
            _ => {}
        }
        match self.owner.take() {
            Some(Owner::Wait(wait) | Owner::Attempt(wait, _)) => wait.fail_with(words),
            Some(Owner::Retold(retold)) => {
                let Retold { pipeline, seq, .. } = *retold;
                pipeline.complete(seq, Frame::Borrowed(words));
            }
            Some(Owner::Again(again)) => again.finish(words),
            Some(Owner::Mark(mark)) => mark.fail_with(words),
            _ => {}
        }
    }

    fn fail_now(&mut self, fault: Fault) {
        match self.owner.take() {
            Some(Owner::Slot(pipeline, seq)) => {
                pipeline.fail::<P>(seq, fault, self.expect, self.begun);
            }
            Some(Owner::Verdict(verdict)) => {
                let Verdict { pipeline, seq, .. } = *verdict;
                pipeline.fail::<P>(seq, fault, self.expect, self.begun);
            }
            Some(Owner::Fragment(gather, index)) => gather.fail(index, fault),
            Some(Owner::Wait(wait) | Owner::Attempt(wait, _)) => wait.fail(fault),
            Some(Owner::Trial(asking)) => asking.lose(fault),
            Some(Owner::Retold(retold)) => {
                let Retold { pipeline, seq, .. } = *retold;
                pipeline.fail::<P>(seq, fault, self.expect, self.begun);
            }
            Some(Owner::Again(again)) => again.fail(fault),
            Some(Owner::Mark(mark)) => mark.fail(fault),
            Some(Owner::Step(_)) | None => {}
        }
    }
}

impl Verdict {
    /// Looks whether the server has forgotten what it was given. A line of a reply is never cut between two parts.
    fn look_for_lack<P: Protocol>(&self, part: &[u8]) {
        if let Some(lessons) = &self.lessons
            && P::has_lack(part)
        {
            // The next transaction brings them again.
            lessons.forget();
        }
    }

    /// The whole reply to the end of a transaction, or what is left of it.
    fn complete<P: Protocol>(self, reply: Frame<'_>, begun: bool) {
        self.look_for_lack::<P>(reply.bytes());
        let Self {
            pipeline,
            seq,
            cause,
            ..
        } = self;
        if begun {
            pipeline.part(seq, reply.bytes());
            return pipeline.finish(seq);
        }
        let mut verdict = BytesMut::new();
        match cause.0.get() {
            Some(cause) if P::explain(cause, reply.bytes(), &mut verdict) => {
                pipeline.complete(seq, Frame::Borrowed(&verdict));
            }
            _ => pipeline.complete(seq, reply),
        }
    }
}

impl<P: Protocol> Drop for Ticket<P> {
    fn drop(&mut self) {
        self.fail_now(Fault::Dropped);
    }
}

impl<P: Protocol> fmt::Debug for Ticket<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}
