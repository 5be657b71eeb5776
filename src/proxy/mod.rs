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

mod again;
mod bell;
mod commons;
mod dispatch;
mod driver;
mod farewell;
mod gather;
mod greeting;
mod hub;
mod lease;
mod lessons;
mod limits;
mod local_pool;
mod loss;
mod mark;
mod pace;
mod pipeline;
mod retold;
mod session;
mod stash;
#[cfg(test)]
mod tests;
mod ticket;
mod transaction;
mod trial;
mod turn;
mod upstream;
mod wait;

pub use commons::Commons;
pub use limits::FlowLimits;
pub use local_pool::{LocalPool, Target};
pub use pace::Pause;
pub use pipeline::Pipeline;
pub use session::Session;
