//! Writing replies in the version of RESP that a client speaks, and reading the numbers of clients.
//!
//! Every local reply is written once, in the words of RESP3; [`Reply`] alone knows how these read in RESP2.

use std::fmt::{Display, Write};

use bytes::{BufMut, BytesMut};

use crate::protocol::redis::command::Command;
use crate::protocol::redis::error::{write_arity, write_error, write_line, write_refused};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resp {
    /// What every client starts with.
    #[default]
    Two,
    /// What `HELLO 3` asks for.
    Three,
}

impl Resp {
    /// The version of that number, if it is offered.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        [Self::Two, Self::Three]
            .into_iter()
            .find(|resp| resp.number() == number)
    }

    /// Its number in `HELLO`.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// The reply to one request, as it is written.
#[derive(Debug)]
pub(crate) struct Reply<'o> {
    resp: Resp,
    out: &'o mut BytesMut,
}

impl<'o> Reply<'o> {
    pub(crate) const fn new(resp: Resp, out: &'o mut BytesMut) -> Self {
        Self { resp, out }
    }

    /// Goes on in another version.
    pub(crate) const fn switch(&mut self, resp: Resp) {
        self.resp = resp;
    }

    pub(crate) fn simple(&mut self, text: &str) {
        self.line('+', text);
    }

    pub(crate) fn integer(&mut self, number: impl Display) {
        self.line(':', number);
    }

    pub(crate) fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.line('$', bytes.len());
        self.out.put_slice(bytes);
        self.out.put_slice(b"\r\n");
    }

    /// Text for people: a verbatim string, in RESP2 a bulk string.
    pub(crate) fn verbatim(&mut self, text: &str) {
        match self.resp {
            Resp::Two => self.bulk(text),
            Resp::Three => {
                const KIND: &str = "txt:";
                self.line('=', KIND.len() + text.len());
                self.out.put_slice(KIND.as_bytes());
                self.out.put_slice(text.as_bytes());
                self.out.put_slice(b"\r\n");
            }
        }
    }

    pub(crate) fn null(&mut self) {
        self.out.put_slice(match self.resp {
            Resp::Two => b"$-1\r\n",
            Resp::Three => b"_\r\n",
        });
    }

    /// Announces `len` elements.
    pub(crate) fn array(&mut self, len: usize) {
        self.line('*', len);
    }

    /// Announces `len` elements whose order says nothing: an array in RESP2.
    pub(crate) fn set(&mut self, len: usize) {
        match self.resp {
            Resp::Two => self.array(len),
            Resp::Three => self.line('~', len),
        }
    }

    /// Announces `pairs` of a key and a value: an array of twice as many in RESP2.
    pub(crate) fn map(&mut self, pairs: usize) {
        match self.resp {
            Resp::Two => self.array(pairs * 2),
            Resp::Three => self.line('%', pairs),
        }
    }

    /// `-ERR` and a text.
    pub(crate) fn error(&mut self, text: &str) {
        write_error(text, self.out);
    }

    /// An error whose first word is part of `parts`.
    pub(crate) fn error_line(&mut self, parts: &[&[u8]]) {
        write_line(parts, self.out);
    }

    /// That `command` takes more or fewer arguments.
    pub(crate) fn arity(&mut self, command: &Command) {
        write_arity(command, self.out);
    }

    /// That `command` is not offered, and why.
    pub(crate) fn refused(&mut self, command: &Command) {
        write_refused(command, self.out);
    }

    fn line(&mut self, kind: char, rest: impl Display) {
        // Writing to a buffer that grows cannot fail.
        let _ = write!(self.out, "{kind}{rest}\r\n");
    }
}

/// A whole number as Redis reads an argument: decimal, without a plus sign or zeros in front.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if text != b"0" && matches!(digits.first(), Some(b'0' | b'+')) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}
