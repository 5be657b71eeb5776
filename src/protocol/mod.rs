//! Bytes and their meaning: no sockets, no clock, no async.
//!
//! [`Protocol`] is the seam between the data plane and a wire format: `proxy/` is generic over it and names no protocol.

pub(crate) mod capability;
pub(crate) mod codec;
pub(crate) mod error;
pub(crate) mod kill_switch;
pub(crate) mod limits;
pub mod memcached;
pub(crate) mod profile;
pub mod redis;

pub use crate::protocol::capability::pubsub::{
    ChannelKind, Placement, PubSubCodec, PubSubMessage, SubscriptionChange, SubscriptionCount,
};
pub use crate::protocol::capability::transactions::{Phrase, TryResult, UnblockReason};
pub use crate::protocol::codec::{
    BadReply, ConnInfo, HandshakeStep, KeySpan, Part, Passed, Plan, PlanOf, Protocol, ReplyKind,
    Route, Scan, ScriptOp, ServerClientId, Span, Targets, TxOp,
};
pub use crate::protocol::error::UpstreamError;
pub use crate::protocol::kill_switch::KillSwitch;
pub use crate::protocol::limits::Limits;
pub use crate::protocol::profile::ConnProfile;
