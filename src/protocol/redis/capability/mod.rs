//! What only Redis has of what the data plane can do: blocking commands, publish and subscribe, transactions.

pub(crate) mod blocking;
pub(crate) mod pubsub;
pub(crate) mod transactions;
