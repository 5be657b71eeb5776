//! The trait that a protocol implements.

use bytes::BytesMut;

use crate::protocol::{
    BadReply, ClientState, ConnProfile, ErrorReplies, KeySpan, Limits, Merge, Passed, PlanOf,
    PoolObserver, ProtocolTypes, ReplyClass, Scan, Span, Stateful,
};
use crate::stats::{CommandId, CommandTable};

/// A wire format, as the data plane sees it.
pub trait Protocol: ProtocolTypes {
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

    /// The commands, as statistics know them.
    const COMMANDS: CommandTable;

    /// The command of a request, with its subcommand.
    fn command(request: &Self::Request, frame: &[u8]) -> CommandId;

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

    /// A request that changes nothing, and that every server answers.
    const PING: &'static [u8];

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
