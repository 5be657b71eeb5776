//! The properties of the memcached protocol.

use ringroad::protocol::{ErrorReplies as _, Merge as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ringroad::buf::WriteBuf;
use ringroad::protocol::memcached::command::Meta;
use ringroad::protocol::memcached::{
    Answer, Expect, Form, Memcached, MergeContext, Noreply, ReplyScanner, Request, RequestScanner,
    Settings,
};
use ringroad::protocol::{KeySpan, Part, Passed, Plan, Protocol, ReplyKind, Route, Scan};

use super::LIMITS;

/// The first byte selects how the rest, sent by a client, is split.
pub fn request(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = requests(bytes, bytes.len().max(1));
    assert_eq!(whole, requests(bytes, 1), "byte by byte");
    assert_eq!(whole, requests(bytes, usize::from(cut) + 1), "in pieces");
}

/// Every request at the start of `bytes`, and the final state, when each scan has `piece` more bytes.
fn requests(bytes: &[u8], piece: usize) -> (Vec<(Request, usize)>, String) {
    let mut found: Vec<(Request, usize)> = Vec::new();
    let mut scanner = RequestScanner::default();
    let (mut start, mut there) = (0, 0);
    loop {
        let seen = &bytes[start..there];
        match Memcached::scan_request(&mut scanner, seen, &LIMITS) {
            Ok(Scan::Complete {
                found: request,
                len,
            }) => {
                assert!(len > 0 && len <= seen.len(), "{len} of {}", seen.len());
                check_request(&request, &seen[..len]);
                start += len;
                // Skipped bytes are cut at any point.
                match found.last_mut() {
                    Some((last, sum))
                        if (last.form, request.form) == (Form::Skipped, Form::Skipped) =>
                    {
                        *sum += len;
                    }
                    _ => found.push((request, len)),
                }
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
                Memcached::write_scan_error(&error, &mut reply);
                check_error(&reply);
                return (found, format!("{error:?}"));
            }
        }
    }
}

/// The spans of a scanned request are within its frame, and so are those of its plan.
fn check_request(request: &Request, frame: &[u8]) {
    let mut canonical = BytesMut::new();
    if let Ok(true) = Memcached::canonicalize(request, frame, &mut canonical) {
        let scanned = RequestScanner::default().scan(&canonical, &LIMITS);
        let Ok(Scan::Complete { found, len }) = scanned else {
            panic!("{scanned:?}: {}", canonical.escape_ascii());
        };
        assert_eq!((found.form, len), (Form::Plain, canonical.len()));
        return check_request(&found, &canonical);
    }
    let settings = settings();
    let (mut keys, mut out) = (Vec::<KeySpan>::new(), BytesMut::new());
    match Memcached::plan(request, frame, &mut (), &settings, &mut keys, &mut out) {
        Plan::Ignore => assert_eq!(request.form, Form::Skipped),
        Plan::Error(_) if request.noreply == Noreply::All => assert!(out.is_empty()),
        Plan::Error(_) => check_error(&out),
        Plan::Reply => assert!(out.ends_with(b"\r\n")),
        Plan::ReplyAndClose => assert!(out.is_empty()),
        Plan::Forward(route, expect) => {
            match route {
                Route::Key(key) => assert!((1..=250).contains(&key.of(frame).len()), "{key:?}"),
                Route::Decoded => {
                    assert!((1..=187).contains(&out.len()));
                    // A server may write it into its reply as it is.
                    assert!(!request.shows_key || !out.contains(&b'\n'));
                }
                Route::Placeholder => panic!("a key is missing"),
            }
            check_sent(request, frame, expect);
        }
        Plan::ForwardInstead {
            request: sent,
            key,
            expect,
        } => {
            assert_eq!(expect.noreply, Noreply::ByServer);
            assert!((1..=250).contains(&key.of(&out).len()), "{key:?}");
            let rest = sent.of(&out).strip_prefix(frame);
            assert_eq!(rest, Some(&b"mn\r\n"[..]), "{}", out.escape_ascii());
        }
        Plan::Monitor
        | Plan::ReplyPart(_)
        | Plan::Deferred(_)
        | Plan::ForwardSameServer(_)
        | Plan::ForwardScript(..)
        | Plan::ScriptFlush(..)
        | Plan::Rewrite(..)
        | Plan::Publish(..)
        | Plan::Survey(_)
        | Plan::PubSub(..)
        | Plan::Transaction(_)
        | Plan::Blocking(_)
        | Plan::WaitReplicas(..) => {
            panic!("nothing of this protocol is planned so")
        }
        Plan::AllServers(_, expect) => check_sent(request, frame, expect),
        Plan::MultiShard(split, expect) => {
            check_sent(request, frame, expect);
            let mut fragment = BytesMut::new();
            let part = Part {
                keys: keys.len(),
                has_first: true,
            };
            Memcached::begin_fragment(split, frame, part, &mut fragment);
            for key in &keys {
                fragment.extend_from_slice(key.unit.of(frame));
            }
            Memcached::end_fragment(split, &mut fragment);
            // A fragment of all the keys is the request itself.
            assert_eq!(fragment, frame);
        }
    }
}

/// A server receives one request that has a reply.
fn check_sent(request: &Request, frame: &[u8], expect: Expect) {
    let left_out = Memcached::stripped(request);
    assert_eq!(left_out.is_empty(), expect.noreply == Noreply::None);
    let sent = [&frame[..left_out.start], &frame[left_out.end..]].concat();
    let scanned = RequestScanner::default().scan(&sent, &LIMITS);
    let Ok(Scan::Complete { found, len }) = scanned else {
        panic!("{scanned:?}: {}", sent.escape_ascii());
    };
    assert_eq!(
        (found.form, found.noreply, len),
        (Form::Plain, Noreply::None, sent.len())
    );
    assert_eq!(found.key.of(&sent), request.key.of(frame));
}

fn check_error(reply: &[u8]) {
    let text = reply.strip_suffix(b"\r\n").unwrap_or_default();
    let is_error = [&b"ERROR"[..], b"CLIENT_ERROR ", b"SERVER_ERROR "]
        .iter()
        .any(|word| text.starts_with(word));
    assert!(
        is_error && !text.contains(&b'\n'),
        "{}",
        reply.escape_ascii()
    );
}

/// The first byte selects how the rest, sent by a server, is split; the second, what the request expects.
pub fn reply(bytes: &[u8]) {
    let [cut, asked, bytes @ ..] = bytes else {
        return;
    };
    let expect = expect(*asked);
    let whole = replies(bytes, bytes.len().max(1), expect);
    assert_eq!(whole, replies(bytes, 1, expect), "byte by byte");
    let pieces = replies(bytes, usize::from(*cut) + 1, expect);
    assert_eq!(whole, pieces, "in pieces");
}

fn expect(asked: u8) -> Expect {
    let answers = [
        Answer::Values,
        Answer::Stored,
        Answer::Deleted,
        Answer::Touched,
        Answer::Number,
        Answer::Version,
        Answer::Ok,
        Answer::Memlimit,
        Answer::Meta(Meta::Get),
        Answer::Meta(Meta::Set),
        Answer::Meta(Meta::Delete),
        Answer::Meta(Meta::Arithmetic),
        Answer::Meta(Meta::Debug),
    ];
    let noreplies = [
        Noreply::None,
        Noreply::Quiet,
        Noreply::ByServer,
        Noreply::All,
    ];
    let asked = usize::from(asked);
    let answer = answers[asked % answers.len()];
    Expect {
        answer,
        noreply: match answer {
            // `get` and its like have no `noreply`: the word is a key.
            Answer::Values => Noreply::None,
            _ => noreplies[asked / answers.len() % noreplies.len()],
        },
    }
}

/// Every reply at the start of `bytes`, and true if garbage follows. The scanner never sees passed bytes again.
fn replies(bytes: &[u8], piece: usize, expect: Expect) -> (Vec<(usize, ReplyKind, u32)>, bool) {
    let mut found = Vec::new();
    let mut scanner = ReplyScanner::default();
    let (mut start, mut passed, mut there) = (0, 0, 0);
    loop {
        let seen = &bytes[passed..there];
        match scanner.scan(seen, expect) {
            Ok(Passed::Whole {
                len,
                kind,
                hidden_bytes,
            }) => {
                assert!(len <= seen.len(), "{len} of {}", seen.len());
                assert!(
                    hidden_bytes as usize <= len,
                    "a part of a hidden reply was handed on"
                );
                passed += len;
                assert!(passed > start, "a reply of no byte");
                found.push((passed - start, kind, hidden_bytes));
                start = passed;
            }
            Ok(Passed::Part { len }) => {
                assert!(len <= seen.len(), "{len} of {}", seen.len());
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

/// The first byte is the number of keys, the next ones which fragment each belongs to; the replies to the fragments
/// follow, each behind its length. The keys are `a`, `b` and so on, five in all, over and over.
pub fn gather(bytes: &[u8]) {
    const FRAGMENTS: u8 = 4;
    let Some((&count, rest)) = bytes.split_first() else {
        return;
    };
    let Some((owners, mut rest)) = rest.split_at_checked(usize::from(count % 32)) else {
        return;
    };
    let owners: Vec<u16> = owners
        .iter()
        .map(|owner| u16::from(owner % FRAGMENTS))
        .collect();
    let asked = Expect {
        answer: Answer::Values,
        noreply: Noreply::None,
    };
    let mut replies = Vec::new();
    for _ in 0..FRAGMENTS {
        let Some(([high, low], after)) = rest.split_first_chunk() else {
            return;
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((reply, after)) = after.split_at_checked(len) else {
            return;
        };
        // Others do not get this far.
        let scanned = ReplyScanner::default().scan(reply, asked);
        if !matches!(scanned, Ok(Passed::Whole { len: end, .. }) if end == len) {
            return;
        }
        replies.push(Bytes::copy_from_slice(reply));
        rest = after;
    }
    let names: Vec<u8> = (0..owners.len()).map(|at| b"abcde"[at % 5]).collect();
    let joint = MergeContext::Keys {
        ends: (1..=names.len()).collect(),
        names: names.into(),
    };
    let mut joined = WriteBuf::new();
    let parts = replies.iter().cloned().map(Ok).collect();
    let outcome = Memcached::merge(&joint, &owners, parts, &mut joined);
    if outcome.is_err() {
        assert!(joined.is_empty(), "half a joined reply");
        return;
    }
    let joined = joined.tail().split().freeze();
    let scanned = ReplyScanner::default().scan(&joined, asked);
    let Ok(Passed::Whole { len, kind, .. }) = scanned else {
        panic!("{scanned:?}: {}", joined.escape_ascii());
    };
    assert_eq!(len, joined.len());
    if kind == ReplyKind::Value {
        // Nothing is added or lost: all blocks of all replies, and one end instead of theirs.
        let blocks: usize = replies
            .iter()
            .map(|reply| reply.len() - b"END\r\n".len())
            .sum();
        assert_eq!(joined.len(), blocks + b"END\r\n".len());
    }
}

fn settings() -> Settings {
    Settings {
        slow_log: Arc::default(),
        slow_from: Duration::MAX,
        pool: "fuzz".to_owned(),
        started: Instant::now(),
        stats: std::rc::Rc::default(),
    }
}
