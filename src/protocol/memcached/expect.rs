//! The possible replies to a request, and those that the client suppressed.

use crate::protocol::memcached::command::Meta;

/// The context of the reply scanner: the request that a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// The possible replies, apart from an error.
    pub answer: Answer,
    /// The replies that the client suppressed.
    pub noreply: Noreply,
}

/// The kinds of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Any number of `VALUE` blocks, then `END`.
    Values,
    /// The result of a store, in one word.
    Stored,
    /// The result of a delete, in one word.
    Deleted,
    /// The result of a touch, in one word.
    Touched,
    /// A number, or `NOT_FOUND`.
    Number,
    /// `VERSION` and what follows it.
    Version,
    /// `OK`.
    Ok,
    /// `OK`, or a line with the reason why memory cannot be limited so.
    Memlimit,
    /// The two letters of a meta command, followed by flags; `VA` with a value.
    Meta(Meta),
}

/// The replies that a client suppressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Noreply {
    /// None.
    #[default]
    None,
    /// The flag `q`: the expected replies.
    Quiet,
    /// The flag `q` where the codes do not tell which replies memcached hides: it hides them itself, and `mn` follows
    /// the request.
    ByServer,
    /// `noreply`: all, errors included.
    All,
}

impl Answer {
    /// Returns true if the request has data.
    pub(crate) fn has_data(self) -> bool {
        matches!(self, Self::Stored | Self::Meta(Meta::Set))
    }

    /// The words that are a complete reply.
    pub(crate) fn words(self) -> &'static [&'static [u8]] {
        match self {
            Self::Values => &[b"END"],
            Self::Stored => &[b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND"],
            Self::Deleted => &[b"DELETED", b"NOT_FOUND"],
            Self::Touched => &[b"TOUCHED", b"NOT_FOUND"],
            Self::Number => &[b"NOT_FOUND"],
            Self::Ok | Self::Memlimit => &[b"OK"],
            Self::Version | Self::Meta(_) => &[],
        }
    }
}

/// Replies of a meta command, by their two letters.
pub(crate) type Codes = &'static [&'static [u8; 2]];

impl Meta {
    /// The replies that the flag `q` suppresses, and those that it does not, as in memcached 1.6.18.
    pub(crate) fn codes(self) -> (Codes, Codes) {
        match self {
            Self::Get => (&[b"EN"], &[b"VA", b"HD"]),
            Self::Set => (&[b"HD"], &[b"NS", b"EX", b"NF"]),
            Self::Delete => (&[b"HD"], &[b"NF", b"EX"]),
            Self::Arithmetic => (&[b"HD", b"VA"], &[b"NF", b"NS", b"EX"]),
            Self::Debug => (&[], &[b"ME", b"EN"]),
        }
    }
}
