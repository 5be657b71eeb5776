//! One client connection: its session, and how it is closed.

pub(crate) mod input;
pub(crate) mod lingering_close;
pub(crate) mod session;
