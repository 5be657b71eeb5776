use proptest::prelude::*;

use crate::protocol::memcached::reply::*;

fn expect(answer: Answer, noreply: Noreply) -> Expect {
    Expect { answer, noreply }
}

fn scan(bytes: &[u8], answer: Answer, noreply: Noreply) -> Result<Passed, BadReply> {
    ReplyScanner::default().scan(bytes, expect(answer, noreply))
}

const ALL: [Answer; 13] = [
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

/// Each reply, with the requests that it can answer.
#[test]
fn reply_type_must_fit_the_request() {
    use Answer::{Deleted, Memlimit, Number, Ok, Stored, Touched, Values, Version};
    let meta = Answer::Meta;
    for (reply, answers) in [
        ("END\r\n", vec![Values]),
        ("VALUE k 0 3\r\na\r\n\r\nEND\r\n", vec![Values]),
        (
            "VALUE k 5 0 7\r\n\r\nVALUE l 0 1\r\nx\r\nEND\r\n",
            vec![Values],
        ),
        ("STORED\r\n", vec![Stored]),
        ("NOT_STORED\r\n", vec![Stored]),
        ("EXISTS\r\n", vec![Stored]),
        ("NOT_FOUND\r\n", vec![Stored, Deleted, Touched, Number]),
        ("DELETED\r\n", vec![Deleted]),
        ("TOUCHED\r\n", vec![Touched]),
        ("18446744073709551615\r\n", vec![Number]),
        ("VERSION 1.6.18\r\n", vec![Version]),
        ("OK\r\n", vec![Ok, Memlimit]),
        ("MEMLIMIT_TOO_SMALL no\r\n", vec![Memlimit]),
        (
            "VA 3 kfoo Oq\r\nbar\r\n",
            vec![meta(Meta::Get), meta(Meta::Arithmetic)],
        ),
        (
            "VA 0\r\n\r\n",
            vec![meta(Meta::Get), meta(Meta::Arithmetic)],
        ),
        (
            "HD kfoo\r\n",
            vec![
                meta(Meta::Get),
                meta(Meta::Set),
                meta(Meta::Delete),
                meta(Meta::Arithmetic),
            ],
        ),
        ("EN\r\n", vec![meta(Meta::Get), meta(Meta::Debug)]),
        ("EN Oabc kfoo\r\n", vec![meta(Meta::Get), meta(Meta::Debug)]),
        ("NS\r\n", vec![meta(Meta::Set), meta(Meta::Arithmetic)]),
        (
            "NF\r\n",
            vec![meta(Meta::Set), meta(Meta::Delete), meta(Meta::Arithmetic)],
        ),
        (
            "EX\r\n",
            vec![meta(Meta::Set), meta(Meta::Delete), meta(Meta::Arithmetic)],
        ),
        ("ME foo exp=-1 la=0\r\n", vec![meta(Meta::Debug)]),
        ("MN\r\n", vec![]),
        ("STAT pid 1\r\n", vec![]),
        ("BUSY\r\n", vec![]),
        ("STORED\n", vec![]),
        (" STORED\r\n", vec![]),
        ("STORED \r\n", vec![]),
        ("\r\n", vec![]),
        ("ERRORS\r\n", vec![]),
        ("+OK\r\n", vec![]),
        ("HDX\r\n", vec![]),
        ("VALUE k 0\r\n", vec![]),
        ("VALUE k 0 x\r\n", vec![]),
        ("VALUE k 0 -1\r\n", vec![]),
        ("VALUE k 0 2147483648\r\n", vec![]),
        ("VALUE  0 1\r\nx\r\n", vec![]),
        ("VALUE k 0 1 1 1\r\nx\r\n", vec![]),
        ("VALUE k 0 1\r\nxy\r\n", vec![]),
        ("VA x\r\n", vec![]),
        ("VA\r\n", vec![]),
    ] {
        let len = reply.len();
        for answer in ALL {
            let passed = scan(reply.as_bytes(), answer, Noreply::None);
            let is_whole = matches!(passed, Result::Ok(Passed::Whole { len: l, hidden_bytes: 0, .. }) if l == len);
            assert_eq!(
                is_whole,
                answers.contains(&answer),
                "{reply:?} to {answer:?}: {passed:?}"
            );
            assert!(
                is_whole || passed == Err(BadReply),
                "{reply:?} to {answer:?}: {passed:?}"
            );
        }
    }
}

#[test]
fn error_before_the_data_is_read_loses_framing() {
    for line in ["ERROR\r\n", "CLIENT_ERROR bad data chunk\r\n"] {
        for answer in [Answer::Meta(Meta::Set), Answer::Stored] {
            for noreply in [Noreply::None, Noreply::Quiet, Noreply::All] {
                let scanned = scan(line.as_bytes(), answer, noreply);
                assert_eq!(scanned, Err(BadReply), "{line} to {answer:?}");
            }
        }
    }
}

#[test]
fn error_line_answers_any_request() {
    for (line, kind) in [
        ("ERROR\r\n", ReplyKind::Error),
        ("ERROR: shutdown not enabled\r\n", ReplyKind::Error),
        ("CLIENT_ERROR bad data chunk\r\n", ReplyKind::Error),
        (
            "SERVER_ERROR out of memory storing object\r\n",
            ReplyKind::Error,
        ),
        (
            "ERROR Too many open connections\r\n",
            ReplyKind::ServerError,
        ),
        (
            "ERROR Too many open connections of one kind\r\n",
            ReplyKind::Error,
        ),
    ] {
        let leaves_data = UNREAD_DATA.contains(&line.trim_end().as_bytes());
        for answer in ALL
            .into_iter()
            .filter(|answer| !leaves_data || !answer.has_data())
        {
            for noreply in [Noreply::None, Noreply::Quiet, Noreply::All] {
                let hidden = noreply == Noreply::All;
                let passed = scan(line.as_bytes(), answer, noreply);
                let expected = Passed::Whole {
                    len: line.len(),
                    kind,
                    hidden_bytes: if hidden { bytes_of(line.len()) } else { 0 },
                };
                assert_eq!(passed, Ok(expected), "{line:?} to {answer:?}");
            }
        }
    }
    let after_a_value = b"VALUE k 0 1\r\nx\r\nSERVER_ERROR out of memory\r\n";
    let passed = scan(after_a_value, Answer::Values, Noreply::None);
    assert!(
        matches!(passed, Ok(Passed::Whole { len, kind: ReplyKind::Error, .. }) if len == after_a_value.len())
    );
}

/// As observed with memcached 1.6.18.
#[test]
fn quiet_flag_hides_what_memcached_hides() {
    for (which, reply, is_hidden) in [
        (Meta::Get, "EN\r\n", true),
        (Meta::Get, "HD\r\n", false),
        (Meta::Get, "VA 1\r\nx\r\n", false),
        (Meta::Set, "HD\r\n", true),
        (Meta::Set, "NS\r\n", false),
        (Meta::Set, "EX\r\n", false),
        (Meta::Set, "NF\r\n", false),
        (Meta::Delete, "HD\r\n", true),
        (Meta::Delete, "NF\r\n", false),
        (Meta::Delete, "EX\r\n", false),
        (Meta::Arithmetic, "HD Oq\r\n", true),
        (Meta::Arithmetic, "VA 2 Oq\r\n18\r\n", true),
        (Meta::Arithmetic, "NF\r\n", false),
        (Meta::Arithmetic, "EX\r\n", false),
        (Meta::Debug, "EN\r\n", false),
    ] {
        for (noreply, expected) in [(Noreply::Quiet, is_hidden), (Noreply::None, false)] {
            let passed = scan(reply.as_bytes(), Answer::Meta(which), noreply);
            let Ok(Passed::Whole {
                len, hidden_bytes, ..
            }) = passed
            else {
                panic!("{reply:?}: {passed:?}")
            };
            assert_eq!(
                (len, hidden_bytes),
                (
                    reply.len(),
                    if expected { bytes_of(reply.len()) } else { 0 }
                ),
                "{which:?} {reply:?}"
            );
        }
    }
}

#[test]
fn hidden_value_is_not_passed_on() {
    let reply = b"VA 2 Oq\r\n18\r\n";
    let mut scanner = ReplyScanner::default();
    let expect = expect(Answer::Meta(Meta::Arithmetic), Noreply::Quiet);
    for end in 0..reply.len() {
        let passed = scanner.scan(&reply[..end], expect);
        assert_eq!(passed, Ok(Passed::Part { len: 0 }), "{end}");
    }
    let large = b"VA 65\r\n";
    assert_eq!(ReplyScanner::default().scan(large, expect), Err(BadReply));
}

#[test]
fn reply_before_that_to_mn_is_shown() {
    for (reply, hidden_bytes, kind) in [
        ("MN\r\n", 4, ReplyKind::Value),
        ("HD O1\r\nMN\r\n", 4, ReplyKind::Value),
        ("VA 2 Oq\r\n18\r\nMN\r\n", 4, ReplyKind::Value),
        ("NF\r\nMN\r\n", 4, ReplyKind::Value),
        ("CLIENT_ERROR x\r\nMN\r\n", 4, ReplyKind::Error),
        ("ERROR\r\nERROR\r\n", 7, ReplyKind::Error),
        (
            "ERROR Too many open connections\r\n",
            0,
            ReplyKind::ServerError,
        ),
    ] {
        let expect = expect(Answer::Meta(Meta::Arithmetic), Noreply::ByServer);
        for cut in 0..reply.len() {
            let mut scanner = ReplyScanner::default();
            let first = scanner.scan(&reply.as_bytes()[..cut], expect);
            let Ok(Passed::Part { len: passed }) = first else {
                panic!("{reply:?} {cut}: {first:?}")
            };
            let expected = Passed::Whole {
                len: reply.len() - passed,
                kind,
                hidden_bytes,
            };
            let rest = &reply.as_bytes()[passed..];
            assert_eq!(scanner.scan(rest, expect), Ok(expected), "{reply:?} {cut}");
        }
    }
    for reply in ["HD\r\nHD\r\n", "MN x\r\n", "EN\r\n"] {
        let expected = Err(BadReply);
        assert_eq!(
            scan(
                reply.as_bytes(),
                Answer::Meta(Meta::Arithmetic),
                Noreply::ByServer
            ),
            expected,
            "{reply}"
        );
    }
}

#[test]
fn endless_line_is_refused() {
    let long = vec![b'E'; LINE_BYTES + 1];
    assert_eq!(scan(&long, Answer::Values, Noreply::None), Err(BadReply));
}

#[test]
fn large_value_is_streamed() {
    let mut scanner = ReplyScanner::default();
    let expect = expect(Answer::Values, Noreply::None);
    let head = b"VALUE k 0 1000000\r\n";
    assert_eq!(
        scanner.scan(head, expect),
        Ok(Passed::Part { len: head.len() })
    );
    let piece = vec![b'x'; 100_000];
    for _ in 0..10 {
        assert_eq!(
            scanner.scan(&piece, expect),
            Ok(Passed::Part { len: piece.len() })
        );
    }
    let end = b"\r\nEND\r\n";
    assert!(matches!(
        scanner.scan(end, expect),
        Ok(Passed::Whole { len: 7, .. })
    ));
}

proptest! {
    #[test]
    fn reply_scan_is_independent_of_chunking(
        values in prop::collection::vec((0_u32.., prop::collection::vec(any::<u8>(), 0..40)), 0..5),
        piece in 1_usize..50,
    ) {
        let mut reply = Vec::new();
        for (flags, data) in values {
            reply.extend_from_slice(format!("VALUE k{flags} {flags} {}\r\n", data.len()).as_bytes());
            reply.extend_from_slice(&data);
            reply.extend_from_slice(b"\r\n");
        }
        reply.extend_from_slice(b"END\r\n");
        let mut scanner = ReplyScanner::default();
        let (mut passed, mut there) = (0, 0);
        loop {
            there = (there + piece).min(reply.len());
            match scanner.scan(&reply[passed..there], expect(Answer::Values, Noreply::None)).unwrap() {
                Passed::Part { len } => {
                    prop_assert!(there < reply.len());
                    passed += len;
                }
                Passed::Whole { len, .. } => {
                    prop_assert_eq!(passed + len, reply.len());
                    break;
                }
            }
        }
    }

    #[test]
    fn scanner_survives_garbage_and_stays_in_bounds(
        bytes: Vec<u8>,
        which in 0..ALL.len(),
        muted: bool,
    ) {
        let noreply = if muted { Noreply::Quiet } else { Noreply::None };
        match scan(&bytes, ALL[which], noreply) {
            Ok(Passed::Whole { len, .. } | Passed::Part { len }) => prop_assert!(len <= bytes.len()),
            Err(BadReply) => {}
        }
    }
}

#[test]
fn max_clients_reply_is_recognised() {
    use crate::protocol::Protocol as _;
    use crate::protocol::memcached::Memcached;

    assert!(Memcached::classify(b"ERROR Too many open connections\r\n").is_max_clients());
    assert!(!Memcached::classify(b"ERROR\r\n").is_max_clients());
    assert!(!Memcached::classify(b"END\r\n").is_max_clients());
}
