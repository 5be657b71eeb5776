//! A scanned request, and the errors of one.

use crate::protocol::Span;
use crate::protocol::memcached::command::Command;
use crate::protocol::memcached::expect::Noreply;

/// The maximum length of a key, as in memcached.
pub const KEY_BYTES: usize = 250;

/// The maximum number of flags that memcached 1.6 reads in every meta command. It parses the data of an `ms` with more
/// as commands.
pub const META_FLAGS: usize = 16;

/// The maximum length of an opaque token, including its letter.
pub const OPAQUE_BYTES: usize = 32;

/// The maximum number of arguments of one `get`. The time that memcached spends on a line grows with their square, and
/// all its clients wait.
pub(crate) const KEYS_MOST: usize = 64 << 10;

/// The maximum length of data that any memcached accepts: some versions misread a longer one.
pub(crate) const DATA_BYTES: u64 = (i32::MAX - 2) as u64;

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
    pub noreply: Noreply,
    /// Bytes of the line, including its end.
    pub(crate) line_bytes: usize,
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

impl Request {
    /// Strips a word, with the space before it, from the bytes that servers get.
    pub(crate) fn strip(&mut self, word: Span) {
        self.stripped = Span {
            start: word.start.saturating_sub(1),
            end: word.end,
        };
    }
}
