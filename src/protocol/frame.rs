//! Frames and their scan: the spans of a request, and the result of scanning one or a reply.

/// A range of bytes within one frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte from the start of the frame.
    pub start: usize,
    /// Offset just past the last byte.
    pub end: usize,
}

impl Span {
    /// Its length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Returns true if it covers nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The bytes of `frame` that this span covers; empty where it lies outside.
    #[must_use]
    pub fn of(self, frame: &[u8]) -> &[u8] {
        frame.get(self.start..self.end).unwrap_or_default()
    }
}

/// One unit of a request that can be split: a key, with all the bytes that travel with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeySpan {
    /// The key alone, which is hashed.
    pub key: Span,
    /// The encoded bytes that a fragment repeats for this key (for MSET: key and value).
    pub unit: Span,
}

/// The keys of a request that a fragment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of keys.
    pub keys: usize,
    /// True if the first key of the request is among them.
    pub has_first: bool,
}

/// The result of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan<T> {
    /// The frame ends `len` bytes after its start.
    Complete {
        /// The parsed frame.
        found: T,
        /// Bytes of the whole frame.
        len: usize,
    },
    /// More bytes are needed; `want` is the least number of bytes that the whole frame is now known to have.
    Partial {
        /// Known lower bound of the frame's length, from its start.
        want: usize,
    },
}

/// The result of a scan of a reply. The bytes that it passed are not needed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The reply ends after `len` bytes.
    Whole {
        /// Bytes to the end of the reply.
        len: usize,
        /// The kind of the reply.
        kind: ReplyKind,
        /// Bytes at its end that the client does not get. All are those of lines, so they are few; with 32 bits the whole
        /// is returned in registers.
        hidden_bytes: u32,
    },
    /// `len` bytes belong to the reply, and more are to come.
    Part {
        /// Bytes that can be forwarded already.
        len: usize,
    },
}

/// The kind of a reply: a value, or the failure of a request or of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// A value.
    Value,
    /// An error of the request.
    Error,
    /// An error of the server's state (out of memory, loading, busy): counts as a failure of the server.
    ServerError,
}

/// The server's bytes are no reply of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadReply;
