//! Finds the end of a request and the spans that routing needs.
//!
//! A request is one line, and for some commands the number of data bytes that the line specifies. Once the length of
//! the data is known, no error in a request loses the framing: the request is rejected, and its data is skipped as it
//! arrives. This is state of the scanner: a complete frame has to be consumed before the next scan.

pub(crate) mod line;
pub(crate) mod meta;
pub(crate) mod tokens;

use bytes::{BufMut, BytesMut};

use crate::protocol::memcached::command::Command;
use crate::protocol::memcached::expect::Noreply;
use crate::protocol::memcached::request::tokens::Words;
use crate::protocol::{Limits, Scan, Span};

/// The maximum length of a key, as in memcached.
pub const KEY_BYTES: usize = 250;

/// The maximum number of flags that memcached 1.6 reads in every meta command. It parses the data of an `ms` with more
/// as commands.
pub const META_FLAGS: usize = 16;

/// The maximum length of an opaque token, including its letter.
pub const OPAQUE_BYTES: usize = 32;

/// The maximum length of a line. A server can close a connection over a longer one.
const LINE_BYTES: usize = 2048;

/// The maximum length of a line of `get` and `gets`. memcached takes seconds for much longer ones, since it reads them
/// from the beginning with every packet.
const GET_LINE_BYTES: usize = 1 << 20;

/// The maximum number of arguments of one `get`. The time that memcached spends on a line grows with their square, and
/// all its clients wait.
const KEYS_MOST: usize = 64 << 10;

/// The maximum length of data that any memcached accepts: some versions misread a longer one.
const DATA_BYTES: u64 = (i32::MAX - 2) as u64;

/// A scanned request: spans, no bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// The form of the frame.
    pub form: Form,
    /// The command, if the table knows it.
    pub command: Option<&'static Command>,
    /// The first key, as the line has it.
    pub key: Span,
    /// True if more keys follow the first.
    pub has_more_keys: bool,
    /// True if the key is in base64.
    pub is_encoded: bool,
    /// True if the reply contains the key, as with the flag `k` and always with `me`.
    pub shows_key: bool,
    /// The word that would suppress the server's reply.
    pub stripped: Span,
    /// The replies that the client suppressed.
    pub hush: Noreply,
    /// Bytes of the line, including its end.
    line_bytes: usize,
}

/// The form of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// A request in the canonical form.
    #[default]
    Plain,
    /// A request with extra spaces, or with another line end: it is rewritten before it is forwarded.
    Shorthand,
    /// A rejected request. If data follows, it comes in separate frames.
    Refused(Refusal),
    /// Data of a rejected request.
    Skipped,
}

/// The reason why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No command has this name.
    Unknown,
    /// The command is not supported.
    Unsupported,
    /// Arguments are missing.
    Incomplete,
    /// There are more arguments than the command takes.
    ManyArguments,
    /// There are more keys than the limit.
    ManyKeys,
    /// NUL or CR: some servers would end the line there.
    Control,
    /// The key is too long.
    LongKey,
    /// The key is not base64, though the request has the flag `b`.
    Base64,
    /// A key with a line feed would be part of the reply, and a server may write it verbatim.
    LineFeed,
    /// The flags are not a number, or too large.
    Flags,
    /// The expiry time of a value to store is not a number, or too large.
    StoreExptime,
    /// An expiry time is not a number, or too large.
    Exptime,
    /// The CAS unique is not a number.
    Unique,
    /// The delta is not a number.
    Delta,
    /// `delete` has an expiry time.
    Delete,
    /// The verbosity level is not a number.
    Level,
    /// The limit of memory is not a number.
    Megabytes,
    /// `stats` has an argument.
    StatsArgument,
    /// A meta flag is not a letter, or cannot be forwarded.
    MetaFlag,
    /// A meta flag is repeated.
    MetaDuplicate,
    /// There are too many meta flags.
    MetaMany,
    /// The opaque token is too long.
    MetaOpaque,
    /// The data is not followed by a line end.
    DataChunk,
    /// The data exceeds the limit.
    TooLarge,
}

/// The reason why the framing of a client is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// The client uses memcached's binary protocol.
    Binary,
    /// The client uses HTTP.
    Http,
    /// No line end within the maximum length.
    LongLine,
    /// Data follows, and its length is missing.
    NoLength,
    /// Data follows, and its length is not a plain number.
    BadLength,
    /// Data follows, more than any server accepts. Waiting for all of it would look like a server that hangs.
    HugeLength,
}

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
