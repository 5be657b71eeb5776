use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::Merge as _;
use crate::protocol::memcached::Memcached;
use crate::protocol::memcached::RequestScanner;
use crate::protocol::memcached::plan::*;
use crate::protocol::{Limits, Part, Scan};

fn settings() -> Settings {
    Settings {
        slow_log: Arc::default(),
        slow_from: Duration::MAX,
        pool: "alpha".to_owned(),
        started: Instant::now(),
        stats: Rc::default(),
    }
}

/// The plan for one request as text, and the bytes written.
fn planned(frame: &str) -> (String, String) {
    let scanned = RequestScanner::default().scan(frame.as_bytes(), &Limits::default());
    let Ok(Scan::Complete { found, .. }) = scanned else {
        panic!("{frame:?}: {scanned:?}")
    };
    let (mut keys, mut out) = (Vec::new(), BytesMut::new());
    let plan = plan(&found, frame.as_bytes(), &settings(), &mut keys, &mut out);
    let text = match plan {
        Plan::Forward(Route::Key(key), expect) => format!(
            "forward {} {:?}",
            String::from_utf8_lossy(key.of(frame.as_bytes())),
            expect.answer
        ),
        Plan::Forward(route, expect) => format!("forward {route:?} {:?}", expect.answer),
        Plan::AllServers(_, expect) => format!("all servers {:?}", expect.answer),
        Plan::MultiShard(split, _) => {
            let mut fragment = BytesMut::new();
            let part = Part {
                keys: keys.len(),
                has_first: true,
            };
            Memcached::begin_fragment(split, frame.as_bytes(), part, &mut fragment);
            for key in keys.iter().rev() {
                fragment.extend_from_slice(key.unit.of(frame.as_bytes()));
            }
            Memcached::end_fragment(split, &mut fragment);
            format!("split, backwards {fragment:?}")
        }
        Plan::Ignore => "nothing".to_owned(),
        Plan::Reply => "answered".to_owned(),
        Plan::Error(_) => "refused".to_owned(),
        Plan::ReplyAndClose => "answered, then closed".to_owned(),
        Plan::Monitor => panic!("{frame:?} is one of Redis"),
        Plan::ForwardInstead {
            request,
            key,
            expect,
        } => {
            let (key, request) = (key.of(&out), request.of(&out));
            let text = format!(
                "forward {} as {:?} {:?}",
                key.escape_ascii(),
                request.escape_ascii().to_string(),
                expect.answer
            );
            return (text, String::new());
        }
        Plan::ReplyPart(_)
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
            panic!("{frame:?}: {plan:?}")
        }
    };
    (text, String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn every_request_gets_the_right_plan() {
    for (frame, plan, written) in [
        ("get a\r\n", "forward a Values", ""),
        ("gats 1 a\r\n", "forward a Values", ""),
        ("get a b c\r\n", r#"split, backwards b"get c b a\r\n""#, ""),
        (
            "gat -1 a b\r\n",
            r#"split, backwards b"gat -1 b a\r\n""#,
            "",
        ),
        ("set a 0 0 1\r\nx\r\n", "forward a Stored", ""),
        ("cas a 0 0 1 7\r\nx\r\n", "forward a Stored", ""),
        ("incr a 1\r\n", "forward a Number", ""),
        ("delete a 0\r\n", "forward a Deleted", ""),
        ("touch a 0\r\n", "forward a Touched", ""),
        ("mg a v\r\n", "forward a Meta(Get)", ""),
        ("mg Zm9v b v\r\n", "forward Decoded Meta(Get)", "foo"),
        ("ms Zm9v 1 b\r\nx\r\n", "forward Decoded Meta(Set)", "foo"),
        ("me Zm9v b\r\n", "forward Decoded Meta(Debug)", "foo"),
        ("ma Cg== b N0\r\n", "forward Decoded Meta(Arithmetic)", "\n"),
        (
            "ma a N0 q\r\n",
            r#"forward a as "ma a N0 q\\r\\nmn\\r\\n" Meta(Arithmetic)"#,
            "",
        ),
        (
            "ma Zm9v b q N0\r\n",
            r#"forward foo as "ma Zm9v b q N0\\r\\nmn\\r\\n" Meta(Arithmetic)"#,
            "",
        ),
        ("mg Zm9v b k\r\n", "forward Decoded Meta(Get)", "foo"),
        ("version\r\n", "all servers Version", ""),
        ("flush_all 0 noreply\r\n", "all servers Ok", ""),
        ("verbosity 1\r\n", "all servers Ok", ""),
        ("cache_memlimit 64\r\n", "all servers Memlimit", ""),
        ("mn\r\n", "answered", "MN\r\n"),
        ("quit\r\n", "answered, then closed", ""),
    ] {
        assert_eq!(
            planned(frame),
            (plan.to_owned(), written.to_owned()),
            "{frame:?}"
        );
    }
    let (plan, figures) = planned("stats\r\n");
    assert_eq!(plan, "answered");
    assert!(figures.starts_with("STAT pid ") && figures.ends_with("\r\nEND\r\n"));
}

const LINE_FEED: &str =
    "CLIENT_ERROR a key that contains a line feed cannot be returned: omit the flag k\r\n";

#[test]
fn refusal_gives_a_reason_unless_noreply() {
    let long = format!("get {}\r\n", "k".repeat(251));
    for (frame, written) in [
        ("\r\n", "ERROR\r\n"),
        ("GET a\r\n", "ERROR\r\n"),
        ("get\r\n", "ERROR\r\n"),
        (&long, "CLIENT_ERROR key is longer than 250 bytes\r\n"),
        ("shutdown\r\n", "ERROR: shutdown not enabled\r\n"),
        (
            "slabs automove 1\r\n",
            "CLIENT_ERROR unsupported command 'slabs': it administers a single server; connect to that server directly\r\n",
        ),
        ("touch a x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"),
        (
            "set a 0 x 1\r\n",
            "CLIENT_ERROR exptime is not a 32-bit number\r\n",
        ),
        (
            "incr a x\r\n",
            "CLIENT_ERROR invalid numeric delta argument\r\n",
        ),
        ("set a 0 0 1\r\nxy", "CLIENT_ERROR bad data chunk\r\n"),
        (
            "set a 0 0 600000000\r\n",
            "SERVER_ERROR object too large for cache\r\n",
        ),
        ("mg a q q\r\n", "CLIENT_ERROR duplicate flag\r\n"),
        ("mg !!!! b\r\n", "CLIENT_ERROR error decoding key\r\n"),
        ("mg Cg== b k\r\n", LINE_FEED),
        ("ms Cg== 1 k b\r\nx\r\n", LINE_FEED),
        ("md Cg== b k\r\n", LINE_FEED),
        ("ma Cg== b N0 k\r\n", LINE_FEED),
        ("me Cg== b\r\n", LINE_FEED),
        ("incr a x noreply\r\n", ""),
        ("set a 0 x 1 noreply\r\n", ""),
        ("set a 0 0 1 noreply\r\nxy", ""),
        ("set a 0 0 600000000 noreply\r\n", ""),
        ("verbosity noreply\r\n", ""),
    ] {
        assert_eq!(
            planned(frame),
            ("refused".to_owned(), written.to_owned()),
            "{frame:?}"
        );
    }
}
