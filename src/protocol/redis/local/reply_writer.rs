//! Encoding of replies in a client's RESP version.
//!
//! Every local reply is written once, in the types of RESP3.

use std::fmt::Display;

use bytes::BytesMut;

use crate::protocol::redis::command::Command;
use crate::protocol::redis::error::{write_arity, write_error, write_refused};
use crate::protocol::redis::resp::encode;
use crate::protocol::redis::resp::version::Resp;

/// The writer of the reply to one request.
#[derive(Debug)]
pub(crate) struct Reply<'o> {
    resp: Resp,
    out: &'o mut BytesMut,
}

impl<'o> Reply<'o> {
    pub(crate) const fn new(resp: Resp, out: &'o mut BytesMut) -> Self {
        Self { resp, out }
    }

    /// Continues in another version.
    pub(crate) const fn switch(&mut self, resp: Resp) {
        self.resp = resp;
    }

    pub(crate) fn simple(&mut self, text: &str) {
        encode::write_simple(text, self.out);
    }

    pub(crate) fn integer(&mut self, number: impl Display) {
        encode::write_integer(number, self.out);
    }

    pub(crate) fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        encode::write_bulk(bytes.as_ref(), self.out);
    }

    /// Writes a number with a fraction, as text.
    pub(crate) fn double(&mut self, text: &str) {
        encode::write_double(self.resp, text, self.out);
    }

    /// Writes text for people: a verbatim string, in RESP2 a bulk string.
    pub(crate) fn verbatim(&mut self, text: &str) {
        encode::write_verbatim(self.resp, text, self.out);
    }

    pub(crate) fn null(&mut self) {
        encode::write_null(self.resp, self.out);
    }

    /// Writes the header of an array of `len` elements.
    pub(crate) fn array(&mut self, len: usize) {
        encode::write_header(b'*', len, self.out);
    }

    /// Writes the header of an unordered set of `len` elements: an array in RESP2.
    pub(crate) fn set(&mut self, len: usize) {
        encode::write_set_header(self.resp, len, self.out);
    }

    /// Writes the header of a map of `pairs` keys and values: an array of twice as many in RESP2.
    pub(crate) fn map(&mut self, pairs: usize) {
        encode::write_map_header(self.resp, pairs, self.out);
    }

    /// Writes `-ERR` and a text.
    pub(crate) fn error(&mut self, text: &str) {
        write_error(text, self.out);
    }

    /// Writes an error whose code is part of `parts`.
    pub(crate) fn error_line(&mut self, parts: &[&[u8]]) {
        encode::write_error_line(parts, self.out);
    }

    /// Writes the error for a wrong number of arguments.
    pub(crate) fn arity(&mut self, command: &Command) {
        write_arity(command, self.out);
    }

    /// Writes the error for an unsupported `command`, with the reason.
    pub(crate) fn refused(&mut self, command: &Command) {
        write_refused(command, self.out);
    }
}
