//! Bytes and their meaning: no sockets, no clock, no async.
//!
//! [`Protocol`] is the seam between the data plane and a wire format: `proxy/` is generic over it and names no protocol.
//!
//! ```text
//! codec       Protocol: scan, plan, reply, handshake, classify      client_state  the state of one client
//! capability  transactions, scripts, blocking, WAIT, pub/sub        merge         split by server, merge the replies
//!             (memcached: Unsupported)                              error_replies, observer
//! ```

pub(crate) mod capability;
pub(crate) mod client_state;
pub(crate) mod codec;
pub(crate) mod error;
pub(crate) mod error_replies;
pub(crate) mod kill_switch;
pub(crate) mod limits;
pub mod memcached;
pub(crate) mod merge;
pub(crate) mod observer;
pub(crate) mod profile;
pub mod redis;

pub use crate::protocol::capability::Stateful;
pub use crate::protocol::capability::blocking::Blocking;
pub use crate::protocol::capability::pubsub::{
    ChannelKind, Placement, PubSub, PubSubMessage, SubscriptionChange, SubscriptionCount,
};
pub use crate::protocol::capability::replica_wait::ReplicaWait;
pub use crate::protocol::capability::scripts::Scripts;
pub use crate::protocol::capability::transactions::{
    Phrase, Transactions, TryResult, UnblockReason,
};
pub use crate::protocol::capability::unsupported::Unsupported;
pub use crate::protocol::client_state::ClientState;
pub use crate::protocol::codec::{
    BadReply, ConnInfo, ErrorCode, KeySpan, Part, Passed, Plan, PlanOf, Protocol, ReplyClass,
    ReplyKind, Route, Scan, ScriptOp, ServerClientId, Span, Targets, TxOp,
};
pub use crate::protocol::error::UpstreamError;
pub use crate::protocol::error_replies::ErrorReplies;
pub use crate::protocol::kill_switch::KillSwitch;
pub use crate::protocol::limits::Limits;
pub use crate::protocol::merge::Merge;
pub use crate::protocol::observer::PoolObserver;
pub use crate::protocol::profile::ConnProfile;
