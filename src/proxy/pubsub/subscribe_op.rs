//! One client's change of its subscriptions, until every server concerned has confirmed it, and the changes before it
//! are finished.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::protocol::PubSub as _;
use crate::protocol::{Protocol, SubscriptionChange, UpstreamError};
use crate::proxy::pubsub::subscriber::{Subscriber, Subscription};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::disconnect::Disconnect;

/// A change of subscriptions, finished once all replies have arrived.
pub(crate) struct SubscribeOp<P: Protocol> {
    pub(crate) subscriber: Rc<Subscriber>,
    pub(crate) change: SubscriptionChange,
    /// The names of the request, each with the subscription that it adds or removes. Those that are added are held
    /// since the operation began, and those that are removed held no longer.
    pub(crate) steps: Vec<Step>,
    /// The reply of [`SubscriptionChange::Leave`].
    reply: Bytes,
    responder: Cell<Option<Responder<P>>>,
    /// Missing replies, plus one until all commands are sent.
    missing: Cell<usize>,
    /// The first failure.
    disconnect: RefCell<Option<Disconnect>>,
    held: RefCell<Held>,
}

/// One name of an operation.
#[derive(Debug)]
pub(crate) struct Step {
    /// `None` in the only step of a request that unsubscribes from all of a kind that has none.
    pub(crate) name: Option<Rc<[u8]>>,
    /// `None` if nothing changes.
    pub(crate) subscription: Option<Subscription>,
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
    pub(crate) fn new(
        subscriber: &Rc<Subscriber>,
        (change, steps): (SubscriptionChange, Vec<Step>),
        reply: &[u8],
        responder: Responder<P>,
    ) -> Rc<Self> {
        subscriber.change_begins();
        Rc::new(Self {
            subscriber: Rc::clone(subscriber),
            change,
            steps,
            reply: Bytes::copy_from_slice(reply),
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

    /// Counts a reply.
    pub(crate) fn acknowledge(&self) {
        self.missing.set(self.missing.get().saturating_sub(1));
    }

    /// Returns true if no reply is missing.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.missing.get() == 0
    }

    pub(crate) fn is_adding(&self) -> bool {
        matches!(self.change, SubscriptionChange::Subscribe(_))
    }

    /// The subscriptions that are added or removed.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.steps
            .iter()
            .filter_map(|step| step.subscription.as_ref())
    }

    /// Notes a failure; unsubscribing cannot fail.
    pub(crate) fn note_disconnect(&self, disconnect: &Disconnect) {
        if self.is_adding() {
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

    /// Confirms the subscriptions, and writes the reply of the operation, which has succeeded.
    pub(crate) fn confirm(&self) -> BytesMut {
        let subscriber = &self.subscriber;
        let profile = subscriber.profile();
        let mut reply = BytesMut::new();
        for step in &self.steps {
            match &step.subscription {
                Some(added) if self.is_adding() => subscriber.confirm(added),
                Some(removed) => subscriber.confirm_removal(removed),
                None => {}
            }
            let (name, count) = (step.name.as_deref(), subscriber.confirmed_count());
            P::Stateful::write_confirmation(profile, self.change, name, count, &mut reply);
        }
        reply.extend_from_slice(&self.reply);
        reply
    }

    /// Replies to the client: with `reply`, or the error of a disconnect.
    pub(crate) fn answer(&self, reply: Result<BytesMut, Disconnect>) {
        let Some(responder) = self.responder.take() else {
            return;
        };
        match reply {
            Ok(reply) => responder.complete(Frame::Borrowed(&reply)),
            Err(Disconnect::Error(error)) => responder.fail(error),
            Err(Disconnect::Moving) => responder.fail(UpstreamError::Moving),
            Err(
                Disconnect::Refused(reply)
                | Disconnect::NoPrimary(reply)
                | Disconnect::NoTransactions(reply),
            ) => {
                responder.complete(Frame::Borrowed(&reply));
            }
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
