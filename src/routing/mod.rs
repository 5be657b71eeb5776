//! Which server a key belongs to.
//!
//! A `Router` is immutable and pure (the random distribution alone draws from the thread's generator): it is made once per
//! set of live servers, shared by all workers and asked for every key. It owns the hash tag, the ketama ring, the modula
//! slots, and the knowledge of which pairs of hash and distribution spread badly. `pool` makes a new one when a server is
//! ejected or returns; `proxy` asks it.

mod advice;
mod continuum;
mod router;
mod server;
mod slots;

pub use advice::{Advice, Severity, advice};
pub use continuum::Continuum;
pub use router::Router;
pub use server::{Member, ServerId};
