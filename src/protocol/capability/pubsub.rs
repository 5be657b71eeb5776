//! Publish and subscribe, as the data plane sees it: what may be subscribed to, and the bytes that say so.
//!
//! A protocol that has nothing of the kind keeps the defaults of [`Broadcast`]: its plans never ask for them.

use bytes::BytesMut;

use crate::protocol::{BadReply, ConnProfile, Protocol, Scan, Span};

/// What sort of thing is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// A channel, by its name.
    Channel,
    /// Every channel whose name matches a pattern.
    Pattern,
    /// A shard channel, by its name.
    Shard,
}

impl ChannelKind {
    /// Every sort.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// What a client wants changed in its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// It adds those that it names.
    Subscribe(ChannelKind),
    /// It drops those that it names, or all of that sort where it names none.
    Unsubscribe(ChannelKind),
    /// It drops all, whatever their sort, and reads of it in the reply that the plan has written.
    Leave,
}

/// Where what is published under a name can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement<'n> {
    /// At the server that this key lives on.
    Key(&'n [u8]),
    /// At any server: each has to be asked.
    Everywhere,
}

/// How many subscriptions a client has.
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
    /// All of them.
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

/// What a server says over a connection that subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PubSubMessage {
    /// Something was published. It reaches those who subscribed to what the span covers.
    Message(ChannelKind, Span),
    /// The next thing that it was asked is done.
    Done,
    /// The next thing that it was asked is refused; the bytes say why.
    Refused,
}

/// Where messages are received, and who counts the subscribers.
pub trait PubSub<P: Protocol> {
    /// Where what is published under `name` can be heard.
    fn placement<'n>(settings: &P::Settings, topic: ChannelKind, name: &'n [u8]) -> Placement<'n>;

    /// Tells a client's state how many subscriptions it has now.
    fn set_subscriptions(client: &mut P::Client, tally: SubscriptionCount);

    /// Tells what the client of that number is subscribed to now.
    fn on_subscriptions(settings: &P::Settings, client: u64, tally: SubscriptionCount);

    /// Tells that one client more (or fewer, if not `more`) hears `name` over a server connection that others hear it
    /// over, too: the server counts them as one.
    fn on_shared_subscriber(settings: &P::Settings, topic: ChannelKind, name: &[u8], more: bool);

    /// Writes what subscribes a server connection to `name`, or unsubscribes it. The server answers each with one
    /// [`News::Done`] or [`News::Refused`].
    fn write_subscription(topic: ChannelKind, name: &[u8], on: bool, out: &mut BytesMut);

    /// Writes what a server answers with [`News::Done`] whatever is subscribed: its reply tells that everything before
    /// it has come.
    fn write_heartbeat(out: &mut BytesMut);

    /// Finds the end of what a server says at the start of `bytes`.
    fn scan_push(bytes: &[u8]) -> Result<Scan<PubSubMessage>, BadReply>;

    /// The byte that stands before a message in this lane, in the place of the first one of what the server sent.
    #[must_use]
    fn push_prefix(lane: ConnProfile) -> u8;

    /// Writes what tells a client in this lane that it is subscribed to `name` now, or is no more; `None` where it
    /// dropped all of a sort and had none. `tally` is what it has afterwards.
    fn write_confirmation(
        lane: ConnProfile,
        change: SubscriptionChange,
        name: Option<&[u8]>,
        tally: SubscriptionCount,
        out: &mut BytesMut,
    );
}
