//! Clients whose subscription some server has confirmed already, while others have not: those are sent other channels,
//! or the same pattern, or an earlier request of the client.
//!
//! A server that has confirmed counts the client among its subscribers. So messages for it are held, within the limit
//! of a slow subscriber, and written right after the confirmation, in their order of arrival.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::protocol::{ChannelKind, Protocol};
use crate::proxy::pubsub::subscribe_op::SubscribeOp;
use crate::proxy::pubsub::subscriber::Channel;

/// Pending operations by channel kind, in the order of [`ChannelKind::ALL`], and name.
pub(crate) struct PendingSubscribers<P: Protocol> {
    kinds: [RefCell<Names<P>>; 3],
}

type Names<P> = HashMap<Rc<[u8]>, VecDeque<Rc<SubscribeOp<P>>>>;

impl<P: Protocol> PendingSubscribers<P> {
    /// Notes that a server has confirmed `channel`, while others have not confirmed all of `op`.
    pub(crate) fn enter(&self, channel: &Channel, op: &Rc<SubscribeOp<P>>) {
        let mut known = self.of(channel.kind).borrow_mut();
        let waiting = known.entry(Rc::clone(&channel.name)).or_default();
        if !waiting.iter().rev().any(|other| Rc::ptr_eq(other, op)) {
            waiting.push_back(Rc::clone(op));
        }
    }

    /// Removes an operation that has succeeded or failed.
    pub(crate) fn leave(&self, channel: &Channel, op: &SubscribeOp<P>) {
        let mut known = self.of(channel.kind).borrow_mut();
        let Some(waiting) = known.get_mut(&channel.name) else {
            return;
        };
        let is_it = |other: &Rc<SubscribeOp<P>>| std::ptr::eq(Rc::as_ptr(other), op);
        if let Some(at) = waiting.iter().position(is_it) {
            waiting.remove(at);
        }
        if waiting.is_empty() {
            known.remove(&channel.name);
        }
    }

    /// Holds a message for the pending subscribers. Returns their numbers.
    pub(crate) fn hold(
        &self,
        kind: ChannelKind,
        name: &[u8],
        frame: &Frame<'_>,
        limit: &BufferLimit,
    ) -> BTreeSet<usize> {
        let known = self.of(kind).borrow();
        if known.is_empty() {
            return BTreeSet::new();
        }
        let waiting: Vec<Rc<SubscribeOp<P>>> = known
            .get(name)
            .into_iter()
            .flatten()
            .map(Rc::clone)
            .collect();
        drop(known);
        // If a client has unsubscribed and subscribed again meanwhile, its last operation counts.
        let mut held = BTreeSet::new();
        for op in waiting.iter().rev() {
            if held.insert(op.subscriber.number) {
                op.hold(frame, limit);
            }
        }
        held
    }

    fn of(&self, kind: ChannelKind) -> &RefCell<Names<P>> {
        let [channels, patterns, shards] = &self.kinds;
        match kind {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        }
    }
}

impl<P: Protocol> Default for PendingSubscribers<P> {
    fn default() -> Self {
        Self {
            kinds: Default::default(),
        }
    }
}
