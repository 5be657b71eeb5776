//! What a protocol may have besides requests and replies: transactions, blocking commands, publish and subscribe.

pub(crate) mod pubsub;
pub(crate) mod transactions;
