//! The fan-out of one message to its subscribers.
//!
//! A message may have ten thousand subscribers, and hundreds of megabytes. So it is sent in portions, and between two
//! of them the sessions write their output; a client that has not accepted it by then is really slow.

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

/// Members that receive a message before other tasks of the worker run.
const PORTION: usize = 4096;

/// Bytes that are queued before other tasks of the worker run.
const PORTION_BYTES: usize = 64 << 20;

/// The remaining budget of this turn.
#[derive(Debug)]
pub(crate) struct FanoutBudget {
    members: usize,
    bytes: usize,
}

/// The progress of a message.
#[derive(Debug)]
pub(crate) struct Fanout {
    pub(crate) kind: ChannelKind,
    /// The channel name within the message.
    pub(crate) name: Span,
    /// The last member that received it.
    after: Option<usize>,
    /// Clients for which it is held; they may have become members by the time it is sent.
    held: Option<BTreeSet<usize>>,
    /// Members of the current batch; kept for its allocation.
    batch: Vec<Rc<Subscriber>>,
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
            batch: Vec::new(),
        }
    }
}

impl<P: Protocol> PubSub<P> {
    /// Sends a message to its next subscribers. Returns true if all have received it.
    pub(crate) fn fan_out(
        &self,
        fanout: &mut Fanout,
        frame: &Frame<'_>,
        budget: &mut FanoutBudget,
        now: Instant,
    ) -> bool {
        let len = frame.bytes().len();
        let max = budget.members.min((budget.bytes / len.max(1)).max(1));
        let mut batch = mem::take(&mut fanout.batch);
        let (kind, name) = (fanout.kind, fanout.name.of(frame.bytes()));
        let held = fanout
            .held
            .get_or_insert_with(|| self.pending.hold(kind, name, frame, &self.limit.get()));
        self.channels
            .next_members((kind, name), fanout.after, max, &mut batch);
        let mut sent = 0;
        for member in batch.iter().filter(|member| !held.contains(&member.number)) {
            let prefix = P::Stateful::push_prefix(member.profile());
            sent += u64::from(member.replies.push(prefix, frame, &self.limit.get(), now));
        }
        self.cells.add(PoolMetric::MessagesDelivered, sent);
        fanout.after = batch.last().map(|member| member.number).or(fanout.after);
        let all = batch.len() < max;
        budget.members -= batch.len();
        budget.bytes = budget.bytes.saturating_sub(batch.len() * len);
        batch.clear();
        fanout.batch = batch;
        all
    }

    /// Sends the messages held for a client, right after its confirmation.
    pub(crate) fn flush_held(&self, subscriber: &Subscriber, held: Vec<Bytes>, now: Instant) {
        let prefix = P::Stateful::push_prefix(subscriber.profile());
        let mut sent = 0;
        for frame in held.into_iter().map(Frame::Shared) {
            let replies = &subscriber.replies;
            sent += u64::from(replies.push(prefix, &frame, &self.limit.get(), now));
        }
        self.cells.add(PoolMetric::MessagesDelivered, sent);
    }

    /// Returns true if more than one client receives a message and it is large enough to be worth a shared copy.
    pub(crate) fn should_share(&self, kind: ChannelKind, name: &[u8], len: usize) -> bool {
        if len < SHARE_BYTES {
            return false;
        }
        let mut two = Vec::with_capacity(2);
        self.channels.next_members((kind, name), None, 2, &mut two);
        two.len() > 1
    }
}
