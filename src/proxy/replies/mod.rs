//! The pending replies of a client, in order; their responders, and the merge of fragments.
//!
//! ```text
//! dispatch --reserve--> queue (ring of slots) <--complete-- responder <-- upstream/driver
//! ```

pub(crate) mod counting;
pub(crate) mod gather;
pub(crate) mod handler;
pub(crate) mod push;
pub(crate) mod queue;
pub(crate) mod reorder;
pub(crate) mod responder;
pub(crate) mod state;
pub(crate) mod status;
