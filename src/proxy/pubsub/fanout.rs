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
use crate::protocol::PubSub as _;
use crate::protocol::{ChannelKind, Protocol, Span};
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::pubsub::subscriber::Subscriber;
use crate::stats::PoolMetric;

/// Members that get a message before the others of the worker have their turn.
const PORTION: usize = 4096;

/// Bytes that are handed out before the others of the worker have their turn.
const PORTION_BYTES: usize = 64 << 20;

/// What may still be handed out this turn.
#[derive(Debug)]
pub(crate) struct FanoutBudget {
    members: usize,
    bytes: usize,
}

/// How far a message has come.
#[derive(Debug)]
pub(crate) struct Fanout {
    pub(crate) kind: ChannelKind,
    /// Within the message, who hears it.
    pub(crate) name: Span,
    /// The member that got it last.
    after: Option<usize>,
    /// Clients for whom it is held; they may be members by the time it is handed out.
    held: Option<BTreeSet<usize>>,
    /// Members of the batch at hand; kept for its allocation.
    some: Vec<Rc<Subscriber>>,
}

impl FanoutBudget {
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

impl Fanout {
    pub(crate) const fn new(kind: ChannelKind, name: Span) -> Self {
        Self {
            kind,
            name,
            after: None,
            held: None,
            some: Vec::new(),
        }
    }
}

impl<P: Protocol> PubSub<P> {
    /// Hands a message to the next of those who hear it. Returns whether all have it.
    pub(crate) fn fan_out(
        &self,
        fanout: &mut Fanout,
        frame: &Frame<'_>,
        budget: &mut FanoutBudget,
        now: Instant,
    ) -> bool {
        let len = frame.bytes().len();
        let most = budget.members.min((budget.bytes / len.max(1)).max(1));
        let mut some = mem::take(&mut fanout.some);
        let (kind, name) = (fanout.kind, fanout.name.of(frame.bytes()));
        let held = fanout
            .held
            .get_or_insert_with(|| self.pending.hold(kind, name, frame, &self.limit));
        self.channels
            .next_members((kind, name), fanout.after, most, &mut some);
        let mut sent = 0;
        for member in some.iter().filter(|member| !held.contains(&member.number)) {
            let herald = P::Stateful::push_prefix(member.profile());
            sent += u64::from(member.replies.push(herald, frame, &self.limit, now));
        }
        self.cells.add(PoolMetric::MessagesDelivered, sent);
        fanout.after = some.last().map(|member| member.number).or(fanout.after);
        let all = some.len() < most;
        budget.members -= some.len();
        budget.bytes = budget.bytes.saturating_sub(some.len() * len);
        some.clear();
        fanout.some = some;
        all
    }

    /// Hands out what was held for a client, right behind its confirmation.
    pub(crate) fn flush_held(&self, subscriber: &Subscriber, held: Vec<Bytes>, now: Instant) {
        let herald = P::Stateful::push_prefix(subscriber.profile());
        let mut sent = 0;
        for frame in held.into_iter().map(Frame::Shared) {
            let replies = &subscriber.replies;
            sent += u64::from(replies.push(herald, &frame, &self.limit, now));
        }
        self.cells.add(PoolMetric::MessagesDelivered, sent);
    }

    /// Whether more than one client gets what is published under a name, so that a copy for all is worth its while.
    pub(crate) fn should_share(&self, kind: ChannelKind, name: &[u8], len: usize) -> bool {
        if len < SHARE_BYTES {
            return false;
        }
        let mut two = Vec::with_capacity(2);
        self.channels.next_members((kind, name), None, 2, &mut two);
        two.len() > 1
    }
}
