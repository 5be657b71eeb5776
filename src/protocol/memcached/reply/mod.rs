//! Finds the end of a server's reply as its bytes arrive.
//!
//! The scanner keeps its state in a few counters, so the bytes it has passed may be gone: a large value is forwarded as
//! it arrives. It is strict: a reply that cannot answer the request means that the connection is out of sync, and every
//! further reply on it would go to the wrong client.

use crate::protocol::memcached::command::Meta;
use crate::protocol::memcached::expect::{Answer, Expect, Noreply};
use crate::protocol::{BadReply, Passed, ReplyKind};

/// The maximum length of a line. The longest of memcached has a key and a few numbers.
const LINE_BYTES: usize = 64 << 10;

/// The maximum length of a value: memcached counts its bytes in 31 bits.
const VALUE_BYTES: u64 = i32::MAX as u64;

/// The maximum length of a value that can be suppressed: a number, which is all that `ma` returns.
const HIDDEN_VALUE_BYTES: u64 = 64;

/// The replies of a server that did not read the data of a request, as a memcached older than 1.6.10 does not for `ms`.
/// It parses the data as commands, and its further replies are to those: the connection is out of sync.
const UNREAD_DATA: [&[u8]; 2] = [b"ERROR", b"CLIENT_ERROR bad data chunk"];

/// The reply of a server at its limit of connections, before it closes one.
pub(crate) const NO_ROOM: &[u8] = b"ERROR Too many open connections";

/// The state of the scan of one reply.
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// Bytes of an incomplete line that hold no line end.
    searched: usize,
    /// Bytes of a value still to come, with its line end.
    body: Option<u64>,
    /// The kind of a complete reply that that to `mn` follows.
    answered: Option<ReplyKind>,
}

/// The meaning of one line in its reply.
enum Line {
    /// The reply ends with it.
    Last(ReplyKind, bool),
    /// A value of this many bytes follows, and maybe more.
    Value(u64),
    /// As `Value`, and the client suppressed the reply.
    Hidden(u64),
}

impl ReplyScanner {
    /// Scans `bytes`, which follow those that were scanned before.
    pub fn scan(&mut self, bytes: &[u8], expect: Expect) -> Result<Passed, BadReply> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if let Some(body) = self.body {
                let passed = self.skip_body(rest, body)?;
                at += passed;
                if self.body.is_some() {
                    return Ok(Passed::Part { len: at });
                }
                match (expect.answer, expect.noreply) {
                    (Answer::Values, _) => {}
                    (_, Noreply::ByServer) => self.answered = Some(ReplyKind::Value),
                    _ => return Ok(whole(at, ReplyKind::Value, false)),
                }
                continue;
            }
            let unseen = rest.get(self.searched..).unwrap_or_default();
            let Some(lf) = memchr::memchr(b'\n', unseen) else {
                self.searched = rest.len();
                return if rest.len() > LINE_BYTES {
                    Err(BadReply)
                } else {
                    Ok(Passed::Part { len: at })
                };
            };
            let line_bytes = self.searched + lf + 1;
            self.searched = 0;
            let line = rest
                .get(..line_bytes)
                .and_then(|line| line.strip_suffix(b"\r\n"));
            let line = line.ok_or(BadReply)?;
            if expect.noreply == Noreply::ByServer
                && let Some(last) = self.read_noop(line, line_bytes)
            {
                let len = at + line_bytes;
                return last.map(|(kind, hidden_bytes)| Passed::Whole {
                    len,
                    kind,
                    hidden_bytes: bytes_of(hidden_bytes),
                });
            }
            match read(line, expect)? {
                Line::Last(kind, _) if expect.noreply == Noreply::ByServer && line != NO_ROOM => {
                    self.answered = Some(kind);
                    at += line_bytes;
                }
                Line::Last(kind, hidden) => return Ok(whole(at + line_bytes, kind, hidden)),
                Line::Value(len) => {
                    self.body = Some(len + 2);
                    at += line_bytes;
                }
                // Nothing of it may be forwarded, so it is passed as a whole: it is small.
                Line::Hidden(len) => {
                    let end = usize::try_from(len + 2).map_err(|_| BadReply)? + line_bytes;
                    return match rest.get(line_bytes..end) {
                        Some(value) if value.ends_with(b"\r\n") => {
                            Ok(whole(end, ReplyKind::Value, true))
                        }
                        Some(_) => Err(BadReply),
                        None => Ok(Passed::Part { len: 0 }),
                    };
                }
            }
        }
    }

    /// Reads the line that ends the reply to a request with `mn` behind it. `None` if it is the reply to the request
    /// itself, which servers before 1.6, without both commands, never leave out.
    fn read_noop(
        &mut self,
        line: &[u8],
        line_bytes: usize,
    ) -> Option<Result<(ReplyKind, usize), BadReply>> {
        match (self.answered.take(), line) {
            (answered, b"MN") => Some(Ok((answered.unwrap_or(ReplyKind::Value), line_bytes))),
            (Some(answered), b"ERROR") => Some(Ok((answered, line_bytes))),
            (Some(_), _) => Some(Err(BadReply)),
            (None, _) => None,
        }
    }

    /// Skips the available bytes of a value and its line end. The line end is skipped as a whole.
    fn skip_body(&mut self, bytes: &[u8], body: u64) -> Result<usize, BadReply> {
        let data = body - 2;
        let here = usize::try_from(data).map_or(bytes.len(), |data| data.min(bytes.len()));
        match bytes.get(here..here + 2) {
            Some(b"\r\n") if here as u64 == data => {
                self.body = None;
                Ok(here + 2)
            }
            Some(_) => Err(BadReply),
            None => {
                self.body = Some(body - here as u64);
                Ok(here)
            }
        }
    }
}

/// A length of lines, which are bounded.
fn bytes_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn whole(len: usize, kind: ReplyKind, hidden: bool) -> Passed {
    Passed::Whole {
        len,
        kind,
        hidden_bytes: if hidden { bytes_of(len) } else { 0 },
    }
}

/// Reads a line without its end.
fn read(line: &[u8], expect: Expect) -> Result<Line, BadReply> {
    if expect.answer.has_data() && UNREAD_DATA.contains(&line) {
        return Err(BadReply);
    }
    let is_muted = expect.noreply == Noreply::All;
    let is_valid = match (expect.answer, line.first()) {
        (Answer::Values, Some(b'V')) => {
            let value = value_of(line).ok_or(BadReply)?;
            return Ok(Line::Value(value.data_bytes));
        }
        (Answer::Meta(which), _) => match read_meta(line, which, expect.noreply)? {
            Some(line) => return Ok(line),
            None => false,
        },
        (Answer::Memlimit, Some(b'M')) if line.starts_with(b"MEMLIMIT_") => {
            return Ok(Line::Last(ReplyKind::Error, is_muted));
        }
        (Answer::Version, _) => line.starts_with(b"VERSION "),
        (Answer::Number, Some(b'0'..=b'9')) => is_number(line),
        (answer, _) => answer.words().contains(&line),
    };
    if is_valid {
        return Ok(Line::Last(ReplyKind::Value, is_muted));
    }
    classify(line)
        .map(|kind| Line::Last(kind, is_muted))
        .ok_or(BadReply)
}

/// Reads the reply to a meta command; `None` if it is not one of its codes.
fn read_meta(line: &[u8], which: Meta, noreply: Noreply) -> Result<Option<Line>, BadReply> {
    let Some((code, rest)) = line.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let rest = match rest {
        [] => rest,
        [b' ', rest @ ..] => rest,
        _ => return Ok(None),
    };
    let (quiet, shown) = which.codes();
    let hidden = quiet.contains(&code) && noreply == Noreply::Quiet;
    if !quiet.contains(&code) && !shown.contains(&code) {
        return Ok(None);
    }
    if code != b"VA" {
        return Ok(Some(Line::Last(ReplyKind::Value, hidden)));
    }
    let digits = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    match value_bytes(digits).ok_or(BadReply)? {
        len if !hidden => Ok(Some(Line::Value(len))),
        len if len <= HIDDEN_VALUE_BYTES => Ok(Some(Line::Hidden(len))),
        _ => Err(BadReply),
    }
}

/// The first line of a `VALUE` block.
pub(crate) struct ValueLine<'l> {
    /// The key of the value.
    pub(crate) key: &'l [u8],
    /// Bytes of its data, without the line end.
    pub(crate) data_bytes: u64,
}

/// Reads `VALUE key flags bytes [unique]`.
pub(crate) fn value_of(line: &[u8]) -> Option<ValueLine<'_>> {
    let rest = line.strip_prefix(b"VALUE ")?;
    let (key, rest) = rest.split_at_checked(memchr::memchr(b' ', rest)?)?;
    let mut words = rest.get(1..)?.split(|byte| *byte == b' ');
    let (flags, data_bytes) = (words.next()?, words.next()?);
    let is_valid = !key.is_empty()
        && is_number(flags)
        && words.next().is_none_or(is_number)
        && words.next().is_none();
    is_valid.then_some(ValueLine {
        key,
        data_bytes: value_bytes(data_bytes)?,
    })
}

fn value_bytes(digits: &[u8]) -> Option<u64> {
    if !is_number(digits) {
        return None;
    }
    let value = digits.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    (value <= VALUE_BYTES).then_some(value)
}

fn is_number(digits: &[u8]) -> bool {
    (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// The kind of an error line; `None` if it is none. A server at its limit of connections sends one and closes.
/// No client can make a server send that line: what clients store is always part of a longer line or of a value.
fn classify(line: &[u8]) -> Option<ReplyKind> {
    if line == NO_ROOM {
        return Some(ReplyKind::ServerError);
    }
    [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"]
        .iter()
        .any(|word| {
            let rest = line.strip_prefix(*word);
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b':')))
        })
        .then_some(ReplyKind::Error)
}

#[cfg(test)]
mod tests;
