//! Placement of keys on servers, and the set of live servers.
//!
//! A `Router` is immutable and pure (the random distribution alone draws from the thread's generator): it is built once
//! per set of live servers, shared by all workers and consulted for every key. It owns the hash tag, the ketama ring,
//! the modula slots, and the table of pairs of hash and distribution that spread badly.
//!
//! `Health` and `Backoff` are pure state machines: they do no I/O, read no clock and draw no random numbers; the caller
//! passes the time. `TopologyStore` keeps the facts about a pool (its configuration, its `Health`, what the operator says)
//! and publishes the `Topology` that follows from them, which a worker adopts between two turns. `Backoff` belongs to one upstream connection of one worker.
//!
//! `reshard` has what moves of keys between two placements add: buckets, marks, the router of a move.
//!
//! `Spread` is what a ring looks like. `MovedKeys` compares two routers: the share of keys for which they have different owners.
//!
//! A `PoolServer` has a `ServerId` that is never reused. What outlives a topology (leases, subscriptions, transactions,
//! blocked clients) refers to a server by that id; a `ServerIndex` is its position in one topology, for routing.
//!
//! Invariant: the router of a topology routes to exactly the servers that its `live` lists, and every change of that
//! set is one transition, reported to one caller, who logs it.

mod advice;
mod backoff;
mod facts;
mod health;
mod ketama;
mod key_hashes;
mod mark;
mod modula;
mod replacement;
mod reshard;
mod ring;
mod roles;
mod router;
mod server;
mod share;
mod snapshot;
mod spread;
mod store;

pub use advice::{Advice, Severity, advice};
pub use backoff::Backoff;
pub use facts::Facts;
pub use health::{EjectPolicy, Health, HealthChange, Returns, Transition};
pub use ketama::Continuum;
pub use key_hashes::KeyHashes;
pub use mark::{MARK_PREFIX, is_mark};
pub use reshard::{
    BUCKETS, Bucket, BucketSet, Decision, Effective, Intent, Mark, MarkError, MarkReading, Marked,
    MoveState, Placement, PlacementError, SeenMark, SourceState, State, Voucher, Vouching,
    Whereabouts, hold_number,
};
pub use roles::{PoolReplica, Primary, Replica, Roles, process_us};
pub use router::Router;
pub use server::{Member, PoolServer, ServerId, ServerIndex};
pub use share::{Basis, MovedKeys, MovedRow, Percent};
pub use snapshot::Topology;
pub use spread::{Arc as RingArc, Spread};
pub use store::TopologyStore;
