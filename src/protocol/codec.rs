//! The trait that a protocol implements, and the small values that cross it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

use crate::protocol::{
    ClientState, ConnProfile, ErrorReplies, KillSwitch, Limits, Merge, PoolObserver, Stateful,
    SubscriptionChange,
};

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

    /// Whether it covers nothing.
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
    /// The key alone: what is hashed.
    pub key: Span,
    /// The encoded bytes that a fragment repeats for this key (for MSET: key and value).
    pub unit: Span,
}

/// Which keys of a request a fragment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How many.
    pub keys: usize,
    /// Whether the first of the request is among them.
    pub has_first: bool,
}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan<T> {
    /// The frame ends `len` bytes after its start.
    Complete {
        /// What was found in it.
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

/// How far the scan of a reply came. The bytes that it passed are not needed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The reply ends after `len` bytes.
    Whole {
        /// Bytes to the end of the reply.
        len: usize,
        /// What it says of its server.
        kind: ReplyKind,
        /// The client asked not to be told.
        hidden: bool,
    },
    /// `len` bytes belong to the reply, and more are to come.
    Part {
        /// Bytes that can be handed on already.
        len: usize,
    },
}

/// What a reply says of the server that sent it.
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

/// What a forwarded request is routed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A key within the frame.
    Key(Span),
    /// A key that the frame has in an encoding: the plan has written it to the buffer that was handed in.
    Decoded,
    /// No key: it goes where the protocol's placeholder key lives, always the same server.
    Placeholder,
}

/// What becomes of a request. `M` says how replies are merged, and `E` what the reply scanner must know.
#[derive(Debug)]
pub enum Plan<M, E> {
    /// Nothing: the frame holds no request.
    Ignore,
    /// The reply is already written to the buffer that was handed in.
    Reply,
    /// As `Answered`: the request was refused for what it is.
    Error,
    /// As `Answered`, and the connection is closed behind the reply.
    ReplyAndClose,
    /// The whole frame goes to one server.
    Forward(Route, E),
    /// The whole frame goes to one server if all the keys in the list live there, and is refused otherwise.
    ForwardSameServer(E),
    /// As `Together`; without any key it goes where the placeholder key lives. Should the reply say that the server lacks
    /// what the request refers to, it may be said in other words ([`Protocol::write_retold`]).
    ForwardScript(ScriptOp, E),
    /// As `AllServers`, for a request after which no server knows any script ([`Protocol::on_script`]).
    ScriptFlush(M, E),
    /// Split by server: every key in the list belongs to the fragment of its own server. Where all live on one
    /// server, the frame goes there whole.
    MultiShard(M, E),
    /// The whole frame goes to every server of the pool, and the replies are joined.
    AllServers(M, E),
    /// The request that is written to the buffer that was handed in goes to these servers in the frame's place, and the
    /// replies are joined.
    Rewrite(Targets, M, E),
    /// A transaction begins, or ends.
    Transaction(TxOp<E>),
    /// As `Forward`, and the reply goes through `gather`, as if it were the only fragment's.
    ForwardAndFixReply(Route, M, E),
    /// The client's subscriptions change, to those whose names are in the list. It is answered when the servers
    /// concerned have confirmed it, and no other request is under way meanwhile.
    PubSub(SubscriptionChange, E),
    /// As `Together`, on a connection that the client has for itself until the reply has come, however long that takes.
    Blocking(E),
    /// As `Everyone`, on connections that the client has for itself, behind a mark on each ([`Protocol::marks`]), however
    /// long the replies take.
    WaitReplicas(M, E),
}

/// What a request does to the transaction of its client.
#[derive(Debug)]
pub enum TxOp<E> {
    /// It begins. The reply is already written.
    Multi,
    /// The keys in the list are watched: the next transaction fails if one changes before it.
    Watch(E),
    /// What was queued is carried out.
    Exec(E),
    /// It ends without effect, if there is one, and no key is watched any more. The reply is already written.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// Each of them.
    All,
    /// The one of this index.
    One(u16),
    /// Each for which the list has a `unit`, in the order of the servers: it gets these bytes of what is written.
    PerServer,
}

/// What a server calls a connection that one client has for itself, once it has said so. Known to all workers.
pub type ServerClientId = Arc<OnceLock<Bytes>>;

/// What becomes of a request of this protocol.
pub type PlanOf<P> = Plan<<P as Protocol>::MergeSpec, <P as Protocol>::Expect>;

impl<M, E> Plan<M, E> {
    /// Whether servers get something of the request.
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

/// What a reply says, as far as the data plane must know.
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

/// The errors that mean something to the proxy.
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

    /// Returns true if a server accepts a command that it answers so: with a status, or HELLO with a map.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Status | Self::Map)
    }
}

/// A client that has just connected, as others will know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnInfo {
    /// Its address; of a unix socket the path of the socket, and `:0`.
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
    /// What the protocol must know of its pool.
    type Settings: fmt::Debug + 'static;
    /// What it remembers of one client.
    type Client: fmt::Debug + Unpin + 'static;
    /// Where the scan of a request stands.
    type RequestScanner: fmt::Debug + Default + Unpin + 'static;
    /// Where the scan of a reply stands.
    type ReplyScanner: fmt::Debug + Default + Unpin + 'static;
    /// A scanned request: spans, no bytes.
    type Request: fmt::Debug + Copy + Unpin + 'static;
    /// What the reply scanner must know of the request that a reply answers.
    type Expect: fmt::Debug + Copy;
    /// How a request is split.
    type MergeSpec: fmt::Debug + Copy;
    /// What is kept of a split request until its replies can be joined.
    type MergeContext: fmt::Debug + 'static;
    /// Why the framing of a client's bytes is lost.
    type ScanError: fmt::Debug;
    /// What is kept of a forwarded request for the case that its servers turn out to be slow.
    type CommandTag: fmt::Debug + Copy + Default;
    /// What it has besides requests and replies: transactions, scripts, blocking commands, subscriptions; or
    /// [`Unsupported`].
    type Stateful: Stateful<Self>;
    /// What it does with its memory of a client.
    type Clients: ClientState<Self>;
    /// How it splits and merges.
    type Merge: Merge<Self>;
    /// How it writes errors.
    type Errors: ErrorReplies<Self>;
    /// What it learns of forwarded requests.
    type Observer: PoolObserver<Self>;

    /// What is kept of a request.
    fn command_tag(_request: &Self::Request) -> Self::CommandTag {
        Self::CommandTag::default()
    }

    /// Finds the end of the request at the start of `bytes`.
    ///
    /// Resumes where the scanner stopped: `bytes` starts with the same frame until `Complete` or an error is returned. What
    /// is complete is consumed before the next call, for the scanner may know of what follows it.
    fn scan_request(
        scanner: &mut Self::RequestScanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Scan<Self::Request>, Self::ScanError>;

    /// Writes a request that came in a shorthand in its canonical form, to be scanned in its place. Returns whether it
    /// was one.
    fn canonicalize(
        request: &Self::Request,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, Self::ScanError>;

    /// Decides what becomes of a request. Local replies go to `out`; the keys of `Together` and `Split` to `keys`.
    fn plan(
        request: &Self::Request,
        frame: &[u8],
        client: &mut Self::Client,
        settings: &Self::Settings,
        keys: &mut Vec<KeySpan>,
        out: &mut BytesMut,
    ) -> PlanOf<Self>;

    /// Bytes of a frame that servers do not get: what would have one send no reply. Everything that is forwarded must
    /// bring exactly one, since replies find their requests by their order.
    fn stripped(request: &Self::Request) -> Span;

    /// The key that requests without one are routed by.
    const PLACEHOLDER: &'static [u8];

    /// Passes over the bytes of a reply, which follow those passed before.
    fn scan_reply(
        scanner: &mut Self::ReplyScanner,
        bytes: &[u8],
        expect: Self::Expect,
    ) -> Result<Passed, BadReply>;

    /// What a new connection of `lane` says to its server before the first request. Returns how many replies are owed.
    fn write_handshake(
        settings: &Self::Settings,
        profile: ConnProfile,
        out: &mut BytesMut,
    ) -> usize;

    /// What `Expect` says of a reply to the greeting.
    const HANDSHAKE: Self::Expect;

    /// What a reply, or the start of one, says.
    fn classify(reply: &[u8]) -> ReplyClass;
}
