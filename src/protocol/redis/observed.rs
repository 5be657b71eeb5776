//! Requests as operators see them: their keys, and their arguments without secrets.

use crate::observe::RequestText;
use crate::protocol::redis::command::request::Request;
use crate::protocol::redis::command::{Command, Group, Keys};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::number::Number;

/// The parameters whose values Redis redacts.
const SECRET_PARAMETERS: [&[u8]; 7] = [
    b"requirepass",
    b"masterauth",
    b"masteruser",
    b"primaryauth",
    b"primaryuser",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
];

/// Calls `visit` with each key of a request. Channels are none, although requests are routed by them.
pub(crate) fn visit_keys(request: &Request, frame: &[u8], visit: &mut dyn FnMut(&[u8])) {
    match (request.command, request.key) {
        (Some(command), Some(key)) if command.subcommands.is_empty() => {
            if command.group != Group::PubSub {
                visit(key.of(frame));
            }
        }
        (Some(_), _) => keys_of(frame, request.argc, visit),
        (None, _) => {}
    }
}

/// As [`visit_keys`], for a request of which this is the start: keys in the rest are not known.
pub(crate) fn visit_keys_of_head(head: &[u8], visit: &mut dyn FnMut(&[u8])) {
    if let Some((count, _)) = count(head) {
        keys_of(head, count, visit);
    }
}

fn keys_of(frame: &[u8], argc: usize, visit: &mut dyn FnMut(&[u8])) {
    let Ok(command) = Command::resolve(&Args::new(frame), argc) else {
        return;
    };
    if command.keys == Keys::None || command.group == Group::PubSub {
        return;
    }
    if let Keys::At(position) = command.keys {
        return Args::new(frame)
            .nth(usize::from(position))
            .into_iter()
            .for_each(visit);
    }
    let mut keys = Vec::new();
    // An error is that of a script without keys, or of a request that servers reject.
    let _ = command.collect_keys(Args::new(frame), &mut keys);
    for key in keys {
        visit(key.key.of(frame));
    }
}

/// The arguments of a request of which this is the start, without secrets.
pub(crate) fn text(head: &[u8]) -> RequestText {
    let Some((count, args)) = arguments(head) else {
        return RequestText::default();
    };
    let mut text = RequestText::of(count);
    for arg in args {
        if text.is_full() {
            break;
        }
        text.push(arg.start, arg.start.len() + arg.more_bytes);
    }
    for secret in secrets(|number| text.argument(number)) {
        text.redact(secret);
    }
    text
}

/// An argument, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Argument<'h> {
    pub(crate) start: &'h [u8],
    /// The number of its bytes that are not known.
    pub(crate) more_bytes: usize,
}

/// The number of arguments of a request of which this is the start, and those of them that are known.
pub(crate) fn arguments(head: &[u8]) -> Option<(usize, impl Iterator<Item = Argument<'_>>)> {
    let (count, mut at) = count(head)?;
    let args = std::iter::from_fn(move || {
        let rest = head.get(at..)?;
        let (Some((b'$', header)), Some(_)) = (rest.split_first(), rest.get(1)) else {
            return None;
        };
        let Number::Line(len, used) = number::read(header) else {
            return None;
        };
        let len = usize::try_from(len).unwrap_or_default();
        at += 1 + used;
        let known = head.get(at..).unwrap_or_default();
        let start = known.get(..len).unwrap_or(known);
        at += len + 2;
        Some(Argument {
            start,
            more_bytes: len - start.len(),
        })
    });
    Some((count, args.take(count)))
}

/// The number of arguments, and the length of the header that has it.
fn count(frame: &[u8]) -> Option<(usize, usize)> {
    match (frame.split_first()?, frame.get(1..)) {
        ((b'*', _), Some(header)) => match number::read(header) {
            Number::Line(count, used) => Some((usize::try_from(count).ok()?, used + 1)),
            Number::Partial | Number::Bad => None,
        },
        _ => None,
    }
}

/// The positions of the arguments that Redis redacts, also within a request about a request. `argument` returns each by its
/// position, that of the name being 0.
pub(crate) fn secrets<'a>(argument: impl Fn(usize) -> Option<&'a [u8]>) -> Vec<usize> {
    let is = |number: usize, word: &str| {
        argument(number).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let mut start = 0;
    loop {
        start += match (is(start, "ACL"), is(start, "COMMAND")) {
            (true, _) if is(start + 1, "DRYRUN") => 3,
            (_, true) if is(start + 1, "GETKEYS") || is(start + 1, "GETKEYSANDFLAGS") => 2,
            _ => break,
        };
    }
    let found = secrets_of(|number| argument(start + number));
    found.into_iter().map(|number| start + number).collect()
}

fn secrets_of<'a>(argument: impl Fn(usize) -> Option<&'a [u8]>) -> Vec<usize> {
    let is = |number, word: &str| {
        argument(number).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let all_from = |first: usize| (first..).take_while(|number| argument(*number).is_some());
    if is(0, "AUTH") {
        return all_from(1).collect();
    }
    if is(0, "HELLO") {
        let mut found = Vec::new();
        let mut at = 2;
        while argument(at).is_some() {
            if is(at, "AUTH") {
                found.extend([at + 1, at + 2]);
                at += 3;
            } else {
                // The value of SETNAME may be AUTH, too.
                at += if is(at, "SETNAME") { 2 } else { 1 };
            }
        }
        return found;
    }
    if is(0, "ACL") && (is(1, "SETUSER") || is(1, "DELUSER") || is(1, "GETUSER")) {
        return all_from(2).collect();
    }
    if is(0, "CONFIG") && is(1, "SET") {
        let names = all_from(2).step_by(2).filter(|number| {
            let name = argument(*number).unwrap_or_default();
            let mut secret = SECRET_PARAMETERS.iter();
            secret.any(|parameter| name.eq_ignore_ascii_case(parameter))
        });
        return names.map(|name| name + 1).collect();
    }
    if is(0, "MIGRATE") {
        let words = all_from(6).flat_map(|number| match number {
            _ if is(number, "AUTH") => vec![number + 1],
            _ if is(number, "AUTH2") => vec![number + 1, number + 2],
            _ => Vec::new(),
        });
        return words.collect();
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::resp::encode::write_request;

    fn frame(words: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let mut frame = bytes::BytesMut::new();
        write_request(&words, &mut frame);
        frame.to_vec()
    }

    #[test]
    fn secrets_are_redacted() {
        for (request, expected) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("AUTH a b secret", "AUTH (redacted) (redacted) (redacted)"),
            ("ACL DRYRUN me AUTH secret", "ACL DRYRUN me AUTH (redacted)"),
            (
                "COMMAND GETKEYS command getkeys AUTH secret",
                "COMMAND GETKEYS command getkeys AUTH (redacted)",
            ),
            ("auth user secret", "auth (redacted) (redacted)"),
            (
                "HELLO 3 AUTH user secret SETNAME me",
                "HELLO 3 AUTH (redacted) (redacted) SETNAME me",
            ),
            (
                "HELLO 2 SETNAME AUTH AUTH user secret AUTH other secret",
                "HELLO 2 SETNAME AUTH AUTH (redacted) (redacted) AUTH (redacted) (redacted)",
            ),
            (
                "CONFIG SET masteruser secret",
                "CONFIG SET masteruser (redacted)",
            ),
            (
                "ACL SETUSER user on >secret",
                "ACL SETUSER (redacted) (redacted) (redacted)",
            ),
            (
                "CONFIG SET hz 10 requirepass secret",
                "CONFIG SET hz 10 requirepass (redacted)",
            ),
            ("CONFIG SET hz 10", "CONFIG SET hz 10"),
            (
                "MIGRATE h 1 k 0 5 AUTH2 user secret",
                "MIGRATE h 1 k 0 5 AUTH2 (redacted) (redacted)",
            ),
            ("SET AUTH secret", "SET AUTH secret"),
        ] {
            assert_eq!(text(&frame(request)).escaped().join(" "), expected);
        }
    }

    #[test]
    fn start_of_a_request_tells_what_it_has() {
        let whole = frame("SET key value-of-some-length");
        for (len, expected) in [
            (whole.len(), "SET key value-of-some-length"),
            (whole.len() - 8, "SET key value-of-some-... (6 more bytes)"),
            (25, "SET key ... (1 more arguments)"),
            (14, "SET ... (2 more arguments)"),
            (9, "S... (2 more bytes) ... (2 more arguments)"),
            (5, "... (3 more arguments)"),
            (3, ""),
            (0, ""),
        ] {
            let shown = text(&whole[..len]).escaped().join(" ");
            assert_eq!(shown, expected, "{len} bytes");
        }
    }

    #[test]
    fn keys_are_those_of_the_command() {
        for (request, expected) in [
            ("GET a", "a"),
            ("MSET a 1 b 2", "a b"),
            ("OBJECT ENCODING a", "a"),
            ("XREAD COUNT 1 STREAMS a b 0 0", "a b"),
            ("EVAL script 2 a b c", "a b"),
            ("PUBLISH channel message", ""),
            ("SPUBLISH channel message", ""),
            ("PING", ""),
            ("GET", ""),
            ("NOSUCH a", ""),
        ] {
            let mut keys = Vec::new();
            visit_keys_of_head(&frame(request), &mut |key| {
                keys.push(String::from_utf8_lossy(key).into_owned());
            });
            assert_eq!(keys.join(" "), expected, "{request}");
        }
    }
}
