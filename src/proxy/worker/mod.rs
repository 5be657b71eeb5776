//! The state that all connections of a worker share: the read scratch, memory accounting, limits and the park delay.

pub(crate) mod context;
pub(crate) mod large_replies;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod output_memory;
pub(crate) mod park_delay;
pub(crate) mod plan_buffers;
pub(crate) mod request_heads;
pub(crate) mod waiters;
pub(crate) mod wake;
pub(crate) mod yield_now;
