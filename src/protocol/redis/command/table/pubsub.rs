//! Publish and subscribe.

use crate::protocol::ChannelKind::{Channel, Pattern, Shard};
use crate::protocol::redis::command::Policy::{AllServers, Publish, Subscribe, Unsubscribe};
use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::PubSub;
    ("PSUBSCRIBE", -2, NONE, Subscribe(Pattern), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "pattern [pattern ...]", "Listens to all channels that match a pattern")
    ("PUBLISH", 3, NONE, Publish(Channel), FAST | PUBSUB | ANYTIME, "2.0.0",
        "channel message", "Sends to the listeners of a channel")
    ("PUBSUB", -2, NONE, Answer(Local::Help), NOFLAGS, "2.8.0",
        "", "Looks into channels and listeners", SUBCOMMANDS)
    ("PUNSUBSCRIBE", -1, NONE, Unsubscribe(Pattern), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "[pattern [pattern ...]]", "Stops listening to patterns")
    ("SPUBLISH", 3, FIRST, Publish(Shard), FAST | PUBSUB | ANYTIME, "7.0.0",
        "shardchannel message", "Sends to the listeners of a shard channel")
    ("SSUBSCRIBE", -2, range(1, -1, 1), Subscribe(Shard), PUBSUB | NOSCRIPT | ANYTIME, "7.0.0",
        "shardchannel [shardchannel ...]", "Listens to shard channels")
    ("SUBSCRIBE", -2, NONE, Subscribe(Channel), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "channel [channel ...]", "Listens to channels")
    ("SUNSUBSCRIBE", -1, range(1, -1, 1), Unsubscribe(Shard), PUBSUB | NOSCRIPT | ANYTIME, "7.0.0",
        "[shardchannel [shardchannel ...]]", "Stops listening to shard channels")
    ("UNSUBSCRIBE", -1, NONE, Unsubscribe(Channel), PUBSUB | NOSCRIPT | ANYTIME, "2.0.0",
        "[channel [channel ...]]", "Stops listening to channels")
}

commands! { SUBCOMMANDS in Group::PubSub;
    ("PUBSUB|CHANNELS", -2, NONE, AllServers(MergeKind::Union), PUBSUB | ANYTIME, "2.8.0",
        "[pattern]", "Lists the channels that have listeners")
    ("PUBSUB|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "6.2.0",
        "", "Lists the subcommands")
    ("PUBSUB|NUMPAT", 2, NONE, AllServers(MergeKind::Most), PUBSUB | ANYTIME, "2.8.0",
        "", "Counts the patterns that are listened to")
    ("PUBSUB|NUMSUB", -2, NONE, AllServers(MergeKind::Subscribers(Channel)), PUBSUB | ANYTIME, "2.8.0",
        "[channel [channel ...]]", "Counts the listeners of channels")
    ("PUBSUB|SHARDCHANNELS", -2, NONE, AllServers(MergeKind::Union), PUBSUB | ANYTIME, "7.0.0",
        "[pattern]", "Lists the shard channels that have listeners")
    ("PUBSUB|SHARDNUMSUB", -2, NONE, AllServers(MergeKind::Subscribers(Shard)), PUBSUB | ANYTIME, "7.0.0",
        "[shardchannel [shardchannel ...]]", "Counts the listeners of shard channels")
}
