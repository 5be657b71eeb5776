//! One client connection: its session, its requests, the limits of its replies in flight, and how it is closed.

pub(crate) mod client_hello;
pub(crate) mod hand_over;
pub(crate) mod input;
pub(crate) mod lingering_close;
pub(crate) mod origin;
pub(crate) mod pause;
pub(crate) mod reply_flow;
pub(crate) mod session;
pub(crate) mod turn_budget;
mod user_memory;
