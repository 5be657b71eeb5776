//! The protocol of a subscriber connection. It uses RESP2, which every server supports; for a RESP3 client only the
//! first byte of a message differs.

use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::{
    write_bulk, write_header, write_integer, write_null, write_request,
};
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::number::Number;
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{
    BadReply, ChannelKind, EventCause, KeyEvent, Placement, PubSubMessage, Scan, Span,
    SubscriptionChange, SubscriptionCount,
};
use crate::topology::is_mark;

/// The maximum length of a line.
const LINE_BYTES: usize = 1 << 20;

/// The maximum length of a payload. Redis's own limit is 512 MB unless a server is configured otherwise.
const BULK_BYTES: i64 = 4 << 30;

/// The maximum length of an array: `pmessage`, pattern, channel, payload.
const ELEMENTS: usize = 4;

/// The servers at which messages published under `name` are received.
pub(crate) fn placement<'n>(
    settings: &Settings,
    kind: ChannelKind,
    name: &'n [u8],
) -> Placement<'n> {
    if settings
        .shared
        .pubsub_stats
        .everywhere
        .load(Ordering::Relaxed)
    {
        Placement::Everywhere
    } else {
        placement_by_name(kind, name)
    }
}

/// Servers publish keyspace notifications themselves: the events of a key at the key's server; the keys of an event at
/// every server.
fn placement_by_name(kind: ChannelKind, name: &[u8]) -> Placement<'_> {
    match kind {
        ChannelKind::Pattern => Placement::Everywhere,
        ChannelKind::Shard => Placement::Key(name),
        ChannelKind::Channel => match notification(name) {
            Some((b"keyspace", key)) => Placement::Key(key),
            Some((b"keyevent", _)) => Placement::Everywhere,
            _ => Placement::Key(name),
        },
    }
}

/// Parses `__kind@number__:rest`.
fn notification(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = name.strip_prefix(b"__")?;
    let at = inner.iter().position(|&byte| byte == b'@')?;
    let (kind, rest) = (inner.get(..at)?, inner.get(at + 1..)?);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let key = rest.get(digits..)?.strip_prefix(b"__:")?;
    (digits > 0).then_some((kind, key))
}

/// See [`crate::protocol::Surveys::event`].
pub(crate) fn event(message: &[u8]) -> Option<KeyEvent> {
    let mut args = Args::new(message);
    match args.next()? {
        b"message" => {}
        b"pmessage" => drop(args.next_span()),
        _ => return None,
    }
    let (channel, payload) = (args.next_span()?.key, args.next_span()?.key);
    let name = channel.of(message);
    let (key, event) = match notification(name) {
        Some((b"keyspace", key)) => {
            let (start, end) = (channel.end.checked_sub(key.len())?, channel.end);
            (Span { start, end }, payload.of(message))
        }
        Some((b"keyevent", event)) => (payload, event),
        // The proxies' own: the channel has the name of the mark.
        _ if is_mark(name) => (channel, &[][..]),
        _ => return None,
    };
    let cause = match event {
        b"expired" => EventCause::Expiry,
        other if OF_MOVES.contains(&other) => EventCause::ClientOrMove,
        _ => EventCause::Client,
    };
    Some(KeyEvent { key, cause })
}

/// The events that RESTORE and UNLINK cause, and an eviction.
const OF_MOVES: [&[u8]; 6] = [
    b"restore",
    b"del",
    b"evicted",
    b"new",
    b"overwritten",
    b"type_changed",
];

pub(crate) fn write_subscription(kind: ChannelKind, name: &[u8], on: bool, out: &mut BytesMut) {
    write_request(&[verb(kind, on), name], out);
}

pub(crate) fn write_heartbeat(out: &mut BytesMut) {
    write_request(&[b"PING"], out);
}

pub(crate) fn write_confirmation(
    resp: Resp,
    change: SubscriptionChange,
    name: Option<&[u8]>,
    subscriptions: SubscriptionCount,
    out: &mut BytesMut,
) {
    let (kind, on) = match change {
        SubscriptionChange::Subscribe(kind) => (kind, true),
        SubscriptionChange::Unsubscribe(kind) => (kind, false),
        SubscriptionChange::Leave => return,
    };
    write_header(push_prefix(resp), 3, out);
    write_bulk(verb(kind, on), out);
    match name {
        Some(name) => write_bulk(name, out),
        None => write_null(resp, out),
    }
    // Redis counts shard channels separately, and the other two together.
    let count = match kind {
        ChannelKind::Shard => subscriptions.shards,
        ChannelKind::Channel | ChannelKind::Pattern => subscriptions
            .channels
            .saturating_add(subscriptions.patterns),
    };
    write_integer(count, out);
}

/// An array in RESP2, a push in RESP3.
pub(crate) const fn push_prefix(resp: Resp) -> u8 {
    match resp {
        Resp::Two => b'*',
        Resp::Three => b'>',
    }
}

const fn verb(kind: ChannelKind, on: bool) -> &'static [u8] {
    match (kind, on) {
        (ChannelKind::Channel, true) => b"subscribe",
        (ChannelKind::Channel, false) => b"unsubscribe",
        (ChannelKind::Pattern, true) => b"psubscribe",
        (ChannelKind::Pattern, false) => b"punsubscribe",
        (ChannelKind::Shard, true) => b"ssubscribe",
        (ChannelKind::Shard, false) => b"sunsubscribe",
    }
}

/// Finds the end of the server's message at the start of `bytes`. Payloads are skipped, not scanned, so a restart when
/// more has arrived costs a few headers.
pub(crate) fn scan(bytes: &[u8]) -> Result<Scan<PubSubMessage>, BadReply> {
    match bytes.first() {
        None => Ok(Scan::Partial { want: 1 }),
        Some(b'*') => scan_array(bytes),
        Some(b'+') => scan_line(bytes, PubSubMessage::Done),
        Some(b'-') => scan_line(bytes, PubSubMessage::Refused),
        Some(_) => Err(BadReply),
    }
}

fn scan_line(bytes: &[u8], found: PubSubMessage) -> Result<Scan<PubSubMessage>, BadReply> {
    match memchr::memchr(b'\n', bytes) {
        Some(lf) => Ok(Scan::Complete { found, len: lf + 1 }),
        None if bytes.len() > LINE_BYTES => Err(BadReply),
        None => Ok(more(bytes)),
    }
}

fn scan_array(bytes: &[u8]) -> Result<Scan<PubSubMessage>, BadReply> {
    let Some((count, mut at)) = header(bytes, 0)? else {
        return Ok(more(bytes));
    };
    let count = usize::try_from(count).map_err(|_| BadReply)?;
    if count > ELEMENTS {
        return Err(BadReply);
    }
    let mut elements = [Span::default(); ELEMENTS];
    for element in elements.iter_mut().take(count) {
        let Some(&kind) = bytes.get(at) else {
            return Ok(more(bytes));
        };
        let Some((value, start)) = header(bytes, at)? else {
            return Ok(more(bytes));
        };
        at = match (kind, value) {
            (b':', _) | (b'$', -1) => start,
            (b'$', 0..=BULK_BYTES) => {
                let end = usize::try_from(value)
                    .ok()
                    .and_then(|len| start.checked_add(len))
                    .ok_or(BadReply)?;
                *element = Span { start, end };
                match bytes.get(end..end + 2) {
                    Some(b"\r\n") => end + 2,
                    Some(_) => return Err(BadReply),
                    None => return Ok(Scan::Partial { want: end + 2 }),
                }
            }
            _ => return Err(BadReply),
        };
    }
    let [kind, name, ..] = elements;
    let found = match kind.of(bytes) {
        b"message" => PubSubMessage::Message(ChannelKind::Channel, name),
        b"pmessage" => PubSubMessage::Message(ChannelKind::Pattern, name),
        b"smessage" => PubSubMessage::Message(ChannelKind::Shard, name),
        b"pong" => PubSubMessage::Done,
        other if other.ends_with(b"subscribe") => PubSubMessage::Done,
        _ => return Err(BadReply),
    };
    Ok(Scan::Complete { found, len: at })
}

/// The number after the type byte at `at`, and the end of its line.
fn header(bytes: &[u8], at: usize) -> Result<Option<(i64, usize)>, BadReply> {
    match number::read(bytes.get(at + 1..).unwrap_or_default()) {
        Number::Line(value, used) => Ok(Some((value, at + 1 + used))),
        Number::Partial => Ok(None),
        Number::Bad => Err(BadReply),
    }
}

fn more(bytes: &[u8]) -> Scan<PubSubMessage> {
    Scan::Partial {
        want: bytes.len() + 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keyspace_channels_follow_the_key_and_keyevents_all() {
        use Placement::{Everywhere, Key};
        for (name, expected) in [
            ("news", Key(b"news".as_slice())),
            ("__keyspace@0__:user:1", Key(b"user:1")),
            ("__keyspace@15__:", Key(b"")),
            ("__keyevent@0__:set", Everywhere),
            ("__keyspace@__:a", Key(b"__keyspace@__:a")),
            ("__keyspace@0__a", Key(b"__keyspace@0__a")),
            ("__other@0__:a", Key(b"__other@0__:a")),
        ] {
            assert_eq!(
                placement_by_name(ChannelKind::Channel, name.as_bytes()),
                expected,
                "{name}"
            );
        }
        let event = b"__keyevent@0__:set";
        assert_eq!(placement_by_name(ChannelKind::Shard, event), Key(event));
        assert_eq!(placement_by_name(ChannelKind::Pattern, b"n*"), Everywhere);
    }

    #[test]
    fn pubsub_replies_are_classified() {
        let span = |start, end| Span { start, end };
        for (bytes, expected) in [
            (
                "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n",
                PubSubMessage::Message(ChannelKind::Channel, span(21, 25)),
            ),
            (
                "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$0\r\n\r\n",
                PubSubMessage::Message(ChannelKind::Pattern, span(22, 24)),
            ),
            (
                "*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$2\r\n\r\n\r\n",
                PubSubMessage::Message(ChannelKind::Shard, span(22, 23)),
            ),
            (
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
                PubSubMessage::Done,
            ),
            (
                "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n",
                PubSubMessage::Done,
            ),
            ("*2\r\n$4\r\npong\r\n$0\r\n\r\n", PubSubMessage::Done),
            ("+PONG\r\n", PubSubMessage::Done),
            ("-NOPERM no\r\n", PubSubMessage::Refused),
        ] {
            let mut more = bytes.as_bytes().to_vec();
            more.extend_from_slice(b"*3\r\n");
            let len = bytes.len();
            let whole = Scan::Complete {
                found: expected,
                len,
            };
            assert_eq!(scan(&more), Ok(whole), "{bytes:?}");
            for cut in 0..len {
                match scan(&more[..cut]) {
                    Ok(Scan::Partial { want }) => assert!((cut + 1..=len).contains(&want)),
                    other => panic!("{bytes:?} cut at {cut}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn unexpected_pubsub_frame_is_refused() {
        for bytes in [
            ":1\r\n",
            "$1\r\na\r\n",
            ">3\r\n",
            "*5\r\n",
            "*-1\r\n",
            "*1\r\n$3\r\nfoo\r\n",
            "*0\r\n",
            "*1\r\n*1\r\n",
            "*1\r\n$4\r\npongxx",
        ] {
            assert_eq!(scan(bytes.as_bytes()), Err(BadReply), "{bytes:?}");
        }
    }

    #[test]
    fn events_are_told_from_messages_of_clients() {
        use EventCause::{Client, ClientOrMove, Expiry};
        let message = |words: &[&str]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let mut out = BytesMut::new();
            write_request(&words, &mut out);
            out
        };
        for (words, expected) in [
            (
                &["message", "__keyspace@0__:k:1", "set"][..],
                Some(("k:1", Client)),
            ),
            (
                &["message", "__keyevent@3__:expired", "k"],
                Some(("k", Expiry)),
            ),
            (
                &["pmessage", "__key*", "__keyevent@0__:del", "k"],
                Some(("k", ClientOrMove)),
            ),
            (
                &["pmessage", "*", "__keyspace@0__:", "restore"],
                Some(("", ClientOrMove)),
            ),
            (
                &["pmessage", "*", "ringroad:mark:p:0", "x"],
                Some(("ringroad:mark:p:0", Client)),
            ),
            (&["message", "news", "__keyevent@0__:del"], None),
            (&["smessage", "__keyevent@0__:del", "k"], None),
        ] {
            let message = message(words);
            let found = event(&message).map(|event| {
                let key = String::from_utf8(event.key.of(&message).to_vec());
                (key.unwrap(), event.cause)
            });
            let expected = expected.map(|(key, cause)| (key.to_owned(), cause));
            assert_eq!(found, expected, "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn scanner_survives_garbage_and_stays_in_bounds(bytes: Vec<u8>) {
            if let Ok(Scan::Complete { len, .. }) = scan(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
