//! MULTI, EXEC, DISCARD and WATCH: the queue of a client, and its transmission in one piece.

pub(crate) mod commit;
pub(crate) mod deferred;
pub(crate) mod exec_reply;
pub(crate) mod probe;
pub(crate) mod queue;
pub(crate) mod session;
pub(crate) mod watch;
