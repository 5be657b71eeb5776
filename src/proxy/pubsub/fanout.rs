//! One message on its way to those who hear it.
//!
//! A message may have ten thousand readers, and hundreds of megabytes. So it is handed out in portions, and between two of
//! them the sessions write what they have; whoever does not get rid of it by then is really slow.

use std::collections::BTreeSet;
use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::buf::{Frame, SHARE_BYTES};
use crate::protocol::{Protocol, Span, Topic};
use crate::proxy::pubsub::registry::Hub;
use crate::proxy::pubsub::subscriber::Subscriber;
use crate::stats::PoolMetric;

/// Members that get a message before the others of the worker have their turn.
const PORTION: usize = 4096;

/// Bytes that are handed out before the others of the worker have their turn.
const PORTION_BYTES: usize = 64 << 20;

/// What may still be handed out this turn.
#[derive(Debug)]
pub(crate) struct Portion {
    members: usize,
    bytes: usize,
}

/// How far a message has come.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) topic: Topic,
    /// Within the message, who hears it.
    pub(crate) name: Span,
    /// The member that got it last.
    after: Option<usize>,
    /// Clients for whom it is held; they may be members by the time it is handed out.
    held: Option<BTreeSet<usize>>,
    /// Members of the portion at hand; kept for its allocation.
    some: Vec<Rc<Subscriber>>,
}

impl Portion {
    pub(crate) const fn new() -> Self {
        Self {
            members: PORTION,
            bytes: PORTION_BYTES,
        }
    }

    pub(crate) const fn is_used_up(&self) -> bool {
        self.members == 0 || self.bytes == 0
    }
}

impl Delivery {
    pub(crate) const fn new(topic: Topic, name: Span) -> Self {
        Self {
            topic,
            name,
            after: None,
            held: None,
            some: Vec::new(),
        }
    }
}

impl<P: Protocol> Hub<P> {
    /// Hands a message to the next of those who hear it. Returns whether all have it.
    pub(crate) fn deliver(
        &self,
        delivery: &mut Delivery,
        frame: &Frame<'_>,
        portion: &mut Portion,
        now: Instant,
    ) -> bool {
        let len = frame.bytes().len();
        let most = portion.members.min((portion.bytes / len.max(1)).max(1));
        let mut some = mem::take(&mut delivery.some);
        let (topic, name) = (delivery.topic, delivery.name.of(frame.bytes()));
        let held = delivery
            .held
            .get_or_insert_with(|| self.lobby.hold(topic, name, frame, &self.limit));
        self.audiences
            .next_members((topic, name), delivery.after, most, &mut some);
        let mut sent = 0;
        for member in some.iter().filter(|member| !held.contains(&member.number)) {
            let herald = P::herald(member.lane());
            sent += u64::from(member.pipeline.push(herald, frame, &self.limit, now));
        }
        self.cells.add(PoolMetric::MessagesDelivered, sent);
        delivery.after = some.last().map(|member| member.number).or(delivery.after);
        let all = some.len() < most;
        portion.members -= some.len();
        portion.bytes = portion.bytes.saturating_sub(some.len() * len);
        some.clear();
        delivery.some = some;
        all
    }

    /// Hands out what was held for a client, right behind its confirmation.
    pub(crate) fn hand_over(&self, subscriber: &Subscriber, held: Vec<Bytes>, now: Instant) {
        let herald = P::herald(subscriber.lane());
        let mut sent = 0;
        for frame in held.into_iter().map(Frame::Shared) {
            let pipeline = &subscriber.pipeline;
            sent += u64::from(pipeline.push(herald, &frame, &self.limit, now));
        }
        self.cells.add(PoolMetric::MessagesDelivered, sent);
    }

    /// Whether more than one client gets what is published under a name, so that a copy for all is worth its while.
    pub(crate) fn is_worth_sharing(&self, topic: Topic, name: &[u8], len: usize) -> bool {
        if len < SHARE_BYTES {
            return false;
        }
        let mut two = Vec::with_capacity(2);
        self.audiences
            .next_members((topic, name), None, 2, &mut two);
        two.len() > 1
    }
}
