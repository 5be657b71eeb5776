//! One client's change of its subscriptions, until every server concerned has confirmed it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::protocol::Protocol;
use crate::proxy::pubsub::subscriber::{Subject, Subscriber};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::upstream::disconnect::Loss;

/// What is done once all answers have come.
pub(crate) struct Errand<P: Protocol> {
    pub(crate) subscriber: Rc<Subscriber>,
    /// What it hears from then on; held since the errand began.
    pub(crate) joins: Vec<Subject>,
    /// What it hears no more; held no longer since the errand began.
    pub(crate) leaves: Vec<Subject>,
    /// What the client is told if nothing fails.
    reply: BytesMut,
    ticket: Cell<Option<Ticket<P>>>,
    /// Answers that are to come, and one until all are asked for.
    missing: Cell<usize>,
    /// The first thing that went wrong.
    loss: RefCell<Option<Loss>>,
    held: RefCell<Held>,
}

/// Messages that came for the client before it was told that it is subscribed.
#[derive(Debug, Default)]
struct Held {
    frames: Vec<Bytes>,
    bytes: usize,
    /// Those of them that the client alone is owed.
    own_bytes: usize,
}

impl<P: Protocol> Errand<P> {
    pub(crate) fn joining(
        subscriber: &Rc<Subscriber>,
        joins: Vec<Subject>,
        reply: BytesMut,
        ticket: Ticket<P>,
    ) -> Rc<Self> {
        Self::new(subscriber, (joins, Vec::new()), reply, ticket)
    }

    pub(crate) fn leaving(
        subscriber: &Rc<Subscriber>,
        leaves: Vec<Subject>,
        reply: BytesMut,
        ticket: Ticket<P>,
    ) -> Rc<Self> {
        Self::new(subscriber, (Vec::new(), leaves), reply, ticket)
    }

    fn new(
        subscriber: &Rc<Subscriber>,
        (joins, leaves): (Vec<Subject>, Vec<Subject>),
        reply: BytesMut,
        ticket: Ticket<P>,
    ) -> Rc<Self> {
        subscriber.set_busy(true);
        Rc::new(Self {
            subscriber: Rc::clone(subscriber),
            joins,
            leaves,
            reply,
            ticket: Cell::new(Some(ticket)),
            missing: Cell::new(1),
            loss: RefCell::default(),
            held: RefCell::default(),
        })
    }

    /// One more answer is to come.
    pub(crate) fn expect_one(&self) {
        self.missing.set(self.missing.get() + 1);
    }

    /// Whether other answers than the one that has just come are to come.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.missing.get() > 1
    }

    /// One fewer answer is to come. Returns whether that was the last.
    pub(crate) fn arrive(&self) -> bool {
        let left = self.missing.get().saturating_sub(1);
        self.missing.set(left);
        left == 0
    }

    /// Something went wrong; to leave cannot fail.
    pub(crate) fn note_loss(&self, loss: &Loss) {
        if !self.joins.is_empty() {
            self.loss.borrow_mut().get_or_insert_with(|| loss.clone());
        }
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.loss.borrow().clone()
    }

    /// Keeps a message until the client is told. Where that is more than a subscriber may be owed, it ends.
    pub(crate) fn hold(&self, frame: &Frame<'_>, limit: &BufferLimit) {
        if self.subscriber.is_gone() {
            return;
        }
        let len = frame.bytes().len();
        let mut held = self.held.borrow_mut();
        let own_bytes = match frame {
            Frame::Borrowed(bytes) => {
                held.frames.push(Bytes::copy_from_slice(bytes));
                len
            }
            Frame::Shared(bytes) => {
                held.frames.push(bytes.clone());
                0
            }
        };
        held.bytes += len;
        held.own_bytes += own_bytes;
        let is_slow = limit.hard_bytes > 0 && held.bytes > limit.hard_bytes;
        drop(held);
        let pipeline = &self.subscriber.pipeline;
        if !pipeline.gathered(own_bytes, 0) || is_slow {
            pipeline.give_up();
            drop(self.take_held());
        }
    }

    /// What was kept for the client, in order.
    pub(crate) fn take_held(&self) -> Vec<Bytes> {
        let held = self.held.take();
        self.subscriber.pipeline.gathered(0, held.own_bytes);
        held.frames
    }

    /// Tells the client.
    pub(crate) fn answer(&self, loss: Option<Loss>) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        match loss {
            None => ticket.complete(Frame::Borrowed(&self.reply)),
            Some(Loss::Fault(fault)) => ticket.fail(fault),
            Some(Loss::Reply(reply) | Loss::Untaken(reply)) => {
                ticket.complete(Frame::Borrowed(&reply));
            }
        }
    }
}

impl<P: Protocol> fmt::Debug for Errand<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}
