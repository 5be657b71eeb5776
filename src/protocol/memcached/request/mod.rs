//! Finds the end of a request and the spans that routing needs.
//!
//! A request is one line, and for some commands the number of data bytes that the line specifies. Once the length of
//! the data is known, no error in a request loses the framing: the request is rejected, and its data is skipped as it
//! arrives. This is state of the scanner: a complete frame has to be consumed before the next scan.

pub(crate) mod line;
pub(crate) mod meta;
pub(crate) mod tokens;
pub(crate) mod types;

use bytes::{BufMut, BytesMut};

use crate::protocol::memcached::request::tokens::Words;
pub use crate::protocol::memcached::request::types::{
    Form, KEY_BYTES, META_FLAGS, OPAQUE_BYTES, Refusal, Request, ScanError,
};
use crate::protocol::{Limits, Scan};

/// The maximum length of a line. A server can close a connection over a longer one.
const LINE_BYTES: usize = 2048;

/// The maximum length of a line of `get` and `gets`. memcached takes seconds for much longer ones, since it reads them
/// from the beginning with every packet.
const GET_LINE_BYTES: usize = 1 << 20;

/// The state of the scan of one request.
#[derive(Debug, Default)]
pub struct RequestScanner {
    /// Bytes that contain no line end.
    searched: usize,
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// In the line.
    #[default]
    Line,
    /// In the data of a valid request, which ends at this offset of the frame.
    Data(Request, usize),
    /// After a rejected line: this many data bytes are to be skipped, and the rest of the line in which they end.
    Skip(u64),
}

impl RequestScanner {
    /// Resumes the scan. `bytes` starts with the frame; bytes scanned before are not scanned again.
    pub fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scan<Request>, ScanError> {
        match self.state {
            State::Line => self.scan_line(bytes, limits),
            State::Data(request, end) => Ok(self.scan_data(bytes, request, end)),
            State::Skip(left) => Ok(self.skip(bytes, left)),
        }
    }

    fn scan_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scan<Request>, ScanError> {
        if bytes.first() == Some(&0x80) {
            return Err(ScanError::Binary);
        }
        let unseen = bytes.get(self.searched..).unwrap_or_default();
        let Some(lf) = memchr::memchr(b'\n', unseen) else {
            self.searched = bytes.len();
            check_length(bytes, bytes.len(), limits)?;
            return Ok(Scan::Partial {
                want: bytes.len() + 1,
            });
        };
        let len = self.searched + lf + 1;
        self.searched = 0;
        check_length(bytes, len, limits)?;
        let line = bytes.get(..len - 1).unwrap_or_default();
        let read = line::read(line, limits)?;
        let mut request = Request {
            line_bytes: len,
            ..read.request
        };
        let Some(data) = read.data else {
            return Ok(Scan::Complete {
                found: request,
                len,
            });
        };
        let data_bytes = usize::try_from(data).unwrap_or(usize::MAX);
        if !matches!(request.form, Form::Refused(_))
            && data_bytes > limits.argument_bytes.min(limits.request_bytes)
        {
            request.form = Form::Refused(Refusal::TooLarge);
        }
        if matches!(request.form, Form::Refused(_)) {
            self.state = State::Skip(data);
            return Ok(Scan::Complete {
                found: request,
                len,
            });
        }
        Ok(self.scan_data(bytes, request, len + data_bytes))
    }

    fn scan_data(&mut self, bytes: &[u8], request: Request, end: usize) -> Scan<Request> {
        let (found, len) = match bytes.get(end..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                self.state = State::Line;
                (request, end + 2)
            }
            [] | [b'\r'] => {
                self.state = State::Data(request, end);
                return Scan::Partial { want: end + 2 };
            }
            _ => {
                self.state = State::Skip(0);
                let form = Form::Refused(Refusal::DataChunk);
                (Request { form, ..request }, end)
            }
        };
        Scan::Complete { found, len }
    }

    fn skip(&mut self, bytes: &[u8], left: u64) -> Scan<Request> {
        if bytes.is_empty() {
            return Scan::Partial { want: 1 };
        }
        let data = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let rest = bytes.get(data..).unwrap_or_default();
        let len = if let Some(lf) = memchr::memchr(b'\n', rest) {
            self.state = State::Line;
            data + lf + 1
        } else {
            self.state = State::Skip(left - data as u64);
            bytes.len()
        };
        let found = Request {
            form: Form::Skipped,
            ..Request::default()
        };
        Scan::Complete { found, len }
    }
}

impl Request {
    /// Writes a shorthand in canonical form: single spaces, and the one line end that all versions accept.
    #[inline(never)]
    pub(crate) fn canonicalize(&self, frame: &[u8], out: &mut BytesMut) {
        let (line, data) = frame.split_at_checked(self.line_bytes).unwrap_or_default();
        out.reserve(frame.len() + 1);
        for (at, word) in Words::new(line::trim(line)).enumerate() {
            if at > 0 {
                out.put_u8(b' ');
            }
            out.put_slice(word.of(line));
        }
        out.put_slice(b"\r\n");
        out.put_slice(data);
    }
}

/// Checks the length of a line, complete or not. Servers wait for the end of a long one only for `get` and `gets`.
fn check_length(bytes: &[u8], line_bytes: usize, limits: &Limits) -> Result<(), ScanError> {
    if line_bytes <= LINE_BYTES {
        return Ok(());
    }
    let word = bytes.trim_ascii_start();
    let is_get = word.starts_with(b"get ") || word.starts_with(b"gets ");
    if is_get && line_bytes <= GET_LINE_BYTES.min(limits.request_bytes) {
        return Ok(());
    }
    Err(ScanError::LongLine)
}

#[cfg(test)]
mod tests;
