//! The conversations that only Redis has: handshakes, blocking commands, publish and subscribe, transactions.

pub(crate) mod blocking;
pub(crate) mod failover;
pub(crate) mod handshake;
pub(crate) mod pubsub;
pub(crate) mod transactions;
