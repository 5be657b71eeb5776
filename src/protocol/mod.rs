//! Bytes and their meaning: no sockets, no clock, no async.
//!
//! [`Protocol`] is the seam between the data plane and a wire format: `proxy/` is generic over it and names no
//! protocol.
//!
//! ```text
//! codec       Protocol: scan, plan, reply, handshake, classify      client_state  the state of one client
//! capability  transactions, scripts, blocking, WAIT, pub/sub        merge         split by server, merge the replies
//!             (memcached: Unsupported)                              error_replies, observer
//! ```

pub(crate) mod auth_flag;
pub(crate) mod capability;
pub(crate) mod client_record;
pub(crate) mod client_state;
pub(crate) mod codec;
pub(crate) mod conn_info;
pub(crate) mod error;
pub(crate) mod error_replies;
pub(crate) mod frame;
pub(crate) mod kill_switch;
pub(crate) mod limits;
pub mod memcached;
pub(crate) mod merge;
pub(crate) mod metering;
pub(crate) mod observer;
pub(crate) mod plan;
pub(crate) mod profile;
pub mod redis;
pub(crate) mod reply_class;
pub(crate) mod types;
pub(crate) mod worker_turns;

pub use crate::protocol::auth_flag::AuthFlag;
pub use crate::protocol::capability::Stateful;
pub use crate::protocol::capability::blocking::{
    BlockedOn, Blocking, ProxyWait, ServerClientId, TryResult, UnblockReason,
};
pub use crate::protocol::capability::connections::{Connections, Effect, Greeting, InMove};
pub use crate::protocol::capability::own_messages::{ProxyReply, ServerCommand};
pub use crate::protocol::capability::pubsub::{
    ChannelKind, Placement, PubSub, PubSubMessage, SubscriptionChange, SubscriptionCount,
};
pub use crate::protocol::capability::replica_wait::ReplicaWait;
pub use crate::protocol::capability::scripts::{ScriptOp, Scripts};
pub use crate::protocol::capability::survey::{EventCause, KeyEvent, Survey, SurveyStep, Surveys};
pub use crate::protocol::capability::transactions::Transactions;
pub use crate::protocol::capability::unsupported::Unsupported;
pub use crate::protocol::client_record::{ClientRecord, SubscriptionRecord, Suppressed, Text};
pub use crate::protocol::client_state::ClientState;
pub use crate::protocol::codec::Protocol;
pub use crate::protocol::conn_info::ConnInfo;
pub use crate::protocol::error::UpstreamError;
pub use crate::protocol::error_replies::ErrorReplies;
pub use crate::protocol::frame::{BadReply, KeySpan, Part, Passed, ReplyKind, Scan, Span};
pub use crate::protocol::kill_switch::KillSwitch;
pub use crate::protocol::limits::Limits;
pub use crate::protocol::merge::Merge;
pub use crate::protocol::metering::Metering;
pub use crate::protocol::observer::PoolObserver;
pub use crate::protocol::plan::{Deferral, Plan, PlanOf, Route, Targets, TxOp};
pub use crate::protocol::profile::ConnProfile;
pub use crate::protocol::reply_class::{ErrorCode, ReplyClass};
pub use crate::protocol::types::ProtocolTypes;
pub(crate) use crate::protocol::worker_turns::TurnKeeper;
pub use crate::protocol::worker_turns::WorkerTurns;
