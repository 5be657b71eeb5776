//! Bytes and their meaning: no sockets, no clock, no async.
//!
//! [`Protocol`] is the seam between the data plane and a wire format: `proxy/` is generic over it and names no protocol.

pub(crate) mod capability;
pub(crate) mod codec;
pub(crate) mod error;
pub(crate) mod limits;
pub mod memcached;
pub(crate) mod profile;
pub mod redis;

pub use crate::protocol::capability::pubsub::{Broadcast, Change, Home, News, Tally, Topic};
pub use crate::protocol::capability::transactions::{Phrase, Tried, Unblocked};
pub use crate::protocol::codec::{
    Arrival, BadReply, Greeted, Identity, KeySpan, Part, Passed, Plan, Protocol, ReplyKind, Route,
    Scan, Span, Step, Whom,
};
pub use crate::protocol::error::Fault;
pub use crate::protocol::limits::Limits;
pub use crate::protocol::profile::Lane;
