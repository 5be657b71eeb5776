//! Finds the end of a request and the spans that routing needs.
//!
//! Flat and resumable: the scanner remembers the argument where it stopped, so no byte of partial input is scanned
//! twice.

use std::num::NonZeroUsize;

use crate::protocol::redis::command::{Command, index};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::number::Number;
use crate::protocol::redis::resp::scan_error::ScanError;
use crate::protocol::{Limits, Scan, Span};
use crate::stats::CommandId;

/// The maximum length of an inline request, as in Redis (`PROTO_INLINE_MAX_SIZE`).
const INLINE_BYTES: usize = 64 << 10;

/// A scanned request: spans, no bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// The command, if the table knows it.
    pub command: Option<&'static Command>,
    /// Its position in the table.
    pub row: CommandId,
    /// True if it has subcommands.
    pub is_parent: bool,
    /// Arguments, including the name.
    pub argc: usize,
    /// The command's name.
    pub name: Span,
    /// The key of a command with exactly one, always at the same position.
    pub key: Option<Span>,
    /// The form of the frame.
    pub form: Form,
}

/// The form of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// An array of bulk strings.
    #[default]
    Array,
    /// Empty (`*0`, an empty line): Redis skips it without a reply.
    Empty,
    /// An inline request: a line of words.
    Inline,
}

/// Bytes of an unknown name that statistics are given: more than they keep.
const UNKNOWN_BYTES: usize = 64;

impl Request {
    /// The position of its command, or of its subcommand.
    #[inline]
    pub(crate) fn id(&self, frame: &[u8]) -> CommandId {
        if self.is_parent {
            return self.subcommand(frame);
        }
        self.row
    }

    #[cold]
    fn subcommand(&self, frame: &[u8]) -> CommandId {
        let name = Args::new(frame).nth(1).unwrap_or_default();
        let parent = self.command;
        parent.map_or(self.row, |parent| parent.id_of_subcommand(self.row, name))
    }

    /// Writes its name, with that of a subcommand if only that is unknown.
    pub(crate) fn write_unknown_name(&self, frame: &[u8], name: &mut Vec<u8>) {
        let words = if self.is_parent { 2 } else { 1 };
        for (nth, word) in Args::new(frame).take(words).enumerate() {
            if nth > 0 {
                name.push(b'|');
            }
            name.extend(word.iter().take(UNKNOWN_BYTES).map(u8::to_ascii_uppercase));
        }
    }
}

/// Scans one request after the other.
#[derive(Debug, Default)]
pub struct RequestScanner {
    /// The request that is still incomplete.
    partial: Option<Progress>,
}

/// The state of the scan of one request. A separate value, so that a request that has arrived completely, as nearly all
/// have, is scanned in registers.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    at: usize,
    /// Arguments that are not yet scanned; `None` before the header.
    left: Option<NonZeroUsize>,
    /// The span of the incomplete argument, without its line end.
    body: Option<Span>,
    key_at: usize,
    found: Request,
}

impl RequestScanner {
    /// Resumes the scan. `bytes` starts with the frame; bytes scanned before are not scanned again.
    pub fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scan<Request>, ScanError> {
        let mut progress = self.partial.take().unwrap_or_default();
        let outcome = match bytes.first() {
            None => Ok(Scan::Partial { want: 1 }),
            Some(b'*') => progress.scan_array(bytes, limits),
            Some(_) => progress.scan_inline(bytes),
        };
        if let Ok(Scan::Partial { .. }) = outcome {
            self.partial = Some(progress);
        }
        outcome
    }
}

impl Progress {
    #[inline]
    fn scan_array(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scan<Request>, ScanError> {
        let mut left = match self.left.or_else(|| self.begin(bytes)) {
            Some(left) => left,
            None => match number::read(bytes.get(1..).unwrap_or_default()) {
                Number::Partial => {
                    return Ok(Scan::Partial {
                        want: bytes.len() + 1,
                    });
                }
                Number::Bad => return Err(ScanError::Multibulk),
                Number::Line(count, used) => {
                    self.at = 1 + used;
                    let count = usize::try_from(count).unwrap_or(0);
                    if count > limits.arguments {
                        return Err(if limits.before_auth {
                            ScanError::UnauthenticatedMultibulk
                        } else {
                            ScanError::Multibulk
                        });
                    }
                    self.found.argc = count;
                    let Some(left) = NonZeroUsize::new(count) else {
                        let found = Request {
                            form: Form::Empty,
                            ..Request::default()
                        };
                        return Ok(Scan::Complete {
                            found,
                            len: self.at,
                        });
                    };
                    left
                }
            },
        };
        loop {
            self.left = Some(left);
            let body = match self.body {
                Some(body) => body,
                None => match self.scan_header(bytes, limits)? {
                    Some(body) => body,
                    // Each remaining argument takes at least `$0\r\n\r\n`.
                    None => {
                        return Ok(Scan::Partial {
                            want: bytes.len() + 1,
                        });
                    }
                },
            };
            let after = body.end + 2;
            match bytes.get(body.end..after) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ScanError::Terminator),
                None => {
                    self.body = Some(body);
                    return Ok(Scan::Partial { want: after });
                }
            }
            self.body = None;
            self.at = after;
            self.note(bytes, body, self.found.argc - left.get());
            match NonZeroUsize::new(left.get() - 1) {
                Some(fewer) => left = fewer,
                None => {
                    return Ok(Scan::Complete {
                        found: self.found,
                        len: self.at,
                    });
                }
            }
        }
    }

    /// Fast path for the start of nearly all requests: `*`, one digit, `$`, one digit, and the name. Returns the number
    /// of remaining arguments; `None`, with the state unchanged, if there are none or the start differs.
    #[inline]
    fn begin(&mut self, bytes: &[u8]) -> Option<NonZeroUsize> {
        let [
            b'*',
            argc @ b'2'..=b'9',
            b'\r',
            b'\n',
            b'$',
            len @ b'1'..=b'9',
            b'\r',
            b'\n',
            rest @ ..,
        ] = bytes
        else {
            return None;
        };
        let (start, len) = (8, usize::from(len - b'0'));
        if rest.get(len..len + 2) != Some(b"\r\n") {
            return None;
        }
        self.found.argc = usize::from(argc - b'0');
        self.at = start + len + 2;
        self.note(
            bytes,
            Span {
                start,
                end: start + len,
            },
            0,
        );
        NonZeroUsize::new(self.found.argc - 1)
    }

    /// Reads `$len\r\n` at the current offset.
    #[inline]
    fn scan_header(&self, bytes: &[u8], limits: &Limits) -> Result<Option<Span>, ScanError> {
        let header = match bytes.get(self.at..).and_then(<[u8]>::split_first) {
            None => return Ok(None),
            Some((b'$', header)) => header,
            Some((&other, _)) => return Err(ScanError::ExpectedDollar(other)),
        };
        match number::read(header) {
            Number::Partial => Ok(None),
            Number::Bad => Err(ScanError::Bulk),
            Number::Line(len, used) => {
                let len = usize::try_from(len).map_err(|_| ScanError::Bulk)?;
                if len > limits.argument_bytes {
                    return Err(if limits.before_auth {
                        ScanError::UnauthenticatedBulk
                    } else {
                        ScanError::Bulk
                    });
                }
                let start = self.at + 1 + used;
                if start + len > limits.request_bytes {
                    return Err(ScanError::TooLarge);
                }
                Ok(Some(Span {
                    start,
                    end: start + len,
                }))
            }
        }
    }

    #[inline]
    fn note(&mut self, bytes: &[u8], argument: Span, index: usize) {
        if index == 0 {
            self.found.name = argument;
            if let Some(slot) = index::find(argument.of(bytes)) {
                self.found.command = slot.command;
                self.found.row = slot.id;
                self.found.is_parent = slot.is_parent;
            }
            self.key_at = self
                .found
                .command
                .and_then(Command::single_key)
                .unwrap_or(0);
        } else if index == self.key_at {
            self.found.key = Some(argument);
        }
    }

    fn scan_inline(&mut self, bytes: &[u8]) -> Result<Scan<Request>, ScanError> {
        let unseen = bytes.get(self.at..).unwrap_or_default();
        let Some(lf) = memchr::memchr(b'\n', unseen) else {
            self.at = bytes.len();
            if bytes.len() > INLINE_BYTES {
                return Err(ScanError::InlineTooLong);
            }
            return Ok(Scan::Partial {
                want: bytes.len() + 1,
            });
        };
        let len = self.at + lf + 1;
        let line = bytes.get(..len).unwrap_or_default();
        let form = if line.trim_ascii().is_empty() {
            Form::Empty
        } else {
            Form::Inline
        };
        Ok(Scan::Complete {
            found: Request {
                form,
                ..Request::default()
            },
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Scan<Request>, ScanError> {
        RequestScanner::default().scan(bytes, &Limits::default())
    }

    fn encode(args: &[Vec<u8>]) -> Vec<u8> {
        let mut frame = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            frame.extend_from_slice(arg);
            frame.extend_from_slice(b"\r\n");
        }
        frame
    }

    #[test]
    fn scan_finds_command_and_key() {
        let frame = b"*3\r\n$3\r\nset\r\n$3\r\nfoo\r\n$5\r\nhello\r\nrest";
        let Ok(Scan::Complete { found, len }) = scan(frame) else {
            panic!("incomplete")
        };
        assert_eq!(len, frame.len() - 4);
        assert_eq!(found.command.unwrap().name, "SET");
        assert_eq!(found.key.unwrap().of(frame), b"foo");
        assert_eq!(found.argc, 3);
    }

    #[test]
    fn framing_error_is_named() {
        for (bytes, error) in [
            ("*x\r\n", ScanError::Multibulk),
            ("*1048577\r\n", ScanError::Multibulk),
            ("*99999999999999999999999", ScanError::Multibulk),
            ("*1\r\n+PING\r\n", ScanError::ExpectedDollar(b'+')),
            ("*1\r\n$-1\r\n", ScanError::Bulk),
            ("*1\r\n$536870913\r\n", ScanError::Bulk),
            ("*1\r\n$4294967297\r\n", ScanError::Bulk),
            ("*1\r\n$4\r\nPINGxx", ScanError::Terminator),
            ("*1\r\n$4\nPING\r\n", ScanError::Bulk),
        ] {
            assert_eq!(scan(bytes.as_bytes()).unwrap_err(), error, "{bytes:?}");
        }
        assert_eq!(
            scan(&vec![b'a'; INLINE_BYTES + 1]).unwrap_err(),
            ScanError::InlineTooLong
        );
    }

    #[test]
    fn empty_requests_are_skipped_and_lines_are_inline() {
        for (bytes, form, expected_len) in [
            ("*0\r\nrest", Form::Empty, 4),
            ("*-1\r\n", Form::Empty, 5),
            ("\r\n", Form::Empty, 2),
            ("  \nPING\r\n", Form::Empty, 3),
            ("PING\r\n*1", Form::Inline, 6),
            ("GET a\n", Form::Inline, 6),
        ] {
            let Ok(Scan::Complete { found, len }) = scan(bytes.as_bytes()) else {
                panic!("{bytes:?}")
            };
            assert_eq!((found.form, len), (form, expected_len), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn request_scan_is_independent_of_chunking(
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
            cuts in prop::collection::vec(0_usize..400, 0..12),
        ) {
            let frame = encode(&args);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % frame.len()).collect();
            cuts.sort_unstable();
            let mut scanner = RequestScanner::default();
            for cut in cuts {
                match scanner.scan(&frame[..cut], &Limits::default()).unwrap() {
                    Scan::Partial { want } => prop_assert!(want > cut && want <= frame.len()),
                    Scan::Complete { .. } => prop_assert!(false, "complete at {cut}"),
                }
            }
            let Scan::Complete { found, len } =
                scanner.scan(&frame, &Limits::default()).unwrap() else {
                return Err(TestCaseError::fail("incomplete"));
            };
            prop_assert_eq!(len, frame.len());
            prop_assert_eq!(found.argc, args.len());
            prop_assert_eq!(found.name.of(&frame), &args[0][..]);
        }

        #[test]
        fn scanner_survives_garbage_and_stays_in_bounds(bytes: Vec<u8>) {
            if let Ok(Scan::Complete { len, .. }) = scan(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
