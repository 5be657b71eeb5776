//! Which server a key belongs to, and which servers are in the ring now.
//!
//! A `Router` is immutable and pure (the random distribution alone draws from the thread's generator): it is made once per
//! set of live servers, shared by all workers and asked for every key. It owns the hash tag, the ketama ring, the modula
//! slots, and the knowledge of which pairs of hash and distribution spread badly.
//!
//! `Health` and `Backoff` are pure state machines: they do no I/O, read no clock and draw no random numbers; whoever feeds
//! them passes the time. `PoolHealth` shares one `Health` among all workers and publishes what follows from it, a
//! `Topology`, which a worker adopts between two turns. `Backoff` belongs to one upstream of one worker.
//!
//! Invariant: the router of a topology routes to exactly the servers that its `live` says, and every change of that set
//! is one transition, reported to one caller, who logs it.

mod advice;
mod backoff;
mod health;
mod ketama;
mod modula;
mod router;
mod server;
mod store;

pub use advice::{Advice, Severity, advice};
pub use backoff::Backoff;
pub use health::{EjectPolicy, Health, HealthChange, Transition};
pub use ketama::Continuum;
pub use router::Router;
pub use server::{Member, ServerId};
pub use store::{PoolHealth, Topology};
