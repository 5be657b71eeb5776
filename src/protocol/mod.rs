//! Bytes and their meaning: no sockets, no clock, no async.
//!
//! [`Protocol`] is the seam between the data plane and a wire format: `proxy/` is generic over it and names no protocol.

pub mod memcached;
pub mod redis;

mod broadcast;
mod fault;
mod seam;

pub use broadcast::{Broadcast, Change, Home, News, Tally, Topic};
pub use fault::Fault;
pub use seam::{
    Arrival, BadReply, Greeted, KeySpan, Lane, Limits, Part, Passed, Phrase, Plan, Protocol,
    ReplyKind, Route, Scan, Span, Step, Whom,
};
