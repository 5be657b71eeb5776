//! The health of a pool's servers: which of them are in the ring now, and when to try one again.
//!
//! `Health` and `Backoff` are pure state machines: they do no I/O, read no clock and draw no random numbers; whoever feeds
//! them passes the time. `PoolHealth` shares one `Health` among all workers and publishes what follows from it, a
//! `Topology`, which a worker adopts between two turns. `Backoff` belongs to one upstream of one worker.
//!
//! Invariant: the router of a topology routes to exactly the servers that its `live` says, and every change of that set
//! is one transition, reported to one caller, who logs it.

mod backoff;
mod health;
mod shared;

pub use backoff::Backoff;
pub use health::{Change, EjectPolicy, Health, Transition};
pub use shared::{PoolHealth, Topology};
