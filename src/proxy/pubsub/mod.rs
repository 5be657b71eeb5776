//! Subscriptions of one worker and pool: one connection to each server, shared by all subscribers.
//!
//! ```text
//! SUBSCRIBE --> subscribe_op --> conn --> server
//!    message <-- fanout <-- channels <-- driver
//! ```

pub(crate) mod announced;
pub(crate) mod channels;
pub(crate) mod conn;
pub(crate) mod driver;
pub(crate) mod fanout;
pub(crate) mod in_order;
pub(crate) mod key_events;
pub(crate) mod pending;
pub(crate) mod registry;
pub(crate) mod resubscribing;
pub(crate) mod subscribe_op;
pub(crate) mod subscriber;
pub(crate) mod turns;
