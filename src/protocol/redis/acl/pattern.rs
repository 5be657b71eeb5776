//! Patterns of keys and channels.

use crate::protocol::redis::resp::glob;

/// A pattern, as Redis matches it. Most are a prefix and a star, which need no matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<[u8]>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Literal,
    /// All but the last byte is a prefix of at least one byte.
    Prefix,
    Glob,
}

impl Pattern {
    pub(crate) fn new(text: &[u8]) -> Self {
        let is_special = |byte: &u8| b"*?[\\".contains(byte);
        let kind = match text.iter().position(is_special) {
            None => Kind::Literal,
            // A star alone does not match an empty name, and a prefix would.
            Some(at) if at > 0 && at + 1 == text.len() && text.ends_with(b"*") => Kind::Prefix,
            Some(_) => Kind::Glob,
        };
        Self {
            text: text.into(),
            kind,
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        match (self.kind, &*self.text) {
            (Kind::Literal, text) => text == name,
            (Kind::Prefix, [prefix @ .., _]) => name.starts_with(prefix),
            (_, text) => glob::matches(text, name),
        }
    }
}
