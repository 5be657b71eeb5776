//! Ringroad: many plain Redis servers behind one port, a drop-in replacement for Twemproxy.
//!
//! ```text
//!  control thread: app, acceptors, signals, stats port
//!       |  one hop per connection, none per request
//!  worker 0 .. N-1   one thread, one single-threaded runtime each
//!    Session --scan--> Request --plan, route--> UpstreamConn --one write--> server
//!       ^                                           |
//!       +--one write-- ReplyQueue <--Responder-- scan
//! ```
//!
//! # Layers
//!
//! A module imports only from lower layers, and siblings of one layer do not import each other
//! (`tests/it/layering/` checks it). From the top:
//!
//! - [`app`] wires everything: limits, listeners, workers, the stats port, the admin socket, shutdown; [`ctl`] is
//!   `ringroad ctl`
//! - [`runtime`], [`cli`]: the threads that accept and serve; flags
//! - [`control`], [`admin`], [`verify`], [`copy`], [`reshard`], [`signals`]: checks and changes of a configuration; the stats
//!   port and the admin socket; keys on wrong servers; copies of whole pools; moves to other servers
//! - [`mover`]: copies keys between servers while clients change them
//! - [`proxy`]: the data plane, generic over [`protocol::Protocol`]; [`redis_client`]: a connection that waits, for tools;
//!   [`handover`]: the protocol between an old process and the new one that takes its place
//! - [`protocol`]: the wire protocols
//! - [`topology`]: placement of keys on servers, bit for bit as Twemproxy; the set of live servers
//! - [`config`]: the configuration file, and every error in it
//! - [`buf`], [`net`], [`hash`], [`stats`], [`journal`], [`quota`], [`daemon`], [`systemd`], [`log`]: buffers, sockets, the twelve hashes,
//!   the statistics, what has happened, token buckets, `-d`, the service manager, log lines
//! - `file`, `text`, [`console`]: files that are opened without waiting; text for a terminal, and the terminal
//!
//! # Terms
//!
//! A *pool* is a named set of *servers* with a listener. An *upstream connection* is one connection to a server in one
//! worker, with the *connection profile* (RESP version and database) of the clients that use it; a *session* is one
//! client connection. A request that is split has *fragments*, one per server, whose replies are *merged*. A
//! *responder* is the right and the duty to answer one request; the *reply queue* puts the answers in order. A
//! *topology* is the set of live servers and the router over them. `docs/architecture.md` has the whole glossary.
//!
//! # Where to start reading
//!
//! 1. [`proxy`]: the overview of the data plane; then its `client`, `dispatch`, `upstream` and `replies`
//! 2. [`protocol::Protocol`], the seam; then [`protocol::redis`] and its command table
//! 3. [`topology`] for placement and ejection, [`config::schema`] for the directives
//! 4. [`app::run`], then [`runtime`]: start and shutdown
//!
//! Invariants, limits and reasons: `docs/architecture.md` and `docs/adr/`.

pub mod admin;
pub mod app;
pub mod buf;
pub mod cli;
pub mod config;
pub mod console;
pub mod control;
pub mod copy;
pub mod ctl;
pub mod daemon;
mod file;
pub mod handover;
pub mod hash;
pub mod journal;
pub mod log;
pub mod mover;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod proxy;
pub mod quota;
pub mod redis_client;
pub mod reshard;
pub mod runtime;
pub mod signals;
pub mod stats;
pub mod systemd;
mod text;
pub mod topology;
pub mod verify;
