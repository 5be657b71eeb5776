//! Blocking commands on dedicated connections: BLPOP and the like, WAIT, CLIENT UNBLOCK.

pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod deadline;
pub(crate) mod offset_marker;
mod orphaned;
mod primary_wait;
mod request;
pub(crate) mod unblock_retry;
pub(crate) mod wait_replicas;
