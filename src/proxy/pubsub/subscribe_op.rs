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

/// A change of subscriptions, finished once all replies have arrived.
pub(crate) struct SubscribeOp<P: Protocol> {
    pub(crate) subscriber: Rc<Subscriber>,
    /// The channels that are added; held since the operation began.
    pub(crate) adds: Vec<Channel>,
    /// The channels that are removed; held no longer since the operation began.
    pub(crate) removes: Vec<Channel>,
    /// The reply to the client if nothing fails.
    reply: BytesMut,
    responder: Cell<Option<Responder<P>>>,
    /// Missing replies, plus one until all commands are sent.
    missing: Cell<usize>,
    /// The first failure.
    disconnect: RefCell<Option<Disconnect>>,
    held: RefCell<Held>,
}

/// Messages that arrived for the client before its confirmation.
#[derive(Debug, Default)]
struct Held {
    frames: Vec<Bytes>,
    bytes: usize,
    /// Those of them held for this client alone.
    own_bytes: usize,
}

impl<P: Protocol> SubscribeOp<P> {
    pub(crate) fn adding(
        subscriber: &Rc<Subscriber>,
        adds: Vec<Channel>,
        reply: BytesMut,
        responder: Responder<P>,
    ) -> Rc<Self> {
        Self::new(subscriber, (adds, Vec::new()), reply, responder)
    }

    pub(crate) fn removing(
        subscriber: &Rc<Subscriber>,
        removes: Vec<Channel>,
        reply: BytesMut,
        responder: Responder<P>,
    ) -> Rc<Self> {
        Self::new(subscriber, (Vec::new(), removes), reply, responder)
    }

    fn new(
        subscriber: &Rc<Subscriber>,
        (adds, removes): (Vec<Channel>, Vec<Channel>),
        reply: BytesMut,
        responder: Responder<P>,
    ) -> Rc<Self> {
        subscriber.set_busy(true);
        Rc::new(Self {
            subscriber: Rc::clone(subscriber),
            adds,
            removes,
            reply,
            responder: Cell::new(Some(responder)),
            missing: Cell::new(1),
            disconnect: RefCell::default(),
            held: RefCell::default(),
        })
    }

    /// Expects one more reply.
    pub(crate) fn expect_one(&self) {
        self.missing.set(self.missing.get() + 1);
    }

    /// Returns true if other replies than the one that has just arrived are missing.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.missing.get() > 1
    }

    /// Counts a reply. Returns true if it was the last.
    pub(crate) fn acknowledge(&self) -> bool {
        let left = self.missing.get().saturating_sub(1);
        self.missing.set(left);
        left == 0
    }

    /// Notes a failure; unsubscribing cannot fail.
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

    /// Holds a message until the confirmation. Closes the client if that exceeds the limit of a subscriber.
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
            replies.close_slow();
            drop(self.take_held());
        }
    }

    /// Takes the held messages, in order.
    pub(crate) fn take_held(&self) -> Vec<Bytes> {
        let held = self.held.take();
        self.subscriber.replies.release_bytes(held.own_bytes);
        held.frames
    }

    /// Replies to the client.
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

impl<P: Protocol> Drop for SubscribeOp<P> {
    /// An operation that is dropped unfinished, by a panic of its driver, must not leave the client fenced.
    fn drop(&mut self) {
        if self.missing.get() > 0 {
            self.subscriber.set_busy(false);
        }
    }
}

impl<P: Protocol> fmt::Debug for SubscribeOp<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeOp")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}
