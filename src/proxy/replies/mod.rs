//! The replies a client is owed, in order; who may answer them, and how parts are joined.
//!
//! ```text
//! dispatch --reserve--> queue (ring of slots) <--complete-- responder <-- upstream/driver
//! ```

pub(crate) mod gather;
pub(crate) mod handler;
pub(crate) mod push;
pub(crate) mod queue;
pub(crate) mod reorder;
pub(crate) mod responder;
pub(crate) mod state;
pub(crate) mod status;
