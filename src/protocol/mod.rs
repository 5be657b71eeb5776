//! Bytes and their meaning: no sockets, no clock, no async.
//!
//! [`Protocol`] is the seam between the data plane and a wire format: `proxy/` is generic over it and names no protocol.

pub mod memcached;
pub mod redis;

mod broadcast;
mod fault;
mod lane;
mod limits;
mod phrase;
mod seam;

pub use broadcast::{Broadcast, Change, Home, News, Tally, Topic};
pub use fault::Fault;
pub use lane::Lane;
pub use limits::Limits;
pub use phrase::{Phrase, Tried, Unblocked};
pub use seam::{
    Arrival, BadReply, Greeted, Identity, KeySpan, Part, Passed, Plan, Protocol, ReplyKind, Route,
    Scan, Span, Step, Whom,
};
