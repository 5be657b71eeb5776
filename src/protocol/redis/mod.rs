//! RESP2 and RESP3: the protocol of Redis (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! Each version has a lane of its own in each database: a server answers in the version that a connection's greeting
//! agreed on, from the database that it selected.
//!
//! ```text
//! client bytes --request--> Request --plan--> local reply | one server | several (gather)
//! server bytes --reply----> handed on as they are
//! ```

pub(crate) mod capability;
pub mod command;
pub mod error;
pub mod local;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod resp;
pub mod state;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::redis::capability::blocking;
use crate::protocol::redis::capability::pubsub;
use crate::protocol::redis::capability::transactions;
use crate::protocol::redis::command::{Command, Join, Local, Policy, SplitKind};
use crate::protocol::redis::resp::inline;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::scripts;
use crate::protocol::{
    Arrival, BadReply, Broadcast, Change, Fault, Greeted, Home, Identity, KeySpan, Lane, Limits,
    News, Part, Passed, Phrase, Plan, Protocol, Scan, Span, Tally, Topic, Tried, Unblocked,
};

pub use crate::protocol::redis::local::Settings;
pub use crate::protocol::redis::local::reply_writer::Resp;
pub use crate::protocol::redis::merge::sets::SetJoin;
pub use crate::protocol::redis::merge::{Crowd, Joint, Split};
pub use crate::protocol::redis::resp::args::Args;
pub use crate::protocol::redis::resp::reply::ReplyScanner;
pub use crate::protocol::redis::resp::request::{Form, Request, RequestScanner, ScanError};
pub use crate::protocol::redis::state::client::Client;
pub use crate::protocol::redis::state::scripts::{Recent, Scripts};

/// The protocol of Redis.
#[derive(Debug)]
pub struct Redis;

/// The command of a request, without its subcommand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Label(Option<&'static Command>);

impl Protocol for Redis {
    type Settings = Settings;
    type Client = Client;
    type RequestScanner = RequestScanner;
    type ReplyScanner = ReplyScanner;
    type Request = Request;
    type Expect = ();
    type Split = Split;
    type Joint = Joint;
    type ScanError = ScanError;
    type Label = Label;

    /// The key that Twemproxy routes such requests by.
    const PLACEHOLDER: &'static [u8] = b"placeholder";
    const GREETING: () = ();

    fn client(settings: &Settings, arrival: Arrival) -> Client {
        Client::arrived(settings, arrival)
    }

    #[inline]
    fn is_hushed(client: &Client) -> bool {
        client.is_hushed()
    }

    fn number(client: &Client) -> u64 {
        client.id()
    }

    #[inline]
    fn label(request: &Request) -> Label {
        Label(request.command)
    }

    #[inline]
    fn slow_from(settings: &Settings) -> Duration {
        settings.hall.slow_from()
    }

    #[cold]
    fn note_slow(settings: &Settings, Label(command): Label, client: u64, took: Duration) {
        if let Some(command) = command {
            settings.hall.note_slow(command, client, took);
        }
    }

    fn lanes(settings: &Settings) -> usize {
        profile::count(settings)
    }

    #[inline]
    fn lane(client: &Client) -> Lane {
        client.lane()
    }

    fn may_change_lane(request: &Request) -> bool {
        let policy = request.command.map(|command| command.policy);
        matches!(
            policy,
            Some(Policy::Local(Local::Hello | Local::Reset | Local::Select))
        )
    }

    fn scan_request(
        scanner: &mut RequestScanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Scan<Request>, ScanError> {
        scanner.scan(bytes, limits)
    }

    fn expand(request: &Request, frame: &[u8], out: &mut BytesMut) -> Result<bool, ScanError> {
        if request.form != Form::Inline {
            return Ok(false);
        }
        inline::expand(frame, out)?;
        Ok(true)
    }

    fn write_scan_error(error: &ScanError, out: &mut BytesMut) {
        error::write_scan_error(*error, out);
    }

    fn plan(
        request: &Request,
        frame: &[u8],
        client: &mut Client,
        settings: &Settings,
        keys: &mut Vec<KeySpan>,
        out: &mut BytesMut,
    ) -> Plan<Self> {
        plan::plan(request, frame, client, settings, keys, out)
    }

    /// Nothing: what would have a server send no reply (`CLIENT REPLY`) is not forwarded.
    #[inline]
    fn left_out(_request: &Request) -> Span {
        Span::default()
    }

    fn scan_reply(
        scanner: &mut ReplyScanner,
        bytes: &[u8],
        _expect: (),
    ) -> Result<Passed, BadReply> {
        scanner.scan(bytes)
    }

    fn turns_away(bytes: &[u8]) -> bool {
        bytes.starts_with(b"-ERR max number of clients reached")
    }

    fn begin_fragment(split: Split, _frame: &[u8], part: Part, out: &mut BytesMut) {
        merge::begin_fragment(split, part, out);
    }

    fn end_fragment(_split: Split, _out: &mut BytesMut) {}

    fn joint(split: Split, frame: &[u8], _keys: &[KeySpan], settings: &Settings) -> Joint {
        let mut joint = merge::joint(split, frame, settings);
        match split.kind {
            SplitKind::Info(_) => joint.own = local::info::text(Args::new(frame), settings).into(),
            SplitKind::Parameters(resp) => {
                joint.own = local::own_parameters(Args::new(frame), resp, settings);
            }
            _ => {}
        }
        joint
    }

    fn is_lack(reply: &[u8]) -> bool {
        scripts::is_unknown(reply)
    }

    fn write_retold(settings: &Settings, frame: &[u8], out: &mut BytesMut) -> bool {
        scripts::write_eval(&settings.hall.scripts, frame, out)
    }

    fn has_lack(reply: &[u8]) -> bool {
        scripts::tells_unknown(reply)
    }

    fn oblivion(settings: &Settings) -> u64 {
        settings.hall.scripts.flushes()
    }

    fn lacked(frame: &[u8]) -> &[u8] {
        Args::new(frame).nth(1).unwrap_or_default()
    }

    fn write_lesson(settings: &Settings, name: &[u8], out: &mut BytesMut) -> bool {
        scripts::write_load(&settings.hall.scripts, name, out)
    }

    fn always_gathers(split: Split) -> bool {
        let kind = split.kind;
        kind.counts_clients()
            || matches!(
                kind,
                SplitKind::Info(_) | SplitKind::Parameters(_) | SplitKind::All(Join::Script)
            )
    }

    fn overtakes(split: Split) -> bool {
        matches!(split.kind, SplitKind::All(Join::Kill | Join::Activity))
    }

    /// In database 0: a server that is busy refuses SELECT.
    fn lane_beside(settings: &Settings, lane: Lane) -> Lane {
        profile::of(profile::resp(lane), 0, settings)
    }

    fn gather(
        joint: &Joint,
        owners: &[u16],
        replies: Vec<Result<Bytes, Fault>>,
        out: &mut WriteBuf,
    ) -> Result<(), Fault> {
        match joint.split.kind {
            SplitKind::Info(resp) => {
                return merge::info_keyspace::join(joint, resp, replies, out);
            }
            SplitKind::Parameters(resp) => {
                return local::parameters::join(joint, resp, replies, out);
            }
            _ => {}
        }
        merge::gather(joint, owners, replies, out)
    }

    /// AUTH, then HELLO, then SELECT. In any other order Redis refuses what comes before the password, and data could
    /// land in database 0. The password goes by AUTH in every lane, so that a server takes or refuses it in all alike.
    fn write_greeting(settings: &Settings, lane: Lane, out: &mut BytesMut) -> usize {
        let (resp, db) = profile::meaning(lane, settings);
        let digits = db.to_string();
        let steps: [Option<(&[u8], &[u8])>; 3] = [
            settings
                .auth
                .as_deref()
                .map(|password| (&b"AUTH"[..], password)),
            (resp == Resp::Three).then_some((b"HELLO", b"3")),
            (db > 0).then_some((b"SELECT", digits.as_bytes())),
        ];
        let mut owed = 0;
        for (name, argument) in steps.into_iter().flatten() {
            out.put_slice(b"*2\r\n");
            for word in [name, argument] {
                merge::write_number(b'$', word.len(), out);
                out.put_slice(word);
                out.put_slice(b"\r\n");
            }
            owed += 1;
        }
        owed
    }

    fn greeted(reply: &[u8]) -> Greeted {
        match reply.first() {
            // A map answers HELLO: proof that the server has changed over.
            Some(b'+' | b'%') => Greeted::Accepted,
            _ => Greeted::Refused,
        }
    }

    fn write_fault(fault: Fault, _expect: (), out: &mut BytesMut) {
        error::write_fault(fault, out);
    }

    fn write_lost(server: &str, fault: Fault, _expect: (), out: &mut BytesMut) {
        let text = format!("the connection to server '{server}' was lost: {fault}");
        error::write_error(&text, out);
    }

    fn write_apart(settings: &Settings, keys: [&[u8]; 2], out: &mut BytesMut) {
        error::write_apart(keys, settings.hash_tag, out);
    }

    fn queue_requests(client: &mut Client, queues: bool) {
        client.set_queueing(queues);
    }

    fn write_phrase(phrase: Phrase, out: &mut BytesMut) {
        transactions::write_phrase(phrase, out);
    }

    fn note_blocked(client: &Client, places: Vec<(u16, Identity)>) {
        client.note_blocked(places);
    }

    fn tried(reply: &[u8]) -> Tried<'_> {
        transactions::tried(reply)
    }

    fn is_now(request: &[u8]) -> bool {
        blocking::is_now(request)
    }

    fn explain(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool {
        transactions::explain(cause, reply, out)
    }

    fn write_unblock(identity: &[u8], how: Unblocked, out: &mut BytesMut) -> bool {
        blocking::write_unblock(identity, how, out)
    }

    fn is_early(settings: &Settings, original: &[u8], part: &[u8], reply: &[u8]) -> bool {
        reply == b":0\r\n" && local::clients::waits_still(original, part, settings)
    }

    fn is_abort(reply: &[u8]) -> bool {
        transactions::is_abort(reply)
    }

    fn is_refusal(reply: &[u8]) -> bool {
        reply.first() == Some(&b'-')
    }

    /// A server may be too old for the first, or its user may not publish; the second it counts as a change of its data.
    /// Only that goes to its log on disk.
    fn marks(split: Split) -> &'static [Phrase] {
        match split.kind {
            SplitKind::All(Join::Least) => &[Phrase::Mark, Phrase::DurableMark],
            _ => &[Phrase::DurableMark],
        }
    }

    fn give_back(request: &[u8], reply: &[u8], out: &mut BytesMut) -> bool {
        blocking::give_back(request, reply, out)
    }

    fn write_full(out: &mut BytesMut) {
        out.put_slice(b"-ERR max number of clients reached\r\n");
    }

    fn home<'n>(settings: &Settings, topic: Topic, name: &'n [u8]) -> Home<'n> {
        if settings.hall.publishing.everywhere {
            Home::Everywhere
        } else {
            pubsub::home(topic, name)
        }
    }

    fn note_subscriptions(client: &mut Client, tally: Tally) {
        client.set_subscriptions(tally);
    }

    fn note_tally(settings: &Settings, client: u64, tally: Tally) {
        settings.hall.register.with_subscriptions(client, tally);
    }

    fn client_number(client: &Client) -> u64 {
        client.id()
    }

    fn note_crowd(settings: &Settings, topic: Topic, name: &[u8], more: bool) {
        settings.hall.publishing.census.note(topic, name, more);
    }
}

impl Broadcast for Redis {
    fn write_subscription(topic: Topic, name: &[u8], on: bool, out: &mut BytesMut) {
        pubsub::write_subscription(topic, name, on, out);
    }

    fn write_heartbeat(out: &mut BytesMut) {
        pubsub::write_heartbeat(out);
    }

    fn scan_news(bytes: &[u8]) -> Result<Scan<News>, BadReply> {
        pubsub::scan(bytes)
    }

    fn herald(lane: Lane) -> u8 {
        pubsub::herald(profile::resp(lane))
    }

    fn write_confirmation(
        lane: Lane,
        change: Change,
        name: Option<&[u8]>,
        tally: Tally,
        out: &mut BytesMut,
    ) {
        pubsub::write_confirmation(profile::resp(lane), change, name, tally, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_says_password_version_and_database_in_this_order() {
        let auth = "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n";
        let hello = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
        let select = "*2\r\n$6\r\nSELECT\r\n$2\r\n15\r\n";
        for (password, start, resp, db, expected) in [
            (None, 0, Resp::Two, 0, vec![]),
            (None, 0, Resp::Three, 0, vec![hello]),
            (None, 0, Resp::Two, 15, vec![select]),
            (Some("secret"), 15, Resp::Two, 15, vec![auth, select]),
            (
                Some("secret"),
                15,
                Resp::Three,
                15,
                vec![auth, hello, select],
            ),
            (Some("secret"), 15, Resp::Three, 0, vec![auth, hello]),
        ] {
            let settings = Settings {
                auth: password.map(|text: &str| text.as_bytes().to_vec()),
                db: start,
                ..Settings::new("alpha")
            };
            let mut out = BytesMut::new();
            let lane = profile::of(resp, db, &settings);
            let owed = Redis::write_greeting(&settings, lane, &mut out);
            assert_eq!(owed, expected.len());
            assert_eq!(out, expected.concat().as_bytes());
        }
    }

    #[test]
    fn a_server_at_its_limit_turns_away() {
        assert!(Redis::turns_away(b"-ERR max number of clients reached\r\n"));
        assert!(!Redis::turns_away(b"-ERR max number\r\n"));
        assert!(!Redis::turns_away(b"+PONG\r\n"));
    }

    #[test]
    fn what_is_no_word_of_consent_is_a_refusal() {
        for (reply, expected) in [
            ("+OK\r\n", Greeted::Accepted),
            ("%7\r\n", Greeted::Accepted),
            ("-ERR unknown command\r\n", Greeted::Refused),
            ("*14\r\n", Greeted::Refused),
        ] {
            assert_eq!(Redis::greeted(reply.as_bytes()), expected, "{reply}");
        }
    }
}
