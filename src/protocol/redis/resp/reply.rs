//! Finds the end of a server's reply as its bytes arrive.
//!
//! The scanner keeps its state in a few counters, so the bytes it has passed may be gone: a large reply is forwarded as
//! it arrives.
//!
//! The types of both RESP versions are accepted on every connection: a server that negotiated RESP2 sends none of
//! RESP3, and one that does so anyway keeps its framing. A push is not a reply, so it cannot be forwarded; no forwarded
//! request causes one, and a server that pushes is out of sync. Redis sends no streamed types.

use crate::protocol::redis::resp::error_line::{ErrorAuthor, error_code};
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::number::Number;
use crate::protocol::{BadReply, Passed, ReplyKind};

/// The maximum length of a status or error line.
const LINE_BYTES: usize = 1 << 20;

/// The maximum length of a bulk string. Redis's own limit is 512 MB unless a server is configured otherwise.
const BULK_BYTES: i64 = 4 << 30;

/// The state of the scan of one reply.
#[derive(Debug)]
pub struct ReplyScanner {
    /// Elements still to come, including the current one.
    pending: u64,
    /// Bytes of a string's body still to come, without its line end.
    body: u64,
    /// True if a body's line end is still to come.
    terminator: bool,
    /// Bytes of an incomplete line that hold no line end.
    searched: usize,
    /// True inside an aggregate: an error within one is a value.
    nested: bool,
    kind: ReplyKind,
}

impl ReplyScanner {
    /// Scans `bytes`, which follow those that were scanned before. An error counts as one of the server's state only if
    /// the server is its `author`.
    pub fn scan(&mut self, bytes: &[u8], author: ErrorAuthor) -> Result<Passed, BadReply> {
        if let Some(len) = self.whole_string(bytes) {
            return Ok(Passed::Whole {
                len,
                kind: ReplyKind::Value,
                hidden_bytes: 0,
            });
        }
        let mut at = 0;
        while self.pending > 0 {
            let Some(used) = self.step(bytes.get(at..).unwrap_or_default(), author)? else {
                return Ok(Passed::Part { len: at });
            };
            at += used;
            if self.body > 0 {
                return Ok(Passed::Part { len: at });
            }
        }
        let kind = self.kind;
        *self = Self::default();
        Ok(Passed::Whole {
            len: at,
            kind,
            hidden_bytes: 0,
        })
    }

    /// The length of a bulk string that is complete: the fast path for nearly all replies.
    #[inline]
    fn whole_string(&self, bytes: &[u8]) -> Option<usize> {
        let (b'$', rest) = bytes.split_first()? else {
            return None;
        };
        if self.terminator || self.nested {
            return None;
        }
        let Number::Line(len @ 0..=BULK_BYTES, used) = number::read(rest) else {
            return None;
        };
        let end = usize::try_from(len).ok()?.checked_add(1 + used + 2)?;
        (bytes.get(end - 2..end)? == b"\r\n").then_some(end)
    }

    /// Scans one token. `None` if more bytes are needed.
    fn step(&mut self, bytes: &[u8], author: ErrorAuthor) -> Result<Option<usize>, BadReply> {
        if self.terminator {
            return self.skip_body(bytes);
        }
        let Some((&kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        match kind {
            b'+' | b'-' | b'_' | b'#' | b',' | b'(' => self.skip_line(kind, bytes, author),
            b'$' | b'*' | b':' | b'%' | b'~' | b'!' | b'=' | b'|' => match number::read(rest) {
                Number::Line(value, used) => self.skip_header(kind, value, bytes, 1 + used),
                Number::Partial => Ok(None),
                Number::Bad => Err(BadReply),
            },
            _ => Err(BadReply),
        }
    }

    /// Skips a number, or a length and the available bytes of its body.
    fn skip_header(
        &mut self,
        kind: u8,
        value: i64,
        bytes: &[u8],
        header: usize,
    ) -> Result<Option<usize>, BadReply> {
        match (kind, value) {
            (b':', _) | (b'$' | b'*', -1) => self.pending -= 1,
            (b'$' | b'!' | b'=', 0..=BULK_BYTES) => {
                if kind == b'!' && !self.nested {
                    self.kind = ReplyKind::Error;
                }
                self.body = value.unsigned_abs();
                self.terminator = true;
                let skipped = self.skip_body(bytes.get(header..).unwrap_or_default())?;
                return Ok(Some(header + skipped.unwrap_or(0)));
            }
            (b'*' | b'~', 0..) => self.enter(value.unsigned_abs(), 1)?,
            (b'%', 0..) => self.enter(value.unsigned_abs(), 2)?,
            // The value with these attributes is still to come.
            (b'|', 0..) => {
                self.pending = self.pending.checked_add(1).ok_or(BadReply)?;
                self.enter(value.unsigned_abs(), 2)?;
            }
            _ => return Err(BadReply),
        }
        Ok(Some(header))
    }

    /// Enters an aggregate of `count` times `each` elements.
    fn enter(&mut self, count: u64, each: u64) -> Result<(), BadReply> {
        self.nested = true;
        self.pending = count
            .checked_mul(each)
            .and_then(|more| more.checked_add(self.pending - 1))
            .ok_or(BadReply)?;
        Ok(())
    }

    fn skip_line(
        &mut self,
        kind: u8,
        bytes: &[u8],
        author: ErrorAuthor,
    ) -> Result<Option<usize>, BadReply> {
        let unseen = bytes.get(self.searched..).unwrap_or_default();
        let Some(lf) = memchr::memchr(b'\n', unseen) else {
            self.searched = bytes.len();
            return if bytes.len() > LINE_BYTES {
                Err(BadReply)
            } else {
                Ok(None)
            };
        };
        let used = self.searched + lf + 1;
        self.searched = 0;
        let line = bytes.get(..used).unwrap_or_default();
        let is_valid = match kind {
            b'_' => line == b"_\r\n",
            b'#' => matches!(line, b"#t\r\n" | b"#f\r\n"),
            _ => line.ends_with(b"\r\n"),
        };
        if !is_valid {
            return Err(BadReply);
        }
        if kind == b'-' && !self.nested {
            self.kind = match author {
                ErrorAuthor::Server if error_code(line).is_server_state() => ReplyKind::ServerError,
                _ => ReplyKind::Error,
            };
        }
        self.pending -= 1;
        Ok(Some(used))
    }

    /// Skips the available bytes of a body and its line end.
    fn skip_body(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadReply> {
        let here = usize::try_from(self.body).map_or(bytes.len(), |body| body.min(bytes.len()));
        self.body -= here as u64;
        match bytes.get(here..here + 2) {
            Some(b"\r\n") => {
                self.terminator = false;
                self.pending -= 1;
                Ok(Some(here + 2))
            }
            Some(_) => Err(BadReply),
            None if here > 0 => Ok(Some(here)),
            None => Ok(None),
        }
    }
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self {
            pending: 1,
            body: 0,
            terminator: false,
            searched: 0,
            nested: false,
            kind: ReplyKind::Value,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";

    fn whole(bytes: &[u8]) -> Result<Passed, BadReply> {
        ReplyScanner::default().scan(bytes, ErrorAuthor::Server)
    }

    #[test]
    fn scanner_accepts_every_reply_type() {
        for (bytes, kind) in [
            ("+OK\r\n", ReplyKind::Value),
            ("-ERR no\r\n", ReplyKind::Error),
            (LOADING, ReplyKind::ServerError),
            ("-LOADING\r\n", ReplyKind::Error),
            ("-BUSYKEY Target key name\r\n", ReplyKind::Error),
            (":-7\r\n", ReplyKind::Value),
            ("$-1\r\n", ReplyKind::Value),
            ("$0\r\n\r\n", ReplyKind::Value),
            ("$4\r\n\r\n\r\n\r\n", ReplyKind::Value),
            ("*-1\r\n", ReplyKind::Value),
            ("*0\r\n", ReplyKind::Value),
            ("*1\r\n-OOM inside is a value\r\n", ReplyKind::Value),
            ("_\r\n", ReplyKind::Value),
            ("#t\r\n", ReplyKind::Value),
            (",-1.5e10\r\n", ReplyKind::Value),
            (",inf\r\n", ReplyKind::Value),
            (
                "(-3492890328409238509324850943850943825024385\r\n",
                ReplyKind::Value,
            ),
            ("!9\r\nSYNTAX a\r\r\n", ReplyKind::Error),
            ("=8\r\ntxt:a\r\nb\r\n", ReplyKind::Value),
            ("~0\r\n", ReplyKind::Value),
            ("~2\r\n_\r\n#f\r\n", ReplyKind::Value),
            ("%0\r\n", ReplyKind::Value),
            (
                "%2\r\n+a\r\n%1\r\n:1\r\n:2\r\n$1\r\nb\r\n_\r\n",
                ReplyKind::Value,
            ),
            ("|1\r\n+ttl\r\n:3600\r\n$1\r\na\r\n", ReplyKind::Value),
            ("*2\r\n:1\r\n|0\r\n!0\r\n\r\n", ReplyKind::Value),
            (
                "*3\r\n*2\r\n:1\r\n*0\r\n$1\r\nx\r\n*1\r\n*-1\r\n",
                ReplyKind::Value,
            ),
        ] {
            let mut more = bytes.as_bytes().to_vec();
            more.extend_from_slice(b"+NEXT\r\n");
            assert_eq!(
                whole(&more),
                Ok(Passed::Whole {
                    len: bytes.len(),
                    kind,
                    hidden_bytes: 0
                }),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn error_line_of_a_script_is_no_state_of_the_server() {
        let scanned = ReplyScanner::default().scan(LOADING.as_bytes(), ErrorAuthor::Script);
        let expected = Passed::Whole {
            len: LOADING.len(),
            kind: ReplyKind::Error,
            hidden_bytes: 0,
        };
        assert_eq!(scanned, Ok(expected));
    }

    #[test]
    fn invalid_replies_are_refused() {
        for bytes in [
            "x",
            ":1x\r\n",
            "+OK\n",
            "$-2\r\n",
            "*-2\r\n",
            "$1\r\nxyz",
            "$3x\r\n",
            "_1\r\n",
            "#\r\n",
            "#x\r\n",
            ",1\n",
            "%-1\r\n",
            "~-1\r\n",
            "|-1\r\n",
            "!-1\r\n",
            "=-1\r\n",
            "$?\r\n",
            "*?\r\n",
            ".\r\n",
            ";1\r\n",
            "%9223372036854775807\r\n%9223372036854775807\r\n",
            "$99999999999\r\n",
            "*9223372036854775807\r\n*9223372036854775807\r\n*9223372036854775807\r\n",
        ] {
            assert_eq!(whole(bytes.as_bytes()), Err(BadReply), "{bytes:?}");
        }
    }

    #[test]
    fn push_is_not_a_reply() {
        for bytes in [">2\r\n$10\r\ninvalidate\r\n_\r\n", "*1\r\n>1\r\n:1\r\n"] {
            assert_eq!(whole(bytes.as_bytes()), Err(BadReply), "{bytes:?}");
        }
    }

    fn reply() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            "[a-zA-Z ]{0,30}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
            "[A-Z]{1,8} [a-z ]{0,30}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
            any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
            prop::sample::select(vec!["$-1", "*-1", "_", "#t", "#f", ",nan", ",1e-7", "(12"])
                .prop_map(|line| format!("{line}\r\n").into_bytes()),
            (
                prop::sample::select(vec!['$', '!', '=']),
                prop::collection::vec(any::<u8>(), 0..200)
            )
                .prop_map(|(kind, body)| {
                    let mut bytes = format!("{kind}{}\r\n", body.len()).into_bytes();
                    bytes.extend_from_slice(&body);
                    bytes.extend_from_slice(b"\r\n");
                    bytes
                }),
        ];
        leaf.prop_recursive(6, 60, 8, |inner| {
            let kinds = prop::sample::select(vec!['*', '~', '%', '|']);
            let elements = prop::collection::vec(inner.clone(), 0..8);
            (kinds, elements, inner).prop_map(|(kind, mut elements, value)| {
                let mut count = elements.len();
                if matches!(kind, '%' | '|') {
                    count /= 2;
                    elements.truncate(count * 2);
                }
                if kind == '|' {
                    elements.push(value);
                }
                let mut bytes = format!("{kind}{count}\r\n").into_bytes();
                bytes.extend(elements.concat());
                bytes
            })
        })
    }

    proptest! {
        #[test]
        fn reply_scan_is_independent_of_chunking(
            reply in reply(),
            pieces in prop::collection::vec(1_usize..60, 1..200),
        ) {
            let mut stream = reply.clone();
            stream.extend_from_slice(b"+NEXT\r\n");
            let mut scanner = ReplyScanner::default();
            let (mut passed, mut there) = (0, 0);
            for piece in pieces.iter().cycle() {
                there = (there + piece).min(stream.len());
                match scanner.scan(&stream[passed..there], ErrorAuthor::Server).unwrap() {
                    Passed::Part { len } => {
                        passed += len;
                        prop_assert!(passed < reply.len());
                    }
                    Passed::Whole { len, .. } => {
                        prop_assert_eq!(passed + len, reply.len());
                        break;
                    }
                }
            }
        }

        #[test]
        fn scanner_does_not_panic_on_garbage(bytes: Vec<u8>) {
            if let Ok(Passed::Whole { len, .. }) = whole(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
