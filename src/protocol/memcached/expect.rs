//! What a reply can be, and which replies a client asked not to see.

use crate::protocol::memcached::command::Meta;

/// What the reply scanner knows of the request that a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// What the reply can be, apart from an error.
    pub answer: Answer,
    /// Which replies the client does not see.
    pub hush: Noreply,
}

/// The kinds of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Any number of `VALUE` blocks, then `END`.
    Values,
    /// Whether data was stored, in one word.
    Stored,
    /// Whether a value was deleted, in one word.
    Deleted,
    /// Whether a value was touched, in one word.
    Touched,
    /// A number, or `NOT_FOUND`.
    Number,
    /// `VERSION` and what follows it.
    Version,
    /// `OK`.
    Ok,
    /// `OK`, or a line that says why memory cannot be limited so.
    Memlimit,
    /// The two letters of a meta command, with flags behind them; `VA` with a value.
    Meta(Meta),
}

/// Which replies a client asked not to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Noreply {
    /// It sees all.
    #[default]
    None,
    /// The flag `q`: it does not see what it expects.
    Quiet,
    /// `noreply`: it sees nothing, errors included.
    All,
}

impl Answer {
    /// Whether the request brought data.
    pub(crate) fn has_data(self) -> bool {
        matches!(self, Self::Stored | Self::Meta(Meta::Set))
    }

    /// The words that are a reply by themselves.
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
    /// The replies that the flag `q` hides, and those that it does not hide. As memcached 1.6.18 has it.
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
