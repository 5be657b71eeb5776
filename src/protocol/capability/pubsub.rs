//! Publish and subscribe, as the data plane sees it: channels, and their messages on the wire.
//!
//! A protocol without it uses [`crate::protocol::Unsupported`]: its plans never need it.

use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use crate::protocol::{BadReply, ConnProfile, ProtocolTypes, Scan, Span, WorkerTurns};
use crate::topology::ServerId;

/// The kinds of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// A channel, by its name.
    Channel,
    /// Every channel whose name matches a pattern.
    Pattern,
    /// A shard channel, by its name.
    Shard,
}

impl ChannelKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// A change of a client's subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// Adds the channels that it names.
    Subscribe(ChannelKind),
    /// Removes the channels that it names, or all of that kind if it names none.
    Unsubscribe(ChannelKind),
    /// Removes all, of every kind; the plan has written the reply.
    Leave,
}

/// The servers at which the messages of a channel are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement<'n> {
    /// The server that stores this key.
    Key(&'n [u8]),
    /// Any server: all are subscribed to.
    Everywhere,
}

/// The numbers of a client's subscriptions, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscriptionCount {
    /// Channels.
    pub channels: u32,
    /// Patterns.
    pub patterns: u32,
    /// Shard channels.
    pub shards: u32,
}

impl SubscriptionCount {
    /// The number of all subscriptions.
    #[must_use]
    pub const fn total(self) -> u32 {
        self.channels
            .saturating_add(self.patterns)
            .saturating_add(self.shards)
    }

    /// Counts one more.
    pub fn add(&mut self, kind: ChannelKind) {
        let count = self.count(kind);
        *count = count.saturating_add(1);
    }

    /// Counts one fewer.
    pub fn subtract(&mut self, kind: ChannelKind) {
        let count = self.count(kind);
        *count = count.saturating_sub(1);
    }

    fn count(&mut self, kind: ChannelKind) -> &mut u32 {
        match kind {
            ChannelKind::Channel => &mut self.channels,
            ChannelKind::Pattern => &mut self.patterns,
            ChannelKind::Shard => &mut self.shards,
        }
    }
}

/// A message that a server sends over a subscriber connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PubSubMessage {
    /// A published message. It is sent to the subscribers of the name that the span covers.
    Message(ChannelKind, Span),
    /// The next command sent is acknowledged.
    Done,
    /// The next command sent is rejected; the bytes are the error.
    Refused,
}

/// The placement of channels, the counts of subscribers and the messages on the wire.
pub trait PubSub<P: ProtocolTypes> {
    /// The servers at which messages published under `name` are received.
    fn placement<'n>(settings: &P::Settings, kind: ChannelKind, name: &'n [u8]) -> Placement<'n>;

    /// Returns true if a client may have this subscription by now.
    fn may_subscribe(client: &mut P::Client, kind: ChannelKind, name: &[u8]) -> bool;

    /// Sets the number of subscriptions in a client's state.
    fn set_subscriptions(client: &mut P::Client, count: SubscriptionCount);

    /// Records the number of subscriptions of the client with this ID.
    fn on_subscriptions(settings: &P::Settings, client: u64, count: SubscriptionCount);

    /// Records that one client more (or fewer, if not `more`) receives `name` over a shared server connection, whose
    /// subscribers the server counts as one.
    fn on_shared_subscriber(settings: &P::Settings, kind: ChannelKind, name: &[u8], more: bool);

    /// The turns of the workers, and the number of this one; `None` without subscribers.
    fn turns(settings: &P::Settings) -> Option<(&Arc<WorkerTurns>, usize)>;

    /// Notes that a client has requested this subscription, at this server. Returns its ticket.
    fn announce(settings: &P::Settings, place: (ServerId, ChannelKind, &[u8])) -> u64;

    /// Notes that the server has confirmed the subscription with this ticket, or never will.
    fn end_announcement(settings: &P::Settings, place: (ServerId, ChannelKind, &[u8]), ticket: u64);

    /// The last ticket.
    fn last_announcement(settings: &P::Settings) -> u64;

    /// Returns true if a message to this channel must wait for a subscription announced up to that ticket: `waker` is
    /// woken then.
    fn awaits_subscriber(
        settings: &P::Settings,
        place: (ServerId, ChannelKind, &[u8]),
        until: u64,
        waker: impl FnOnce() -> Waker,
    ) -> bool;

    /// Writes the command that subscribes a server connection to `name`, or unsubscribes it. The server replies to each
    /// with one [`PubSubMessage::Done`] or [`PubSubMessage::Refused`].
    fn write_subscription(kind: ChannelKind, name: &[u8], on: bool, out: &mut BytesMut);

    /// Writes a command that a server answers with [`PubSubMessage::Done`] whatever is subscribed: its reply shows that
    /// everything before it has arrived.
    fn write_heartbeat(out: &mut BytesMut);

    /// Finds the end of the server's message at the start of `bytes`.
    fn scan_push(bytes: &[u8]) -> Result<Scan<PubSubMessage>, BadReply>;

    /// The first byte of a message in this profile, in place of the first byte that the server sent.
    #[must_use]
    fn push_prefix(profile: ConnProfile) -> u8;

    /// Writes the confirmation for a client of this profile that it is subscribed to `name`, or unsubscribed; `None` if
    /// it unsubscribed from all of a kind and had none. `count` is the number of subscriptions afterwards.
    fn write_confirmation(
        profile: ConnProfile,
        change: SubscriptionChange,
        name: Option<&[u8]>,
        count: SubscriptionCount,
        out: &mut BytesMut,
    );
}
