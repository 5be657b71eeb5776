//! The properties that the fuzz targets check for any input, one function per target; `tests/it/fuzz_seeds.rs` runs the
//! seeds.
//!
//! A violation is a panic: that is what libFuzzer and the test harness detect.

mod memcached;
mod tls_files;

use bytes::{Bytes, BytesMut};
use ringroad::buf::WriteBuf;
use ringroad::config::Config;
use ringroad::net::{Progress, parse_proxy_header};
use ringroad::protocol::redis::acl::user::User;
use ringroad::protocol::redis::command::MergeKind;
use ringroad::protocol::redis::{
    Args, ErrorAuthor, Form, MergeSpec, Redis, ReplyScanner, Request, RequestScanner, Settings,
};
use ringroad::protocol::{ClientState as _, ErrorReplies as _, Merge as _};
use ringroad::protocol::{
    ConnInfo, KeySpan, Limits, Part, Passed, Plan, Protocol, ReplyKind, Route, Scan, Span, TxOp,
};

pub use memcached::{
    gather as memcached_gather, reply as memcached_reply, request as memcached_request,
};
pub use tls_files::tls_files;

/// Small, so that inputs reach them.
const LIMITS: Limits = Limits {
    argument_bytes: 4096,
    request_bytes: 16384,
    arguments: 64,
    before_auth: false,
};

/// Rules of a user with spaces between them: what they make is shown as rules that make the same.
pub fn acl(bytes: &[u8]) {
    let rules: Vec<&[u8]> = bytes.split(|byte| *byte == b' ').collect();
    let Ok(user) = User::with_rules(b"u", &rules) else {
        return;
    };
    let line = user.line();
    let shown: Vec<&[u8]> = line.split(|byte| *byte == b' ').skip(2).collect();
    let again = User::with_rules(b"u", &shown).map(|user| user.line());
    assert_eq!(again.as_ref(), Ok(&line), "{}", line.escape_ascii());
}

/// The first byte selects how the rest, sent by a client, is split.
pub fn request(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = requests(bytes, bytes.len().max(1));
    assert_eq!(whole, requests(bytes, 1), "byte by byte");
    assert_eq!(whole, requests(bytes, usize::from(cut) + 1), "in pieces");
}

/// A scanned request: its length, form, number of arguments and key.
type Found = (usize, Form, usize, Option<Span>);

/// Every request at the start of `bytes`, and the final state, when each scan has `piece` more bytes.
fn requests(bytes: &[u8], piece: usize) -> (Vec<Found>, String) {
    let mut found = Vec::new();
    let mut scanner = RequestScanner::default();
    let (mut start, mut there) = (0, 0);
    loop {
        let seen = &bytes[start..there];
        match Redis::scan_request(&mut scanner, seen, &LIMITS) {
            Ok(Scan::Complete {
                found: request,
                len,
            }) => {
                assert!(
                    len > 0 && len <= seen.len(),
                    "{len} of {} bytes",
                    seen.len()
                );
                check_request(&request, &seen[..len]);
                found.push((len, request.form, request.argc, request.key));
                start += len;
            }
            Ok(Scan::Partial { want }) => {
                assert!(want > seen.len(), "wants {want}, has {}", seen.len());
                if there == bytes.len() {
                    return (found, "more is to come".to_owned());
                }
                there = (there + piece).min(bytes.len());
            }
            Err(error) => {
                let mut reply = BytesMut::new();
                Redis::write_scan_error(&error, &mut reply);
                check_one_reply(&reply);
                return (found, format!("{error:?}"));
            }
        }
    }
}

/// The spans of a scanned request are within its frame, and so are those of its plan.
fn check_request(request: &Request, frame: &[u8]) {
    if request.form == Form::Array {
        assert!(request.argc > 0);
        // A request is forwarded verbatim, over a shared connection: a server closes it over any number in another
        // form.
        let mut canonical = format!("*{}\r\n", request.argc).into_bytes();
        for arg in Args::new(frame) {
            canonical.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            canonical.extend_from_slice(arg);
            canonical.extend_from_slice(b"\r\n");
        }
        assert_eq!(
            frame.escape_ascii().to_string(),
            canonical.escape_ascii().to_string()
        );
        assert_eq!(Args::new(frame).count(), request.argc, "arguments");
        assert_eq!(
            Args::new(frame).next(),
            Some(request.name.of(frame)),
            "name"
        );
        if let Some(key) = request.key {
            let is_argument = Args::new(frame).any(|arg| arg.as_ptr() == key.of(frame).as_ptr());
            assert!(is_argument, "the key is no argument");
        }
    }
    if request.form == Form::Inline {
        // Planned in its canonical form.
        return;
    }
    let settings = settings();
    let mut client = Redis::client(&settings, ConnInfo::default());
    let (mut keys, mut reply) = (Vec::<KeySpan>::new(), BytesMut::new());
    match Redis::plan(
        request,
        frame,
        &mut client,
        &settings,
        &mut keys,
        &mut reply,
    ) {
        Plan::Ignore => assert_eq!(request.form, Form::Empty),
        Plan::Reply
        | Plan::Error(_)
        | Plan::ReplyAndClose
        | Plan::Monitor
        | Plan::Transaction(TxOp::Multi | TxOp::Discard) => check_one_reply(&reply),
        Plan::ReplyPart(part) => check_one_reply(part.of(frame)),
        Plan::PubSub(_, _) => {
            if !keys.is_empty() {
                check_keys(&keys, frame);
            }
        }
        Plan::Forward(Route::Key(key), _) | Plan::Publish(_, key, _, _) => {
            assert!(key.start <= key.end && key.end <= frame.len(), "{key:?}");
        }
        Plan::Forward(Route::Placeholder, _)
        | Plan::Transaction(TxOp::Exec(_))
        | Plan::AllServers(..)
        | Plan::Survey(_)
        | Plan::ScriptFlush(..)
        | Plan::WaitReplicas(..) => assert!(reply.is_empty()),
        Plan::Forward(Route::Decoded, _) | Plan::ForwardInstead { .. } | Plan::Deferred(_) => {
            panic!("nothing of this protocol is planned so")
        }
        Plan::Rewrite(..) => check_one_request(&reply),
        Plan::ForwardSameServer(_) | Plan::ForwardScript(..) | Plan::Blocking(_)
            if keys.is_empty() => {}
        Plan::ForwardSameServer(_)
        | Plan::ForwardScript(..)
        | Plan::Transaction(TxOp::Watch(_))
        | Plan::Blocking(_) => check_keys(&keys, frame),
        Plan::MultiShard(split, _) => {
            check_keys(&keys, frame);
            let mut fragment = BytesMut::new();
            let part = Part {
                keys: keys.len(),
                has_first: true,
            };
            Redis::begin_fragment(split, frame, part, &mut fragment);
            for key in &keys {
                fragment.extend_from_slice(key.unit.of(frame));
            }
            Redis::end_fragment(split, &mut fragment);
            check_one_request(&fragment);
        }
    }
}

/// Keys come in the order of the request, each within its unit, no unit over another.
fn check_keys(keys: &[KeySpan], frame: &[u8]) {
    assert!(!keys.is_empty(), "a request of no key");
    let mut end = 0;
    for KeySpan { key, unit } in keys {
        assert!(
            end <= unit.start && unit.start < key.start,
            "{unit:?} after {end}"
        );
        assert!(
            key.start <= key.end && key.end + 2 <= unit.end,
            "{key:?} in {unit:?}"
        );
        end = unit.end;
    }
    assert!(end <= frame.len(), "a key ends at {end} of {}", frame.len());
}

/// The first byte selects how the rest, sent by a server, is split.
pub fn reply(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = replies(bytes, bytes.len().max(1));
    assert_eq!(whole, replies(bytes, 1), "byte by byte");
    assert_eq!(whole, replies(bytes, usize::from(cut) + 1), "in pieces");
}

/// Every reply at the start of `bytes`, and true if garbage follows. The scanner never sees passed bytes again.
fn replies(bytes: &[u8], piece: usize) -> (Vec<(usize, ReplyKind)>, bool) {
    let mut found = Vec::new();
    let mut scanner = ReplyScanner::default();
    let (mut start, mut passed, mut there) = (0, 0, 0);
    loop {
        let seen = &bytes[passed..there];
        match scanner.scan(seen, ErrorAuthor::Server) {
            Ok(Passed::Whole { len, kind, .. }) => {
                assert!(len <= seen.len(), "{len} of {} bytes", seen.len());
                passed += len;
                assert!(passed > start, "a reply of no byte");
                found.push((passed - start, kind));
                start = passed;
            }
            Ok(Passed::Part { len }) => {
                assert!(len <= seen.len(), "{len} of {} bytes", seen.len());
                passed += len;
                if there == bytes.len() {
                    return (found, false);
                }
                there = (there + piece).min(bytes.len());
            }
            Err(_) => return (found, true),
        }
    }
}

/// A line that a person might type.
pub fn inline(bytes: &[u8]) {
    let mut line = bytes.to_vec();
    line.retain(|byte| *byte != b'\n');
    line.extend_from_slice(b"\r\n");
    if line.starts_with(b"*") {
        return;
    }
    let scanned = Redis::scan_request(&mut RequestScanner::default(), &line, &Limits::default());
    let Ok(Scan::Complete { found, len }) = scanned else {
        assert!(line.len() > 64 << 10, "a whole line is a whole request");
        return;
    };
    assert_eq!(len, line.len());
    let mut expanded = BytesMut::new();
    match Redis::canonicalize(&found, &line, &mut expanded) {
        Ok(true) => {
            check_one_request(&expanded);
            let quotes = [b'"', b'\''];
            if !line.iter().any(|byte| quotes.contains(byte)) {
                let words = line
                    .split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty());
                assert!(Args::new(&expanded).eq(words), "the words of the line");
            }
        }
        Ok(false) => assert_eq!(found.form, Form::Empty),
        Err(error) => {
            let mut reply = BytesMut::new();
            Redis::write_scan_error(&error, &mut reply);
            check_one_reply(&reply);
        }
    }
}

/// The first byte selects how the replies are merged and the number of keys, the next ones which fragment each key
/// belongs to; the replies to the fragments follow, each behind its length.
pub fn gather(bytes: &[u8]) {
    const FRAGMENTS: u8 = 4;
    let Some((&first, rest)) = bytes.split_first() else {
        return;
    };
    let kind = match first % 3 {
        0 => MergeKind::Values,
        1 => MergeKind::Ok,
        _ => MergeKind::Sum,
    };
    let keys = usize::from(first / 3).min(rest.len());
    let (owners, mut rest) = rest.split_at(keys);
    let owners: Vec<u16> = owners
        .iter()
        .map(|owner| u16::from(owner % FRAGMENTS))
        .collect();
    let mut replies = Vec::new();
    while replies.len() < usize::from(FRAGMENTS) {
        let len = rest
            .first()
            .map_or(0, |len| usize::from(*len).min(rest.len() - 1));
        let (reply, after) = rest.get(1..).unwrap_or_default().split_at(len);
        // Only complete replies are merged.
        let whole = ReplyScanner::default().scan(reply, ErrorAuthor::Server);
        if !matches!(whole, Ok(Passed::Whole { len: end, .. }) if end == len) {
            return;
        }
        replies.push(Ok(Bytes::copy_from_slice(reply)));
        rest = after;
    }
    let mut joined = WriteBuf::new();
    let split = MergeSpec { name: "any", kind };
    let outcome = Redis::merge(&split.into(), &owners, replies.clone(), &mut joined);
    if outcome.is_err() {
        assert!(joined.is_empty(), "half a joined reply");
        return;
    }
    assert!(!joined.is_empty());
    let joined = joined.tail().split().freeze();
    check_one_reply(&joined);
    if kind == MergeKind::Values {
        assert!(joined.starts_with(format!("*{}\r\n", owners.len()).as_bytes()));
        // Nothing is added or lost: all elements of all replies, and one header instead of theirs.
        let header = |reply: &[u8]| {
            reply
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1)
        };
        let elements = |reply: &[u8]| reply.len() - header(reply);
        let parts: usize = replies.iter().flatten().map(|reply| elements(reply)).sum();
        assert_eq!(elements(&joined), parts);
    }
}

/// A configuration file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(text, "F") {
        Ok(config) => {
            assert!(!config.pools.is_empty(), "no pool and no problem");
            for pool in &config.pools {
                assert!(!pool.servers.is_empty(), "{}: no server", pool.name);
                assert!(pool.server_connections > 0, "{}: no connection", pool.name);
                assert!(pool.servers.iter().all(|server| server.weight > 0));
            }
        }
        Err(problems) => {
            let lines = text.split(['\r', '\n']).count();
            assert!(problems.iter().count() > 0, "refused without a problem");
            for problem in problems.iter() {
                let line = problem.at.map(|at| at.line);
                assert!(
                    line.is_some_and(|line| (1..=lines + 1).contains(&line)),
                    "{problem:?}"
                );
            }
            assert!(!problems.to_string().is_empty());
        }
    }
}

fn check_one_request(frame: &[u8]) {
    let scanned = Redis::scan_request(&mut RequestScanner::default(), frame, &Limits::default());
    let is_whole = matches!(&scanned, Ok(Scan::Complete { len, .. }) if *len == frame.len());
    assert!(is_whole, "{scanned:?}: {}", frame.escape_ascii());
}

fn check_one_reply(reply: &[u8]) {
    let scanned = ReplyScanner::default().scan(reply, ErrorAuthor::Server);
    let is_whole = matches!(&scanned, Ok(Passed::Whole { len, .. }) if *len == reply.len());
    assert!(is_whole, "{scanned:?}: {}", reply.escape_ascii());
}

fn settings() -> Settings {
    Settings::new("fuzz")
}

/// The header of the PROXY protocol, and what follows it.
pub fn proxy_header(bytes: &[u8]) {
    let whole = parse_proxy_header(bytes);
    for end in 0..bytes.len() {
        match (parse_proxy_header(&bytes[..end]), &whole) {
            // What is needed is never behind the header.
            (Ok(Progress::Needs(more)), Ok(Progress::Complete { len, .. })) => {
                assert!(more > 0 && end + more <= *len, "{end} + {more} of {len}");
            }
            (Ok(Progress::Needs(more)), _) => assert!(more > 0),
            (Ok(found), whole) => assert!(whole.as_ref().is_ok_and(|whole| *whole == found)),
            (Err(_), whole) => assert!(whole.is_err()),
        }
    }
    if let Ok(Progress::Complete { len, .. }) = whole {
        assert!(len <= bytes.len() && len <= 16 + 4096, "{len}");
    }
}
