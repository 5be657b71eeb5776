//! Ringroad: many plain Redis servers behind one port, a drop-in for Twemproxy.
//!
//! ```text
//!  control thread: app, acceptors, signals, stats port
//!       |  one hop per connection, none per request
//!  worker 0 .. N-1   one thread, one single-threaded runtime each
//!    Session --scan--> Request --plan, route--> Upstream --one write--> server
//!       ^                                          |
//!       +--one write-- Pipeline <--Ticket-- scan <-+
//! ```
//!
//! # Layers
//!
//! A module imports only from lower layers, and siblings of one layer do not import each other
//! (`tests/it/layering/` checks it). From the top:
//!
//! - [`app`] wires everything: limits, listeners, workers, the stats port, the end; `signals` beside it
//! - [`cli`], [`daemon`], [`log`]: flags and the report of `ringroad route`, `-d`, log lines
//! - [`runtime`], [`control`], [`admin`]: the threads that accept and serve; checks of a configuration; the stats port
//! - [`proxy`]: the data plane, generic over [`protocol::Protocol`]
//! - [`topology`]: from a key to a server, bit for bit as Twemproxy; which servers are in the ring now
//! - [`protocol`], [`config`]: bytes and their meaning; the file, and every fault of it
//! - [`buf`], [`net`], [`hash`], [`stats`]: buffers, sockets, the twelve hashes, what is counted
//!
//! # Words
//!
//! A *pool* is a named set of *servers* with a listener. An *upstream* is one connection to a server in one worker, in
//! the *lane* (RESP2 or RESP3) of the clients that use it; a *session* is one client connection. A request that is
//! split has *fragments*, one a server, which a *gather* joins. A *ticket* is the right and the duty to answer one
//! request; the *pipeline* puts the answers in order. A *topology* is the set of live servers and the router over them.
//! `docs/architecture.md` has the whole glossary.
//!
//! # Where to begin
//!
//! 1. [`proxy`]: the picture of the data plane; then its `session`, `dispatch`, `upstream`, `driver` and `pipeline`
//! 2. [`protocol::Protocol`], the seam; then [`protocol::redis`] and its command table
//! 3. [`topology`] for placement and ejection, [`config::schema`] for the directives
//! 4. [`app::run`], then [`runtime`]: how it starts and ends
//!
//! Invariants, limits and reasons: `docs/architecture.md` and `docs/adr/`.

pub mod admin;
pub mod app;
pub mod buf;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod hash;
pub mod log;
pub mod net;
pub mod protocol;
pub mod proxy;
pub mod runtime;
mod signals;
pub mod stats;
pub mod topology;
