//! The decision on a request.

use crate::protocol::{ChannelKind, ProtocolTypes, ScriptOp, Span, SubscriptionChange};
use crate::stats::RefusalReason;
use crate::topology::{ServerId, ServerIndex};

/// The key that a forwarded request is routed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A key within the frame.
    Key(Span),
    /// A key that the frame has in an encoding: the plan has written it decoded to the output buffer.
    Decoded,
    /// No key: routed by the protocol's placeholder key, always to the same server.
    Placeholder,
}

/// The decision on a request. `M` specifies how replies are merged, and `E` is the context of the reply scanner.
#[derive(Debug)]
pub enum Plan<M, E> {
    /// Nothing: the frame holds no request.
    Ignore,
    /// The reply is already written to the output buffer.
    Reply,
    /// The reply is this part of the frame.
    ReplyPart(Span),
    /// As `Reply`: the request was refused.
    Error(RefusalReason),
    /// As `Reply`, and the connection is closed after the reply.
    ReplyAndClose,
    /// As `Reply`, and the client gets the requests that pass from now on.
    Monitor,
    /// The whole frame goes to one server.
    Forward(Route, E),
    /// As `Forward`, with a request in the output buffer in place of the frame.
    ForwardInstead {
        /// The request, in the output buffer.
        request: Span,
        /// The key that it is routed by, in the output buffer.
        key: Span,
        /// The context of the reply scanner.
        expect: E,
    },
    /// The whole frame goes to one server if all the keys in the list are stored on it, and is rejected otherwise.
    ForwardSameServer(E),
    /// As `ForwardSameServer`; without any key it is routed by the placeholder key. If the reply says that the server
    /// lacks the script, the request may be sent as EVAL instead ([`crate::protocol::Scripts::write_eval`]).
    ForwardScript(ScriptOp, E),
    /// As `AllServers`, for a request that clears the scripts of all servers ([`crate::protocol::Scripts::on_script`]).
    ScriptFlush(M, E),
    /// Split by server: every key in the list belongs to the fragment of its own server. If all are stored on one
    /// server, the frame goes there whole.
    MultiShard(M, E),
    /// The whole frame goes to every server of the pool, and the replies are merged.
    AllServers(M, E),
    /// The request in the output buffer goes to these servers in place of the frame, and the replies are merged.
    Rewrite(Targets, M, E),
    /// A command about all keys in a pool whose keys may be moved: executed by its [`crate::protocol::Survey`].
    Survey(E),
    /// Within a transaction: the proxy answers the request itself when the transaction has succeeded.
    Deferred(Deferral),
    /// A transaction begins, or ends.
    Transaction(TxOp<E>),
    /// As `Forward`, to the server of this channel, when it has confirmed the subscriptions to the channel that were
    /// requested before. With `M`, the reply goes through [`Merge::merge`], as that of the only fragment.
    Publish(ChannelKind, Span, Option<M>, E),
    /// The client's subscriptions change, to those whose names are in the list. The reply is sent when the servers
    /// concerned have confirmed it, and servers get no other request of the client meanwhile.
    PubSub(SubscriptionChange, E),
    /// As `ForwardSameServer`, on a dedicated connection that is leased until the reply arrives, however long that
    /// takes.
    Blocking(E),
    /// As `AllServers`, on dedicated connections, after an offset marker on each
    /// ([`crate::protocol::ReplicaWait::markers`]), however long the replies take.
    WaitReplicas(M, E),
}

/// The part of the server in a request that the proxy answers when the transaction has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// None.
    Local,
    /// It gets the request too; its reply is merged with that of the proxy.
    Sent,
    /// As `Sent`, and the request changes the state of its connection.
    Stateful,
}

/// The effect of a request on its client's transaction.
#[derive(Debug)]
pub enum TxOp<E> {
    /// It begins. The reply is already written.
    Multi,
    /// The keys in the list are watched: the next transaction fails if one changes before it.
    Watch(E),
    /// The queued commands are executed.
    Exec(E),
    /// It ends without effect, if there is one, and all keys are unwatched. The reply is already written.
    Discard,
}

/// Servers of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// All servers.
    All,
    /// One server.
    One(ServerIndex),
    /// These servers, each with the bytes of the output buffer that it gets. One that has left the pool gets nothing.
    PerServer(Vec<(ServerId, Span)>),
}

/// The decision on a request of this protocol.
pub type PlanOf<P> = Plan<<P as ProtocolTypes>::MergeSpec, <P as ProtocolTypes>::Expect>;

impl<M, E> Plan<M, E> {
    /// Returns true if servers get something of the request.
    #[inline]
    pub fn is_sent(&self) -> bool {
        !matches!(
            self,
            Self::Ignore
                | Self::Reply
                | Self::ReplyPart(_)
                | Self::Error(_)
                | Self::ReplyAndClose
                | Self::Monitor
                | Self::Transaction(TxOp::Multi | TxOp::Discard)
                | Self::PubSub(..)
                | Self::Deferred(_)
        )
    }

    /// Returns true if the request may be taken while a change of the client's subscriptions is not confirmed: servers
    /// get nothing of it that the change could affect.
    pub fn may_follow_subscriptions(&self) -> bool {
        match self {
            Self::Ignore | Self::Reply | Self::Error(_) | Self::ReplyAndClose | Self::Monitor => {
                true
            }
            Self::PubSub(change, _) => *change != SubscriptionChange::Leave,
            _ => false,
        }
    }
}
