//! The capabilities that only Redis has: blocking commands, publish and subscribe, transactions.

pub(crate) mod blocking;
pub(crate) mod pubsub;
pub(crate) mod transactions;
