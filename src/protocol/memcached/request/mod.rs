//! Finds the end of a request and the spans that routing needs.
//!
//! A request is one line, and for some commands as many bytes of data as the line says. Once it is known how many data
//! follow, nothing in a request can be so wrong that the stream is lost: it is refused, and its data are skipped as they
//! come. The scanner must know that: what it returns as complete has to be consumed before it is asked again.

pub(crate) mod line;
pub(crate) mod meta;
pub(crate) mod tokens;

use bytes::{BufMut, BytesMut};

use crate::protocol::memcached::command::Command;
use crate::protocol::memcached::expect::Noreply;
use crate::protocol::memcached::request::tokens::Words;
use crate::protocol::{Limits, Scan, Span};

/// Bytes of the longest key, as in memcached.
pub const KEY_BYTES: usize = 250;

/// The most flags that memcached 1.6 reads in every meta command. It takes the data of an `ms` with more for commands.
pub const META_FLAGS: usize = 16;

/// Bytes of the longest opaque token, its letter counted.
pub const OPAQUE_BYTES: usize = 32;

/// Bytes of the longest line. A server can close a connection over a longer one.
const LINE_BYTES: usize = 2048;

/// Bytes of the longest line of `get` and `gets`. memcached takes seconds for much longer ones, since it reads them from
/// the beginning with every piece that comes.
const GET_LINE_BYTES: usize = 1 << 20;

/// Arguments of one `get`. memcached spends time on a line by the square of their number, and all its clients wait.
const KEYS_MOST: usize = 64 << 10;

/// The most data that any memcached takes: what is longer makes some read another number.
const DATA_BYTES: u64 = (i32::MAX - 2) as u64;

/// A scanned request: where things lie, no bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// What stands in the frame.
    pub form: Form,
    /// The command, if the table knows it.
    pub command: Option<&'static Command>,
    /// The first key, as the line has it.
    pub key: Span,
    /// Whether more keys follow the first.
    pub has_more_keys: bool,
    /// Whether the key is in base64.
    pub is_encoded: bool,
    /// Whether the reply has the key in it, as the flag `k` asks for and `me` always does.
    pub shows_key: bool,
    /// What would have a server send no reply.
    pub stripped: Span,
    /// Which replies the client does not want to see.
    pub hush: Noreply,
    /// Bytes of the line, its end counted.
    line_bytes: usize,
}

/// What stands in a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// A request as servers read it.
    #[default]
    Plain,
    /// A request with spare spaces, or with another line end: it is written anew before it is forwarded.
    Shorthand,
    /// A request that is refused. If data follow, they come in frames of their own.
    Refused(Refusal),
    /// Data of a request that was refused.
    Skipped,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No command has this name.
    Unknown,
    /// The table says no.
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
    /// The key is not in base64, though the request says so.
    Base64,
    /// A key with a line feed would stand in the reply, and a server may write it as it is.
    LineFeed,
    /// The flags are no number, or too large.
    Flags,
    /// The time of a value to store is no number, or too large.
    StoreExptime,
    /// A time is no number, or too large.
    Exptime,
    /// The unique number is none.
    Unique,
    /// The number to add is none.
    Delta,
    /// `delete` has a time.
    Delete,
    /// The level of the log is none.
    Level,
    /// The limit of memory is none.
    Megabytes,
    /// `stats` has an argument.
    StatsArgument,
    /// A meta flag is no letter, or cannot be forwarded.
    MetaFlag,
    /// A meta flag is there twice.
    MetaDuplicate,
    /// There are too many meta flags.
    MetaMany,
    /// The opaque token is too long.
    MetaOpaque,
    /// The data is not followed by a line end.
    DataChunk,
    /// The data is beyond the limit.
    TooLarge,
}

/// Why the framing of a client's bytes is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// The client speaks memcached's binary protocol.
    Binary,
    /// The client speaks HTTP.
    Http,
    /// No line end within the longest line.
    LongLine,
    /// Data follow, and it is not said how many.
    NoLength,
    /// Data follow, and how many is no plain number.
    BadLength,
    /// Data follow, more than any server takes. To wait for so much would look like a server that hangs.
    HugeLength,
}

/// Where the scan of one request stands.
#[derive(Debug, Default)]
pub struct RequestScanner {
    /// Bytes that hold no line end.
    searched: usize,
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// In the line.
    #[default]
    Line,
    /// In the data of a request that is in order so far, which end at this place of the frame.
    Data(Request, usize),
    /// Behind a refused line: so many data are to be skipped, and what is left of the line they end in.
    Skip(u64),
}

impl RequestScanner {
    /// Resumes the scan. `bytes` starts with the frame; what was scanned before is not looked at again.
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
    /// Writes a shorthand as servers read it: single spaces, and the one line end that all versions know.
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

/// Whether a line that has so many bytes, or more, is not too long. Only for `get` and `gets` servers wait for the end.
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
