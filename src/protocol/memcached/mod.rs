//! The text protocol of memcached, with the meta commands of 1.6
//! (<https://github.com/memcached/memcached/blob/master/doc/protocol.txt>).
//!
//! ```text
//! client bytes --request--> Request --plan--> local reply | one server | several or all (merge)
//! server bytes --reply----> forwarded unchanged, unless the client suppressed them
//! ```
//!
//! Clients share the connections to the servers, and replies are matched to requests by their order. Two rules follow,
//! and everything here keeps them: each forwarded request has exactly one reply, whatever the server's version; and the
//! server finds the same frames in it as the proxy. So `noreply` and the flag `q` do not reach servers, spaces and line
//! ends are forwarded in one form only, and requests that a server could parse differently are rejected.

pub(crate) mod base64;
pub mod command;
pub mod error;
pub(crate) mod expect;
pub(crate) mod merge;
pub(crate) mod observed;
pub(crate) mod plan;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod stats;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::observe::{RequestText, SlowRequest};
use crate::protocol::memcached::command::{Local, Policy};
use crate::protocol::{
    BadReply, ClientState, ConnInfo, ConnProfile, ErrorCode, ErrorReplies, KeySpan, Limits, Merge,
    Metering, Part, Passed, PlanOf, PoolObserver, Protocol, ProtocolTypes, ReplyClass, Scan, Span,
    Unsupported, UpstreamError,
};
use crate::stats::{CommandId, CommandTable};

pub use crate::protocol::memcached::expect::{Answer, Expect, Noreply};
pub use crate::protocol::memcached::merge::{MergeContext, MergeSpec};
pub use crate::protocol::memcached::observed::SLOW_FROM;
pub use crate::protocol::memcached::reply::ReplyScanner;
pub use crate::protocol::memcached::request::{
    Form, KEY_BYTES, META_FLAGS, OPAQUE_BYTES, Refusal, Request, RequestScanner, ScanError,
};
pub use crate::protocol::memcached::stats::{MEMCACHED_VERSION, Settings};

/// Bytes of an unknown name that statistics are given: more than they keep.
const UNKNOWN_BYTES: usize = 64;

/// The protocol of memcached.
#[derive(Debug)]
pub struct Memcached;

impl ProtocolTypes for Memcached {
    type Settings = Settings;
    /// None: every request is self-contained.
    type Client = ();
    type RequestScanner = RequestScanner;
    type ReplyScanner = ReplyScanner;
    type Request = Request;
    type Expect = Expect;
    type MergeSpec = MergeSpec;
    type MergeContext = MergeContext;
    type ScanError = ScanError;
}

impl Protocol for Memcached {
    type Stateful = Unsupported;
    type Clients = Self;
    type Merge = Self;
    type Errors = Self;
    type Observer = Self;

    /// The key that Twemproxy routes such requests by.
    const PLACEHOLDER: &'static [u8] = b"placeholder";
    const PING: &'static [u8] = b"version\r\n";
    const HANDSHAKE: Expect = Expect {
        answer: Answer::Version,
        noreply: Noreply::None,
    };

    const COMMANDS: CommandTable = &command::COMMANDS;

    #[inline]
    fn command(request: &Request, _frame: &[u8]) -> CommandId {
        request
            .command
            .map_or(CommandId::NONE, |command| command.id)
    }

    fn scan_request(
        scanner: &mut RequestScanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Scan<Request>, ScanError> {
        scanner.scan(bytes, limits)
    }

    #[inline]
    fn canonicalize(
        request: &Request,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, ScanError> {
        if request.form != Form::Shorthand {
            return Ok(false);
        }
        request.canonicalize(frame, out);
        Ok(true)
    }

    fn plan(
        request: &Request,
        frame: &[u8],
        _client: &mut (),
        settings: &Settings,
        keys: &mut Vec<KeySpan>,
        out: &mut BytesMut,
    ) -> PlanOf<Self> {
        plan::plan(request, frame, settings, keys, out)
    }

    #[inline]
    fn stripped(request: &Request) -> Span {
        request.stripped
    }

    fn scan_reply(
        scanner: &mut ReplyScanner,
        bytes: &[u8],
        expect: Expect,
    ) -> Result<Passed, BadReply> {
        scanner.scan(bytes, expect)
    }

    /// Writes nothing: memcached has no handshake.
    fn write_handshake(_settings: &Settings, _profile: ConnProfile, _out: &mut BytesMut) -> usize {
        0
    }

    fn classify(reply: &[u8]) -> ReplyClass {
        if reply.starts_with(reply::NO_ROOM) {
            ReplyClass::Error(ErrorCode::MaxClients)
        } else if reply.starts_with(b"ERROR")
            || reply.starts_with(b"CLIENT_ERROR")
            || reply.starts_with(b"SERVER_ERROR")
        {
            ReplyClass::Error(ErrorCode::Other)
        } else {
            ReplyClass::Value
        }
    }
}

impl ClientState<Self> for Memcached {
    fn profiles(_settings: &Settings) -> usize {
        1
    }

    fn client(_settings: &Settings, _info: ConnInfo) {}

    #[inline]
    fn profile(_client: &()) -> ConnProfile {
        ConnProfile::FIRST
    }

    fn metering(_client: &(), request: &Request) -> Metering {
        let policy = request.command.map(|command| command.policy);
        match request.form {
            Form::Skipped => Metering::Free,
            _ if policy == Some(Policy::Local(Local::Quit)) => Metering::NeverRefused,
            _ => Metering::Counted,
        }
    }
}

impl Merge<Self> for Memcached {
    fn begin_fragment(split: MergeSpec, frame: &[u8], _part: Part, out: &mut BytesMut) {
        merge::begin_fragment(split, frame, out);
    }

    fn end_fragment(split: MergeSpec, out: &mut BytesMut) {
        merge::end_fragment(split, out);
    }

    fn merge_context(
        split: MergeSpec,
        frame: &[u8],
        keys: &[KeySpan],
        _settings: &Settings,
    ) -> MergeContext {
        merge::merge_context(split, frame, keys)
    }

    fn merge(
        context: &MergeContext,
        owners: &[u16],
        replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> Result<(), UpstreamError> {
        merge::merge(context, owners, replies, out)
    }
}

impl ErrorReplies<Self> for Memcached {
    fn write_memory_limit(out: &mut BytesMut) {
        out.put_slice(
            b"SERVER_ERROR out of memory: the proxy's buffers have reached memory_limit\r\n",
        );
    }

    fn write_over_quota(request: &Request, text: &str, out: &mut BytesMut) {
        error::write_over_quota(request, text, out);
    }

    fn write_scan_error(error: &ScanError, out: &mut BytesMut) {
        error::write_scan_error(*error, out);
    }

    fn write_upstream_error(error: UpstreamError, expect: Expect, out: &mut BytesMut) {
        error::write_upstream_error(error, expect, out);
    }

    /// Unused: no request of memcached has keys that must be stored on the same server.
    fn write_cross_server(_settings: &Settings, _keys: [&[u8]; 2], out: &mut BytesMut) {
        out.put_slice(b"SERVER_ERROR the keys are stored on different servers\r\n");
    }

    fn write_max_clients(out: &mut BytesMut) {
        out.put_slice(b"ERROR Too many open connections\r\n");
    }
}

impl PoolObserver<Self> for Memcached {
    #[inline]
    fn error_code(reply: &[u8]) -> Option<&[u8]> {
        Self::classify(reply).is_error().then(|| {
            let end = reply
                .iter()
                .position(|byte| !byte.is_ascii_uppercase() && *byte != b'_');
            reply.get(..end.unwrap_or(reply.len())).unwrap_or_default()
        })
    }

    fn write_unknown_name(_request: &Request, frame: &[u8], name: &mut Vec<u8>) {
        let word = frame
            .split(u8::is_ascii_whitespace)
            .find(|word| !word.is_empty());
        name.extend(word.unwrap_or_default().iter().take(UNKNOWN_BYTES));
    }

    fn visit_keys(request: &Request, frame: &[u8], visit: &mut dyn FnMut(&[u8])) {
        observed::visit_keys(request, frame, visit);
    }

    fn visit_keys_of_head(head: &[u8], visit: &mut dyn FnMut(&[u8])) {
        observed::visit_keys_of_head(head, visit);
    }

    fn name_of_head(head: &[u8]) -> &[u8] {
        let mut words = head.split(u8::is_ascii_whitespace);
        words.next().unwrap_or_default()
    }

    fn text(head: &[u8]) -> RequestText {
        observed::text(head)
    }

    #[inline]
    fn slow_from(settings: &Settings) -> Duration {
        settings.slow_from
    }

    fn note_slow(
        settings: &Settings,
        _command: CommandId,
        (_, peer): (u64, &str),
        slow: SlowRequest,
    ) {
        if slow.took >= settings.slow_from {
            let client = (peer.to_owned(), Box::default());
            settings.slow_log.note(slow, client, observed::SLOW_ENTRIES);
        }
    }
}
