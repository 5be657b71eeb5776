//! MULTI, EXEC, DISCARD and WATCH: what a client has queued, and how it is sent in one piece.

pub(crate) mod exec_reply;
pub(crate) mod probe;
pub(crate) mod queue;
pub(crate) mod session;
pub(crate) mod watch;
