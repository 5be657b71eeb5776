//! Publish and subscribe.

use crate::protocol::ChannelKind::{Channel, Pattern, Shard};
use crate::protocol::redis::command::Policy::{AllServers, Publish, Subscribe, Unsubscribe};
use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::PubSub;
    ("PSUBSCRIBE", -2, NONE, Subscribe(Pattern), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "pattern [pattern ...]", "Subscribes to all channels that match a pattern")
    ("PUBLISH", 3, NONE, Publish(Channel), FAST | PUBSUB | ANYTIME, "2.0.0",
        "channel message", "Publishes a message to a channel")
    ("PUBSUB", -2, NONE, Answer(Local::Help), NOFLAGS, "2.8.0",
        "", "Inspects channels and subscribers", SUBCOMMANDS)
    ("PUNSUBSCRIBE", -1, NONE, Unsubscribe(Pattern), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "[pattern [pattern ...]]", "Unsubscribes from patterns")
    ("SPUBLISH", 3, FIRST, Publish(Shard), FAST | PUBSUB | ANYTIME, "7.0.0",
        "shardchannel message", "Publishes a message to a shard channel")
    ("SSUBSCRIBE", -2, range(1, -1, 1), Subscribe(Shard), PUBSUB | NOSCRIPT | ANYTIME, "7.0.0",
        "shardchannel [shardchannel ...]", "Subscribes to shard channels")
    ("SUBSCRIBE", -2, NONE, Subscribe(Channel), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "channel [channel ...]", "Subscribes to channels")
    ("SUNSUBSCRIBE", -1, range(1, -1, 1), Unsubscribe(Shard), PUBSUB | NOSCRIPT | ANYTIME, "7.0.0",
        "[shardchannel [shardchannel ...]]", "Unsubscribes from shard channels")
    ("UNSUBSCRIBE", -1, NONE, Unsubscribe(Channel), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "[channel [channel ...]]", "Unsubscribes from channels")
}

commands! { SUBCOMMANDS in Group::PubSub;
    ("PUBSUB|CHANNELS", -2, NONE, AllServers(MergeKind::Union), PUBSUB | ANYTIME, "2.8.0",
        "[pattern]", "Lists the channels that have subscribers")
    ("PUBSUB|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "6.2.0",
        "", "Lists the subcommands")
    ("PUBSUB|NUMPAT", 2, NONE, AllServers(MergeKind::Most), PUBSUB | ANYTIME, "2.8.0",
        "", "Counts the patterns that are subscribed to")
    ("PUBSUB|NUMSUB", -2, NONE, AllServers(MergeKind::Subscribers(Channel)), PUBSUB | ANYTIME, "2.8.0",
        "[channel [channel ...]]", "Counts the subscribers of channels")
    ("PUBSUB|SHARDCHANNELS", -2, NONE, AllServers(MergeKind::Union), PUBSUB | ANYTIME, "7.0.0",
        "[pattern]", "Lists the shard channels that have subscribers")
    ("PUBSUB|SHARDNUMSUB", -2, NONE, AllServers(MergeKind::Subscribers(Shard)), PUBSUB | ANYTIME, "7.0.0",
        "[shardchannel [shardchannel ...]]", "Counts the subscribers of shard channels")
}
