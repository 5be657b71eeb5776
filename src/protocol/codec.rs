//! The trait that a protocol implements, and the small values that cross it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::{
    ChannelKind, ConnProfile, KillSwitch, Limits, Phrase, Placement, PubSubCodec,
    SubscriptionChange, SubscriptionCount, TryResult, UnblockReason, UpstreamError,
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

/// One reply of the greeting, as the proxy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeStep {
    /// The server accepted this step.
    Accepted,
    /// The server refused it.
    Refused,
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
pub trait Protocol: PubSubCodec + Sized + fmt::Debug + 'static {
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

    /// A client that has just connected.
    fn client(settings: &Self::Settings, arrival: ConnInfo) -> Self::Client;

    /// The number by which others know a client.
    fn number(_client: &Self::Client) -> u64 {
        0
    }

    /// What is kept of a request.
    fn command_tag(_request: &Self::Request) -> Self::CommandTag {
        Self::CommandTag::default()
    }

    /// From which time on a request is to be noted with [`Self::note_slow`]. Asked once a batch of replies.
    fn slow_from(_settings: &Self::Settings) -> Duration {
        Duration::MAX
    }

    /// Notes a request of the client of this number whose servers took so long.
    fn note_slow(
        _settings: &Self::Settings,
        _label: Self::CommandTag,
        _client: u64,
        _took: Duration,
    ) {
    }

    /// Whether the client does not want the reply to the request that is being taken. Asked once for each.
    fn take_reply_suppressed(_client: &Self::Client) -> bool {
        false
    }

    /// How many lanes there are.
    fn profiles(settings: &Self::Settings) -> usize;

    /// The lane of a client's next request. Asked for every request that is forwarded.
    fn profile(client: &Self::Client) -> ConnProfile;

    /// Whether a request may have the client's next ones go in another lane.
    fn may_change_profile(_request: &Self::Request) -> bool {
        false
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

    /// Writes the reply that tells a client its framing is lost; the connection closes after it.
    fn write_scan_error(error: &Self::ScanError, out: &mut BytesMut);

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

    /// Whether bytes that answer no request say that the server takes no more connections.
    fn is_max_clients(bytes: &[u8]) -> bool;

    /// Writes what comes before the units of a fragment of `frame`.
    fn begin_fragment(split: Self::MergeSpec, frame: &[u8], part: Part, out: &mut BytesMut);

    /// Writes what comes after the units of a fragment.
    fn end_fragment(split: Self::MergeSpec, out: &mut BytesMut);

    /// Keeps what joining the replies will need.
    fn merge_context(
        split: Self::MergeSpec,
        frame: &[u8],
        keys: &[KeySpan],
        settings: &Self::Settings,
    ) -> Self::MergeContext;

    /// Whether the reply goes through `gather` even where the pool has one server only.
    fn always_merges(_split: Self::MergeSpec) -> bool {
        false
    }

    /// Whether servers get the request on connections of its own: it concerns what runs on those that clients share, and must
    /// not wait behind that. Ejected servers get it, too: what runs may be why.
    fn bypasses_queue(_split: Self::MergeSpec) -> bool {
        false
    }

    /// The lane of such connections, for a client of `lane`: a server accepts its greeting whatever it is busy with.
    fn bypass_profile(_settings: &Self::Settings, profile: ConnProfile) -> ConnProfile {
        profile
    }

    /// Joins the replies to the fragments of one request, in the order of the servers. `owners` says for each key, in
    /// the order of the request, which of `replies` answers it; it is empty where every server got the whole request.
    fn merge(
        joint: &Self::MergeContext,
        owners: &[u16],
        replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> Result<(), UpstreamError>;

    /// Registers or removes the scripts that a request is about, once it has been sent: never while it is planned, since a
    /// request may be planned again, or discarded with its transaction.
    fn on_script(_op: ScriptOp, _frame: &[u8], _settings: &Self::Settings) {}

    /// Whether a reply says that its server lacks what the request refers to, and so did nothing.
    #[must_use]
    fn is_noscript(_reply: &[u8]) -> bool {
        false
    }

    /// Writes a request in words that its server cannot lack. Returns whether there are any.
    fn write_eval(_settings: &Self::Settings, _frame: &[u8], _out: &mut BytesMut) -> bool {
        false
    }

    /// Whether a reply to several requests says so of one of them.
    #[must_use]
    fn contains_noscript(_reply: &[u8]) -> bool {
        false
    }

    /// A number that changes when all servers were told to forget what they may lack.
    fn flush_epoch(_settings: &Self::Settings) -> u64 {
        0
    }

    /// The name of what the server of a request may lack.
    #[must_use]
    fn script_sha(frame: &[u8]) -> &[u8] {
        frame
    }

    /// Writes a request that gives a server what has this name. Returns whether there is any.
    fn write_script_load(_settings: &Self::Settings, _name: &[u8], _out: &mut BytesMut) -> bool {
        false
    }

    /// What a new connection of `lane` says to its server before the first request. Returns how many replies are owed.
    fn write_handshake(
        settings: &Self::Settings,
        profile: ConnProfile,
        out: &mut BytesMut,
    ) -> usize;

    /// Whether the server accepted one step of the greeting.
    fn handshake_step(reply: &[u8]) -> HandshakeStep;

    /// What `Expect` says of a reply to the greeting.
    const HANDSHAKE: Self::Expect;

    /// Writes how `fault` reads on this wire, for a client that expects this reply; nothing where it expects none.
    fn write_upstream_error(error: UpstreamError, expect: Self::Expect, out: &mut BytesMut);

    /// Writes that the connection to `server` is lost.
    fn write_lost(_server: &str, error: UpstreamError, expect: Self::Expect, out: &mut BytesMut) {
        Self::write_upstream_error(error, expect, out);
    }

    /// Writes that a request cannot be carried out since two of its keys live on different servers, and what to do.
    fn write_cross_server(settings: &Self::Settings, keys: [&[u8]; 2], out: &mut BytesMut);

    /// Tells a client's memory that from now on its requests are queued, or no more.
    fn set_in_multi(client: &mut Self::Client, queues: bool);

    /// Writes what the proxy says of itself.
    fn write_server_command(phrase: Phrase, out: &mut BytesMut);

    /// Notes at which servers, by their index, a client waits for what other clients do, and over which connections; none
    /// where it waits no more.
    fn set_blocked_on(_client: &Self::Client, _places: Vec<(u16, ServerClientId)>) {}

    /// What came of a request that was tried in a transaction of its own, where it does not wait.
    #[must_use]
    fn try_result(_reply: &[u8]) -> TryResult<'_> {
        TryResult::Desynced
    }

    /// Whether to be tried changes what a request that may wait stands for.
    #[must_use]
    fn reads_latest(_request: &[u8]) -> bool {
        false
    }

    /// Writes why a transaction failed, if its server's reply says that it did: what it had said of one of its requests.
    fn write_exec_abort(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool;

    /// Writes the request that ends what blocks another connection, which the server calls so. Returns whether it can:
    /// otherwise that connection is closed.
    fn write_unblock(identity: &[u8], how: UnblockReason, out: &mut BytesMut) -> bool;

    /// Whether a reply to a part of a request to [`Whom::Each`] says that its server did not yet know what the request is
    /// about, and will: then it is asked again.
    fn unblock_raced(
        _settings: &Self::Settings,
        _original: &[u8],
        _part: &[u8],
        _reply: &[u8],
    ) -> bool {
        false
    }

    /// Whether a reply to the end of a transaction says that nothing of it was done, and that it is over.
    #[must_use]
    fn is_abort(_reply: &[u8]) -> bool {
        false
    }

    /// Whether a reply says that its server did nothing.
    #[must_use]
    fn is_refusal(_reply: &[u8]) -> bool {
        false
    }

    /// What is written for a request to [`Plan::Attest`] on each connection before it, so that it counts as the last that
    /// was written there; the first that the server takes.
    fn markers(_split: Self::MergeSpec) -> &'static [Phrase] {
        &[]
    }

    /// Writes the request that puts back what its server took out of a key for a blocking request. Returns whether it took
    /// anything.
    fn restore_popped(request: &[u8], reply: &[u8], out: &mut BytesMut) -> bool;

    /// Writes the reply to a client for whom there is no room.
    fn write_max_clients(out: &mut BytesMut);

    /// Where what is published under `name` can be heard.
    fn placement<'n>(
        _settings: &Self::Settings,
        _topic: ChannelKind,
        name: &'n [u8],
    ) -> Placement<'n> {
        Placement::Key(name)
    }

    /// Tells a client's state how many subscriptions it has now.
    fn set_subscriptions(_client: &mut Self::Client, _tally: SubscriptionCount) {}

    /// A client's number, by which others know it.
    fn client_number(_client: &Self::Client) -> u64 {
        0
    }

    /// Tells what the client of that number is subscribed to now.
    fn on_subscriptions(_settings: &Self::Settings, _client: u64, _tally: SubscriptionCount) {}

    /// Tells that one client more (or fewer, if not `more`) hears `name` over a server connection that others hear it
    /// over, too: the server counts them as one.
    fn on_shared_subscriber(
        _settings: &Self::Settings,
        _topic: ChannelKind,
        _name: &[u8],
        _more: bool,
    ) {
    }
}
