//! The text protocol of memcached, with the meta commands of 1.6
//! (<https://github.com/memcached/memcached/blob/master/doc/protocol.txt>).
//!
//! ```text
//! client bytes --request--> Request --plan--> local reply | one server | several or all (gather)
//! server bytes --reply----> handed on as they are, unless the client asked not to see them
//! ```
//!
//! Clients share the connections to the servers, and replies find their requests by their order. Two laws follow, and
//! everything here keeps them: what is forwarded brings exactly one reply, whatever the server's version; and the server
//! sees the same frames in it as the proxy. So `noreply` and the flag `q` do not reach servers, spaces and line ends are
//! forwarded in one form only, and what a server could read otherwise is refused.

pub(crate) mod base64;
pub mod command;
pub mod error;
pub(crate) mod expect;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod stats;

use bytes::{BufMut, Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::{
    Arrival, BadReply, Broadcast, Fault, Greeted, KeySpan, Lane, Limits, Part, Passed, Phrase,
    Plan, Protocol, Scan, Span, Unblocked,
};

pub use crate::protocol::memcached::expect::{Answer, Expect, Hush};
pub use crate::protocol::memcached::merge::{Joint, Split};
pub use crate::protocol::memcached::reply::ReplyScanner;
pub use crate::protocol::memcached::request::{
    Form, KEY_BYTES, META_FLAGS, OPAQUE_BYTES, Refusal, Request, RequestScanner, ScanError,
};
pub use crate::protocol::memcached::stats::{MEMCACHED_VERSION, Settings};

/// The protocol of memcached.
#[derive(Debug)]
pub struct Memcached;

/// memcached has nothing to subscribe to.
impl Broadcast for Memcached {}

impl Protocol for Memcached {
    type Settings = Settings;
    /// Nothing: every request says all of itself.
    type Client = ();
    type RequestScanner = RequestScanner;
    type ReplyScanner = ReplyScanner;
    type Request = Request;
    type Expect = Expect;
    type Split = Split;
    type Joint = Joint;
    type ScanError = ScanError;
    type Label = ();

    /// The key that Twemproxy routes such requests by.
    const PLACEHOLDER: &'static [u8] = b"placeholder";
    const GREETING: Expect = Expect {
        answer: Answer::Version,
        hush: Hush::None,
    };
    fn lanes(_settings: &Settings) -> usize {
        1
    }

    fn client(_settings: &Settings, _arrival: Arrival) {}

    #[inline]
    fn lane(_client: &()) -> Lane {
        Lane::FIRST
    }

    fn scan_request(
        scanner: &mut RequestScanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Scan<Request>, ScanError> {
        scanner.scan(bytes, limits)
    }

    fn expand(request: &Request, frame: &[u8], out: &mut BytesMut) -> Result<bool, ScanError> {
        if request.form != Form::Shorthand {
            return Ok(false);
        }
        request.expand(frame, out);
        Ok(true)
    }

    fn write_scan_error(error: &ScanError, out: &mut BytesMut) {
        error::write_scan_error(*error, out);
    }

    fn plan(
        request: &Request,
        frame: &[u8],
        _client: &mut (),
        settings: &Settings,
        keys: &mut Vec<KeySpan>,
        out: &mut BytesMut,
    ) -> Plan<Self> {
        plan::plan(request, frame, settings, keys, out)
    }

    #[inline]
    fn left_out(request: &Request) -> Span {
        request.left_out
    }

    fn scan_reply(
        scanner: &mut ReplyScanner,
        bytes: &[u8],
        expect: Expect,
    ) -> Result<Passed, BadReply> {
        scanner.scan(bytes, expect)
    }

    fn turns_away(bytes: &[u8]) -> bool {
        bytes.starts_with(reply::NO_ROOM)
    }

    fn begin_fragment(split: Split, frame: &[u8], _part: Part, out: &mut BytesMut) {
        merge::begin_fragment(split, frame, out);
    }

    fn end_fragment(split: Split, out: &mut BytesMut) {
        merge::end_fragment(split, out);
    }

    fn joint(split: Split, frame: &[u8], keys: &[KeySpan], _settings: &Settings) -> Joint {
        merge::joint(split, frame, keys)
    }

    fn gather(
        joint: &Joint,
        owners: &[u16],
        replies: Vec<Result<Bytes, Fault>>,
        out: &mut WriteBuf,
    ) -> Result<(), Fault> {
        merge::gather(joint, owners, replies, out)
    }

    /// A server wants no greeting.
    fn write_greeting(_settings: &Settings, _lane: Lane, _out: &mut BytesMut) -> usize {
        0
    }

    fn greeted(_reply: &[u8]) -> Greeted {
        Greeted::Accepted
    }

    fn write_fault(fault: Fault, expect: Expect, out: &mut BytesMut) {
        error::write_fault(fault, expect, out);
    }

    /// No request of memcached has keys that must live together.
    fn write_apart(_settings: &Settings, _keys: [&[u8]; 2], out: &mut BytesMut) {
        out.put_slice(b"SERVER_ERROR the keys live on different servers\r\n");
    }

    /// There are no transactions.
    fn queue_requests(_client: &mut (), _queues: bool) {}

    fn write_phrase(_phrase: Phrase, _out: &mut BytesMut) {}

    fn explain(_cause: &[u8], _reply: &[u8], _out: &mut BytesMut) -> bool {
        false
    }

    fn write_unblock(_identity: &[u8], _how: Unblocked, _out: &mut BytesMut) -> bool {
        false
    }

    fn give_back(_request: &[u8], _reply: &[u8], _out: &mut BytesMut) -> bool {
        false
    }

    fn write_full(out: &mut BytesMut) {
        out.put_slice(b"ERROR Too many open connections\r\n");
    }
}
