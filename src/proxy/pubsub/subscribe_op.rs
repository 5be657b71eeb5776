//! One client's change of its subscriptions, until every server concerned has confirmed it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::protocol::Protocol;
use crate::proxy::pubsub::subscriber::{Channel, Subscriber};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::disconnect::Disconnect;

/// What is done once all answers have come.
pub(crate) struct SubscribeOp<P: Protocol> {
    pub(crate) subscriber: Rc<Subscriber>,
    /// The channels that are added; held since the operation began.
    pub(crate) adds: Vec<Channel>,
    /// The channels that are removed; held no longer since the operation began.
    pub(crate) removes: Vec<Channel>,
    /// What the client is told if nothing fails.
    reply: BytesMut,
    responder: Cell<Option<Responder<P>>>,
    /// Answers that are to come, and one until all are asked for.
    missing: Cell<usize>,
    /// The first thing that went wrong.
    disconnect: RefCell<Option<Disconnect>>,
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

impl<P: Protocol> SubscribeOp<P> {
    pub(crate) fn adding(
        subscriber: &Rc<Subscriber>,
        joins: Vec<Channel>,
        reply: BytesMut,
        responder: Responder<P>,
    ) -> Rc<Self> {
        Self::new(subscriber, (joins, Vec::new()), reply, responder)
    }

    pub(crate) fn removing(
        subscriber: &Rc<Subscriber>,
        leaves: Vec<Channel>,
        reply: BytesMut,
        responder: Responder<P>,
    ) -> Rc<Self> {
        Self::new(subscriber, (Vec::new(), leaves), reply, responder)
    }

    fn new(
        subscriber: &Rc<Subscriber>,
        (joins, leaves): (Vec<Channel>, Vec<Channel>),
        reply: BytesMut,
        responder: Responder<P>,
    ) -> Rc<Self> {
        subscriber.set_busy(true);
        Rc::new(Self {
            subscriber: Rc::clone(subscriber),
            adds: joins,
            removes: leaves,
            reply,
            responder: Cell::new(Some(responder)),
            missing: Cell::new(1),
            disconnect: RefCell::default(),
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
    pub(crate) fn acknowledge(&self) -> bool {
        let left = self.missing.get().saturating_sub(1);
        self.missing.set(left);
        left == 0
    }

    /// Something went wrong; to leave cannot fail.
    pub(crate) fn note_disconnect(&self, disconnect: &Disconnect) {
        if !self.adds.is_empty() {
            self.disconnect
                .borrow_mut()
                .get_or_insert_with(|| disconnect.clone());
        }
    }

    pub(crate) fn disconnect(&self) -> Option<Disconnect> {
        self.disconnect.borrow().clone()
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
        let replies = &self.subscriber.replies;
        if !replies.hold_bytes(own_bytes) || is_slow {
            replies.give_up();
            drop(self.take_held());
        }
    }

    /// What was kept for the client, in order.
    pub(crate) fn take_held(&self) -> Vec<Bytes> {
        let held = self.held.take();
        self.subscriber.replies.release_bytes(held.own_bytes);
        held.frames
    }

    /// Tells the client.
    pub(crate) fn answer(&self, disconnect: Option<Disconnect>) {
        let Some(responder) = self.responder.take() else {
            return;
        };
        match disconnect {
            None => responder.complete(Frame::Borrowed(&self.reply)),
            Some(Disconnect::Error(error)) => responder.fail(error),
            Some(Disconnect::Refused(reply) | Disconnect::NoTransactions(reply)) => {
                responder.complete(Frame::Borrowed(&reply));
            }
        }
    }
}

impl<P: Protocol> fmt::Debug for SubscribeOp<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}
