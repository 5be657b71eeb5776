//! The data plane: client sessions, server connections, and what passes between them.
//!
//! Generic over [`crate::protocol::Protocol`]; names none. Everything here lives on one worker's thread.
//!
//! ```text
//!  Session --scan--> Request --plan, route--> Upstream.out --one write--> server
//!     ^                                          |
//!     +--one write-- Pipeline <--Ticket-- scan <-+
//! ```
//!
//! One turn: every ready session scans all requests it has and appends them to the buffers of its upstreams; each
//! touched upstream is woken once and writes once; replies are scanned in a batch and handed to their tickets; each
//! touched session is woken once and writes once. The order of the scheduler's queue makes the batches: no timer,
//! channel, spawn or lock per request.

pub(crate) mod blocking;
pub(crate) mod client;
pub(crate) mod dispatch;
pub(crate) mod forward;
pub(crate) mod pool;
pub(crate) mod pubsub;
pub(crate) mod replies;
pub(crate) mod transaction;
pub(crate) mod upstream;
pub(crate) mod worker;

pub use crate::proxy::client::session::Session;
pub use crate::proxy::pool::LocalPool;
pub use crate::proxy::replies::queue::ReplyQueue;
pub use crate::proxy::upstream::server::Server;
pub use crate::proxy::worker::context::WorkerContext;
pub use crate::proxy::worker::limits::FlowLimits;
pub use crate::proxy::worker::park_delay::ParkDelay;

#[cfg(test)]
mod tests;
