//! The trait that a protocol implements, and the small values that cross it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

use crate::protocol::{
    ClientState, ConnProfile, ErrorReplies, KillSwitch, Limits, Merge, PoolObserver, Stateful,
    SubscriptionChange,
};
use crate::topology::{ServerId, ServerIndex};

/// A range of bytes within one frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte from the start of the frame.
    pub start: usize,
    /// Offset just past the last byte.
    pub end: usize,
}

impl Span {
    /// Its length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Returns true if it covers nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The bytes of `frame` that this span covers; empty where it lies outside.
    #[must_use]
    pub fn of(self, frame: &[u8]) -> &[u8] {
        frame.get(self.start..self.end).unwrap_or_default()
    }
}

/// One unit of a request that can be split: a key, with all the bytes that travel with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeySpan {
    /// The key alone, which is hashed.
    pub key: Span,
    /// The encoded bytes that a fragment repeats for this key (for MSET: key and value).
    pub unit: Span,
}

/// The keys of a request that a fragment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of keys.
    pub keys: usize,
    /// True if the first key of the request is among them.
    pub has_first: bool,
}

/// The result of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan<T> {
    /// The frame ends `len` bytes after its start.
    Complete {
        /// The parsed frame.
        found: T,
        /// Bytes of the whole frame.
        len: usize,
    },
    /// More bytes are needed; `want` is the least number of bytes that the whole frame is now known to have.
    Partial {
        /// Known lower bound of the frame's length, from its start.
        want: usize,
    },
}

/// The result of a scan of a reply. The bytes that it passed are not needed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The reply ends after `len` bytes.
    Whole {
        /// Bytes to the end of the reply.
        len: usize,
        /// The kind of the reply.
        kind: ReplyKind,
        /// The client suppressed it.
        hidden: bool,
    },
    /// `len` bytes belong to the reply, and more are to come.
    Part {
        /// Bytes that can be forwarded already.
        len: usize,
    },
}

/// The kind of a reply: a value, or the failure of a request or of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// A value.
    Value,
    /// An error of the request.
    Error,
    /// An error of the server's state (out of memory, loading, busy): counts as a failure of the server.
    ServerError,
}

/// The server's bytes are no reply of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadReply;

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
    /// As `Reply`: the request was rejected.
    Error,
    /// As `Reply`, and the connection is closed after the reply.
    ReplyAndClose,
    /// The whole frame goes to one server.
    Forward(Route, E),
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
    /// A transaction begins, or ends.
    Transaction(TxOp<E>),
    /// As `Forward`, and the reply goes through [`Merge::merge`], as that of the only fragment.
    ForwardAndFixReply(Route, M, E),
    /// The client's subscriptions change, to those whose names are in the list. The reply is sent when the servers
    /// concerned have confirmed it, and no other request of the client is in flight meanwhile.
    PubSub(SubscriptionChange, E),
    /// As `ForwardSameServer`, on a dedicated connection that is leased until the reply arrives, however long that
    /// takes.
    Blocking(E),
    /// As `AllServers`, on dedicated connections, after an offset marker on each
    /// ([`crate::protocol::ReplicaWait::markers`]), however long the replies take.
    WaitReplicas(M, E),
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

/// The effect of a request on the scripts that the proxy knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptOp {
    /// The request contains a script, which is registered.
    Eval,
    /// The request names a script, which its server may lack.
    EvalSha,
    /// All scripts are removed.
    Flush,
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

/// The ID that a server gives to a dedicated connection (CLIENT ID), once it has sent it. Shared by all workers.
pub type ServerClientId = Arc<OnceLock<Bytes>>;

/// The decision on a request of this protocol.
pub type PlanOf<P> = Plan<<P as Protocol>::MergeSpec, <P as Protocol>::Expect>;

impl<M, E> Plan<M, E> {
    /// Returns true if servers get something of the request.
    #[inline]
    pub fn is_sent(&self) -> bool {
        !matches!(
            self,
            Self::Ignore
                | Self::Reply
                | Self::Error
                | Self::ReplyAndClose
                | Self::Transaction(TxOp::Multi | TxOp::Discard)
                | Self::PubSub(..)
        )
    }
}

/// The class of a reply, as far as the data plane needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyClass {
    /// A simple status, such as `+OK`.
    Status,
    /// A map, the reply to HELLO.
    Map,
    /// Any other value.
    Value,
    /// An error: nothing was done.
    Error(ErrorCode),
}

/// The errors that the proxy acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The server has reached its limit of clients.
    MaxClients,
    /// The server does not know the script.
    NoScript,
    /// The transaction was discarded.
    ExecAbort,
    /// A script or module runs for too long.
    Busy,
    /// The server loads its data.
    Loading,
    /// A write was sent to a replica.
    ReadOnly,
    /// The slot is stored on another server, from now on.
    Moved,
    /// The slot is stored on another server, for this request.
    Ask,
    /// Any other.
    Other,
}

impl ReplyClass {
    /// Returns true if the reply says that nothing was done.
    pub fn is_error(self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Returns true if the server has reached its limit of clients.
    pub fn is_max_clients(self) -> bool {
        self == Self::Error(ErrorCode::MaxClients)
    }

    /// Returns true if the reply accepts a handshake command: a status, or a map for HELLO.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Status | Self::Map)
    }
}

/// A client that has just connected, as the client registry knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnInfo {
    /// Its address; for a unix socket the path of the socket, and `:0`.
    pub peer: String,
    /// The address that it connected to, likewise.
    pub local: String,
    /// The number of its session, among those of its worker.
    pub session: usize,
    /// Stops its session.
    pub kill_switch: KillSwitch,
}

/// A wire format, as the data plane sees it.
pub trait Protocol: Sized + fmt::Debug + 'static {
    /// The protocol's settings of a pool.
    type Settings: fmt::Debug + 'static;
    /// The state of one client.
    type Client: fmt::Debug + Unpin + 'static;
    /// The state of the scan of a request.
    type RequestScanner: fmt::Debug + Default + Unpin + 'static;
    /// The state of the scan of a reply.
    type ReplyScanner: fmt::Debug + Default + Unpin + 'static;
    /// A scanned request: spans, no bytes.
    type Request: fmt::Debug + Copy + Unpin + 'static;
    /// The context that the reply scanner needs of the request that a reply answers.
    type Expect: fmt::Debug + Copy;
    /// The way a request is split and its replies are merged.
    type MergeSpec: fmt::Debug + Copy;
    /// The data of a split request that is kept until its replies can be merged.
    type MergeContext: fmt::Debug + 'static;
    /// The error when the framing of a client's bytes is lost.
    type ScanError: fmt::Debug;
    /// The tag of a forwarded request that is kept for the slow log.
    type CommandTag: fmt::Debug + Copy + Default;
    /// Its capabilities: transactions, scripts, blocking commands, subscriptions; or [`crate::protocol::Unsupported`].
    type Stateful: Stateful<Self>;
    /// The implementation of the client state.
    type Clients: ClientState<Self>;
    /// The implementation of splitting and merging.
    type Merge: Merge<Self>;
    /// The implementation of error replies.
    type Errors: ErrorReplies<Self>;
    /// The observer of forwarded requests.
    type Observer: PoolObserver<Self>;

    /// Returns the tag of a request.
    fn command_tag(_request: &Self::Request) -> Self::CommandTag {
        Self::CommandTag::default()
    }

    /// Finds the end of the request at the start of `bytes`.
    ///
    /// Resumes where the scanner stopped: `bytes` starts with the same frame until `Complete` or an error is returned.
    /// A complete frame is consumed before the next call, for the scanner may know of the bytes that follow it.
    fn scan_request(
        scanner: &mut Self::RequestScanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Scan<Self::Request>, Self::ScanError>;

    /// Writes a request in shorthand in its canonical form, which is scanned in its place. Returns false if it is not
    /// shorthand.
    fn canonicalize(
        request: &Self::Request,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, Self::ScanError>;

    /// Plans a request. Local replies go to `out`; the keys of `ForwardSameServer` and `MultiShard` to `keys`.
    fn plan(
        request: &Self::Request,
        frame: &[u8],
        client: &mut Self::Client,
        settings: &Self::Settings,
        keys: &mut Vec<KeySpan>,
        out: &mut BytesMut,
    ) -> PlanOf<Self>;

    /// Bytes of a frame that servers do not get, since they would suppress the reply. Everything that is forwarded must
    /// bring exactly one reply, since replies are matched to requests by their order.
    fn stripped(request: &Self::Request) -> Span;

    /// The key that requests without one are routed by.
    const PLACEHOLDER: &'static [u8];

    /// Scans the bytes of a reply, which follow those scanned before.
    fn scan_reply(
        scanner: &mut Self::ReplyScanner,
        bytes: &[u8],
        expect: Self::Expect,
    ) -> Result<Passed, BadReply>;

    /// Writes the handshake of a new connection of `profile`. Returns the number of replies to expect.
    fn write_handshake(
        settings: &Self::Settings,
        profile: ConnProfile,
        out: &mut BytesMut,
    ) -> usize;

    /// The context of the reply scanner for a reply to the handshake.
    const HANDSHAKE: Self::Expect;

    /// Classifies a reply, or the start of one.
    fn classify(reply: &[u8]) -> ReplyClass;
}
