//! The data plane: client sessions, upstream connections, and the requests and replies between them.
//!
//! Generic over [`crate::protocol::Protocol`]; names no protocol. Everything here runs on one worker's thread.
//!
//! ```text
//!  Session --scan--> Request --plan, route--> UpstreamConn.out --one write--> server
//!     ^                                               |
//!     +--one write-- ReplyQueue <--Responder-- scan <-+
//! ```
//!
//! One turn: every ready session scans all requests it has read and appends them to the buffers of its upstream
//! connections; each of those is woken once and writes once; replies are scanned in a batch and passed to their
//! responders; each of their sessions is woken once and writes once. The order of the run queue forms the batches: no
//! timer, channel, spawn or lock per request.

pub(crate) mod blocking;
pub(crate) mod client;
pub(crate) mod dispatch;
pub(crate) mod forward;
pub(crate) mod pool;
pub(crate) mod pubsub;
pub(crate) mod replies;
pub(crate) mod survey;
pub(crate) mod transaction;
pub(crate) mod upstream;
pub(crate) mod worker;

pub use crate::proxy::client::hand_over::Departure;
pub use crate::proxy::client::origin::Origin;
pub use crate::proxy::client::session::Session;
pub use crate::proxy::pool::LocalPool;
pub use crate::proxy::replies::queue::ReplyQueue;
pub use crate::proxy::upstream::server::Server;
pub use crate::proxy::worker::context::WorkerContext;
pub use crate::proxy::worker::limits::FlowLimits;
pub use crate::proxy::worker::memory::{MemoryBudget, MemoryBudgets};
pub use crate::proxy::worker::park_delay::ParkDelay;

#[cfg(test)]
mod tests;
