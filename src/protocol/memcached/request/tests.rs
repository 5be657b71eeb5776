use proptest::prelude::*;

use crate::protocol::memcached::command::{Command, Meta, Policy};
use crate::protocol::memcached::expect::Noreply;
use crate::protocol::memcached::request::*;

/// Small, so that tests reach them.
const LIMITS: Limits = Limits {
    argument_bytes: 100,
    request_bytes: 10_000,
    arguments: 50,
    before_auth: false,
};

fn scan(bytes: &[u8]) -> Result<Scan<Request>, ScanError> {
    RequestScanner::default().scan(bytes, &LIMITS)
}

/// All frames of `bytes`, and the final error, when every scan gets `piece` bytes more.
fn frames(bytes: &[u8], piece: usize) -> (Vec<(Request, usize)>, Option<ScanError>) {
    let mut found = Vec::new();
    let mut scanner = RequestScanner::default();
    let (mut start, mut there) = (0, 0);
    loop {
        match scanner.scan(&bytes[start..there], &LIMITS) {
            Ok(Scan::Complete {
                found: request,
                len,
            }) => {
                assert!(
                    len > 0 && len <= there - start,
                    "{len} of {}",
                    there - start
                );
                start += len;
                // The split of skipped data into frames depends on how it arrives.
                match (found.last_mut(), request.form) {
                    (
                        Some((
                            Request {
                                form: Form::Skipped,
                                ..
                            },
                            sum,
                        )),
                        Form::Skipped,
                    ) => *sum += len,
                    _ => found.push((request, len)),
                }
            }
            Ok(Scan::Partial { want }) => {
                assert!(want > there - start, "wants {want}, has {}", there - start);
                if there == bytes.len() {
                    return (found, None);
                }
                there = (there + piece).min(bytes.len());
            }
            Err(error) => return (found, Some(error)),
        }
    }
}

fn forms(bytes: &[u8]) -> (Vec<Form>, Option<ScanError>) {
    let (found, error) = frames(bytes, bytes.len().max(1));
    (
        found.iter().map(|(request, _)| request.form).collect(),
        error,
    )
}

#[test]
fn scan_finds_command_key_and_noreply() {
    for (frame, key, stripped, noreply) in [
        ("get foo\r\n", "foo", "", Noreply::None),
        ("get foo noreply\r\n", "foo", "", Noreply::None),
        ("gat 10 foo\r\n", "foo", "", Noreply::None),
        ("set foo 0 0 3\r\nabc\r\n", "foo", "", Noreply::None),
        (
            "set foo 0 -1 3 noreply\r\nabc\r\n",
            "foo",
            " noreply",
            Noreply::All,
        ),
        ("set noreply 0 0 0\r\n\r\n", "noreply", "", Noreply::None),
        (
            "cas foo 1 0 0 18446744073709551615 noreply\r\n\r\n",
            "foo",
            " noreply",
            Noreply::All,
        ),
        ("incr foo 1 noreply\r\n", "foo", " noreply", Noreply::All),
        ("delete foo 0 noreply\r\n", "foo", " noreply", Noreply::All),
        ("delete noreply\r\n", "noreply", "", Noreply::None),
        ("touch foo 0 noreply\r\n", "foo", " noreply", Noreply::All),
        ("flush_all noreply\r\n", "", " noreply", Noreply::All),
        ("flush_all 10 noreply\r\n", "", " noreply", Noreply::All),
        ("verbosity 1 noreply\r\n", "", " noreply", Noreply::All),
        ("mg foo v q k\r\n", "foo", " q", Noreply::Quiet),
        ("mg foo v Oq kq\r\n", "foo", "", Noreply::None),
        ("mg q v\r\n", "q", "", Noreply::None),
        ("md foo quiet\r\n", "foo", " quiet", Noreply::Quiet),
        ("ms foo 2 T0 q\r\nab\r\n", "foo", " q", Noreply::Quiet),
        ("ma foo q\r\n", "foo", " q", Noreply::Quiet),
        ("ma foo q N0\r\n", "foo", "", Noreply::ByServer),
        ("mg foo q N0\r\n", "foo", " q", Noreply::Quiet),
    ] {
        let Ok(Scan::Complete { found, len }) = scan(frame.as_bytes()) else {
            panic!("{frame:?}")
        };
        assert_eq!((found.form, len), (Form::Plain, frame.len()), "{frame:?}");
        let bytes = frame.as_bytes();
        assert_eq!(found.key.of(bytes), key.as_bytes(), "{frame:?}");
        assert_eq!(found.stripped.of(bytes), stripped.as_bytes(), "{frame:?}");
        assert_eq!(found.noreply, noreply, "{frame:?}");
    }
}

#[test]
fn ambiguous_requests_are_refused_and_framing_is_kept() {
    let long = "k".repeat(251);
    for (request, refusal) in [
        ("\r\n".to_owned(), Refusal::Unknown),
        ("GET a\r\n".to_owned(), Refusal::Unknown),
        ("get\ta\r\n".to_owned(), Refusal::Unknown),
        ("get\r\n".to_owned(), Refusal::Incomplete),
        ("get \r\n".to_owned(), Refusal::Incomplete),
        ("gat 0\r\n".to_owned(), Refusal::Incomplete),
        ("gat x a\r\n".to_owned(), Refusal::Exptime),
        ("get a\0b\r\n".to_owned(), Refusal::Control),
        ("get a\rb\r\n".to_owned(), Refusal::Control),
        ("get a\r\r\n".to_owned(), Refusal::Control),
        (format!("get {long}\r\n"), Refusal::LongKey),
        (format!("get a {long}\r\n"), Refusal::LongKey),
        (format!("get{}\r\n", " a".repeat(50)), Refusal::ManyKeys),
        ("incr a\r\n".to_owned(), Refusal::Incomplete),
        ("incr a -1\r\n".to_owned(), Refusal::Delta),
        ("incr a +1\r\n".to_owned(), Refusal::Delta),
        ("incr a 1 2\r\n".to_owned(), Refusal::ManyArguments),
        (
            "incr a 1 noreply noreply\r\n".to_owned(),
            Refusal::ManyArguments,
        ),
        ("delete a 1\r\n".to_owned(), Refusal::Delete),
        ("touch a 2147483648\r\n".to_owned(), Refusal::Exptime),
        ("touch a\r\n".to_owned(), Refusal::Incomplete),
        ("flush_all x\r\n".to_owned(), Refusal::Exptime),
        ("verbosity\r\n".to_owned(), Refusal::Incomplete),
        ("verbosity noreply\r\n".to_owned(), Refusal::Incomplete),
        ("verbosity x\r\n".to_owned(), Refusal::Level),
        ("cache_memlimit noreply\r\n".to_owned(), Refusal::Incomplete),
        ("stats items\r\n".to_owned(), Refusal::StatsArgument),
        ("stats noreply\r\n".to_owned(), Refusal::Unknown),
        ("watch fetchers\r\n".to_owned(), Refusal::Unsupported),
        ("mg\r\n".to_owned(), Refusal::Incomplete),
        ("mg a q q\r\n".to_owned(), Refusal::MetaDuplicate),
        ("mg a T1 T2\r\n".to_owned(), Refusal::MetaDuplicate),
        ("mg a 1\r\n".to_owned(), Refusal::MetaFlag),
        ("mg a \u{ff}\r\n".to_owned(), Refusal::MetaFlag),
        (format!("mg a O{}\r\n", "x".repeat(32)), Refusal::MetaOpaque),
        (
            "mg a a c d e f g h i j k l m n o p q r\r\n".to_owned(),
            Refusal::MetaMany,
        ),
    ] {
        let stream = request.clone() + "version\r\n";
        let expected = (vec![Form::Refused(refusal), Form::Plain], None);
        assert_eq!(forms(stream.as_bytes()), expected, "{request:?}");
    }
}

#[test]
fn data_of_a_refused_request_is_skipped() {
    let long = "k".repeat(251);
    for (request, refusal) in [
        ("set a x 0 3\r\nabc\r\n".to_owned(), Refusal::Flags),
        ("set a 4294967296 0 3\r\nabc\r\n".to_owned(), Refusal::Flags),
        ("set a 0 x 3\r\nabc\r\n".to_owned(), Refusal::StoreExptime),
        (
            "set a 0 0 3 norepl\r\nabc\r\n".to_owned(),
            Refusal::ManyArguments,
        ),
        (
            "set a 0 0 3 noreply noreply\r\nabc\r\n".to_owned(),
            Refusal::ManyArguments,
        ),
        ("set a\0 0 0 3\r\nabc\r\n".to_owned(), Refusal::Control),
        (format!("set {long} 0 0 3\r\nabc\r\n"), Refusal::LongKey),
        ("set a x 0 9\r\nversion\r\n\r\n".to_owned(), Refusal::Flags),
        ("cas a 0 0 3\r\nabc\r\n".to_owned(), Refusal::Incomplete),
        (
            "cas a 0 0 3 noreply\r\nabc\r\n".to_owned(),
            Refusal::Incomplete,
        ),
        ("cas a 0 0 3 -1\r\nabc\r\n".to_owned(), Refusal::Unique),
        ("ms a 3 q q\r\nabc\r\n".to_owned(), Refusal::MetaDuplicate),
        ("ms a 3 S5\r\nabc\r\n".to_owned(), Refusal::MetaFlag),
        (
            format!("set a 0 0 101\r\n{}\r\n", "x".repeat(101)),
            Refusal::TooLarge,
        ),
        ("set a 0 0 1\r\nxy\r\n".to_owned(), Refusal::DataChunk),
        (
            "set a 0 0 1\r\nx\rversion\r\n".to_owned(),
            Refusal::DataChunk,
        ),
        ("set a 0 0 1\nx\n".to_owned(), Refusal::DataChunk),
        ("ms a 1 q\r\nxy\r\n".to_owned(), Refusal::DataChunk),
        // The data end within the next line.
        (
            "set a 0 0 5\r\nx\r\nversion\r\n".to_owned(),
            Refusal::DataChunk,
        ),
    ] {
        let stream = request.clone() + "version\r\n";
        let expected = (
            vec![Form::Refused(refusal), Form::Skipped, Form::Plain],
            None,
        );
        assert_eq!(forms(stream.as_bytes()), expected, "{request:?}");
    }
}

#[test]
fn framing_error_is_named() {
    for (bytes, error) in [
        (&b"\x80\x0b\0\0"[..], ScanError::Binary),
        (b"GET / HTTP/1.1\r\n", ScanError::Http),
        (b"set a 0 0\r\n", ScanError::NoLength),
        (b"ms a\r\n", ScanError::NoLength),
        (b"set\r\n", ScanError::NoLength),
        (b"set a 0 0 -1\r\n", ScanError::BadLength),
        (b"set a 0 0 +1\r\n", ScanError::BadLength),
        (b"set a 0 0 x\r\n", ScanError::BadLength),
        (b"set a 0 0 noreply\r\n", ScanError::BadLength),
        (b"ms a S3\r\n", ScanError::BadLength),
        (b"set a 0 0 2147483646\r\n", ScanError::HugeLength),
        (b"set a 0 0 4294967297\r\n", ScanError::HugeLength),
    ] {
        assert_eq!(
            forms(bytes),
            (vec![], Some(error)),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(forms(b"get / HTTP/1.1\r\n"), (vec![Form::Plain], None));
}

#[test]
fn only_get_lines_may_be_long() {
    let keys = |name: &str, bytes: usize| {
        let mut line = name.to_owned();
        while line.len() + 251 < bytes {
            line.push(' ');
            line += &"k".repeat(250);
        }
        line += " ";
        line += &"k".repeat(bytes - 2 - line.len());
        line + "\r\n"
    };
    for (line, expected) in [
        (
            keys("mg", LINE_BYTES),
            (vec![Form::Refused(Refusal::MetaDuplicate)], None),
        ),
        (
            keys("mg", LINE_BYTES + 1),
            (vec![], Some(ScanError::LongLine)),
        ),
        (keys("gat 0", LINE_BYTES), (vec![Form::Plain], None)),
        (
            keys("gat 0", LINE_BYTES + 1),
            (vec![], Some(ScanError::LongLine)),
        ),
        (keys("get", LINE_BYTES + 1), (vec![Form::Plain], None)),
        (
            keys("gets", LIMITS.request_bytes),
            (vec![Form::Plain], None),
        ),
        (
            keys("get", LIMITS.request_bytes + 1),
            (vec![], Some(ScanError::LongLine)),
        ),
    ] {
        for piece in [1, 100, line.len()] {
            let (found, error) = frames(line.as_bytes(), piece);
            let found: Vec<Form> = found.iter().map(|(request, _)| request.form).collect();
            assert_eq!((found, error), expected, "{} bytes", line.len());
        }
    }
}

#[test]
fn shorthand_is_canonicalized() {
    for (shorthand, canonical) in [
        ("get a\n", "get a\r\n"),
        ("  get  a   b \r\n", "get a b\r\n"),
        ("set a 0 0 3 \r\na b\r\n", "set a 0 0 3\r\na b\r\n"),
        (
            "set  a 0 0 3 noreply\na\nb\r\n",
            "set a 0 0 3 noreply\r\na\nb\r\n",
        ),
        ("mg a  v q\r\n", "mg a v q\r\n"),
    ] {
        let Ok(Scan::Complete { found, len }) = scan(shorthand.as_bytes()) else {
            panic!("{shorthand:?}")
        };
        assert_eq!(
            (found.form, len),
            (Form::Shorthand, shorthand.len()),
            "{shorthand:?}"
        );
        let mut out = BytesMut::new();
        found.canonicalize(shorthand.as_bytes(), &mut out);
        assert_eq!(out, canonical.as_bytes());
    }
}

/// The words and the data of a request, parsed as by memcached. `None` if it would read more or less than the whole, or
/// send no reply or more than one.
fn as_a_server_reads(sent: &[u8]) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
    let lf = sent.iter().position(|byte| *byte == b'\n')?;
    let (line, data) = sent.split_at(lf + 1);
    let line = line.strip_suffix(b"\r\n")?;
    if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
        return None;
    }
    let words: Vec<Vec<u8>> = line
        .split(|byte| *byte == b' ')
        .map(<[u8]>::to_vec)
        .collect();
    if words.iter().any(Vec::is_empty) {
        return None;
    }
    let number =
        |at: usize| -> Option<usize> { std::str::from_utf8(words.get(at)?).ok()?.parse().ok() };
    let expected = match words[0].as_slice() {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => Some(number(4)?),
        b"ms" => Some(number(2)?),
        _ => None,
    };
    let is_noreply = match words[0].as_slice() {
        b"mg" | b"md" | b"ma" => words.iter().skip(2).any(|word| word[0] == b'q'),
        b"ms" => words.iter().skip(3).any(|word| word[0] == b'q'),
        b"get" | b"gets" | b"gat" | b"gats" | b"bget" | b"me" | b"version" => false,
        _ => words.len() > 2 && words.last().is_some_and(|word| word == b"noreply"),
    };
    match expected {
        _ if is_noreply => None,
        Some(len) if data.len() == len + 2 && data.ends_with(b"\r\n") => {
            Some((words, data[..len].to_vec()))
        }
        None if data.is_empty() => Some((words, vec![])),
        _ => None,
    }
}

/// Checks a forwarded request, in its canonical form.
fn check_forwarded(request: &Request, frame: &[u8]) -> Result<(), TestCaseError> {
    if request.form == Form::Shorthand {
        let mut canonical = BytesMut::new();
        request.canonicalize(frame, &mut canonical);
        let Ok(Scan::Complete { found, len }) = scan(&canonical) else {
            return Err(TestCaseError::fail(format!("{}", canonical.escape_ascii())));
        };
        prop_assert_eq!((found.form, len), (Form::Plain, canonical.len()));
        prop_assert_eq!(found.key.of(&canonical), request.key.of(frame));
        prop_assert_eq!(found.noreply, request.noreply);
        prop_assert_eq!(found.command, request.command);
        return check_forwarded(&found, &canonical);
    }
    let is_forwarded = request
        .command
        .is_some_and(|command| !matches!(command.policy, Policy::Local(_)));
    if request.form != Form::Plain || !is_forwarded {
        return Ok(());
    }
    let mut sent = frame.to_vec();
    sent.drain(request.stripped.start..request.stripped.end);
    let read = as_a_server_reads(&sent);
    prop_assert!(read.is_some(), "{}", sent.escape_ascii());
    let has_key = request
        .command
        .is_some_and(|command| !matches!(command.policy, Policy::AllServers(_)));
    let words = read.unwrap_or_default().0;
    prop_assert!(
        !has_key
            || words
                .iter()
                .skip(1)
                .any(|word| word == request.key.of(frame))
    );
    Ok(())
}

/// Lines similar to those that clients send, and data.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(vec![
            "get", "gets", "gat", "set", "add", "cas", "incr", "delete", "touch", "mg", "ms", "md", "ma", "me", "mn",
            "version", "flush_all", "verbosity", "stats", "quit", "a", "b", "foo", "0", "1", "2", "3", "5", "-1", "+1",
            "noreply", "q", "q", "k", "v", "T30", "Oq", "S2", "Zm9v", "4294967296",
        ]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let store = prop::sample::select(vec![
        "set a 0 0 ",
        "set  b 1 2 ",
        "ms a ",
        "cas a 0 0 ",
        "set a x 0 ",
    ]);
    let tail = prop::sample::select(vec!["", " noreply", " q", " 7", " 7 noreply", " q q", " "]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", " \r\n", "\r"]);
    let line = (prop::collection::vec(word, 1..8), end.clone()).prop_map(|(words, end)| {
        let mut line = words.join(&b' ');
        line.extend_from_slice(end.as_bytes());
        line
    });
    let stored = (
        store,
        0_usize..6,
        tail,
        end,
        prop::collection::vec(any::<u8>(), 0..7),
    )
        .prop_map(|(head, len, tail, end, data)| {
            let mut request = format!("{head}{len}{tail}{end}").into_bytes();
            request.extend_from_slice(&data);
            request.extend_from_slice(b"\r\n");
            request
        });
    prop::collection::vec(prop_oneof![line, stored], 1..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn request_scan_is_independent_of_chunking(stream in stream(), piece in 1_usize..40) {
        prop_assert_eq!(frames(&stream, stream.len()), frames(&stream, piece));
    }

    /// The two rules: a server reads exactly one request where the proxy read one, and replies to it.
    #[test]
    fn forwarded_bytes_are_one_request_with_one_reply(stream in stream()) {
        let (found, _) = frames(&stream, stream.len());
        let mut start = 0;
        for (request, len) in found {
            check_forwarded(&request, &stream[start..start + len])?;
            start += len;
        }
    }

    #[test]
    fn scanner_survives_garbage_and_stays_in_bounds(bytes: Vec<u8>) {
        frames(&bytes, bytes.len().max(1));
    }
}

#[test]
fn data_is_never_taken_as_commands() {
    let stream = b"set a 0 0 9\r\nflush_all\r\nms b 9 Z\r\nflush_all\r\nset c x 0 9\r\nflush_all\r\nget d\r\n";
    let (found, error) = frames(stream, 7);
    let names: Vec<&str> = found
        .iter()
        .filter_map(|(request, _)| request.command)
        .map(|command| command.name)
        .collect();
    assert_eq!((names, error), (vec!["set", "ms", "set", "get"], None));
    assert_eq!(
        Command::lookup(b"ms").map(|row| row.policy),
        Some(Policy::Meta(Meta::Set))
    );
}
