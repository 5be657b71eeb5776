//! The text of a key, bounded in length.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::text::is_unseen;

/// The maximum number of bytes of a key that are kept.
pub const KEY_BYTES: usize = 128;

/// The bytes of a short key, which is kept without an allocation.
const SHORT_BYTES: usize = 48;

/// Calls its argument with each key of a request.
pub type VisitKeys<'a> = dyn Fn(&mut dyn FnMut(&[u8])) + 'a;

/// A key, or its start.
#[derive(Clone)]
pub struct KeyText {
    short: [u8; SHORT_BYTES],
    /// The bytes of one that is not short.
    long: Vec<u8>,
    /// The number of bytes that are kept: at most [`KEY_BYTES`].
    kept: usize,
    /// The length of the whole key.
    whole_bytes: usize,
}

impl Default for KeyText {
    fn default() -> Self {
        Self {
            short: [0; SHORT_BYTES],
            long: Vec::new(),
            kept: 0,
            whole_bytes: 0,
        }
    }
}

impl KeyText {
    /// The text of a key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut text = Self::default();
        text.set(key);
        text
    }

    /// As [`Self::new`], in capital letters.
    #[must_use]
    pub fn capitals(name: &[u8]) -> Self {
        let mut text = Self::new(name);
        text.short.make_ascii_uppercase();
        text.long.make_ascii_uppercase();
        text
    }

    /// Becomes that of another key, in the same memory.
    pub(super) fn set(&mut self, key: &[u8]) {
        let start = key.get(..KEY_BYTES).unwrap_or(key);
        self.kept = start.len();
        self.whole_bytes = key.len();
        if let Some(short) = self.short.get_mut(..start.len()) {
            short.copy_from_slice(start);
        } else {
            self.long.clear();
            self.long.extend_from_slice(start);
        }
    }

    /// Its bytes, at most [`KEY_BYTES`].
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.short.get(..self.kept).unwrap_or(&self.long)
    }

    /// Returns true if these are not all its bytes.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.kept < self.whole_bytes
    }

    /// The text for people and for JSON, its unprintable bytes escaped.
    #[must_use]
    pub fn escaped(&self) -> String {
        escaped(self.bytes())
    }
}

impl PartialEq for KeyText {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for KeyText {}

impl PartialOrd for KeyText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyText {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_bytes = self.bytes().cmp(other.bytes());
        by_bytes.then(self.whole_bytes.cmp(&other.whole_bytes))
    }
}

impl Hash for KeyText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
        self.whole_bytes.hash(state);
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyText").field(&self.escaped()).finish()
    }
}

/// Bytes as text: printable UTF-8 as it is, but for backslashes; everything else escaped as in a Rust byte string.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || is_unseen(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_key_is_marked_as_truncated() {
        let whole = [b'k'; KEY_BYTES];
        assert!(!KeyText::new(&whole).is_truncated());
        let long = KeyText::new(&[&whole[..], b"!"].concat());
        assert!(long.is_truncated());
        assert_eq!(long.bytes(), whole);
    }

    #[test]
    fn text_of_another_key_is_as_good_as_new() {
        let mut text = KeyText::default();
        for len in [0, 5, SHORT_BYTES, SHORT_BYTES + 1, 3, KEY_BYTES + 1, 4] {
            let key = vec![b'k'; len];
            text.set(&key);
            assert_eq!(text, KeyText::new(&key));
            assert_eq!(text.bytes(), &key[..len.min(KEY_BYTES)]);
        }
        assert_ne!(KeyText::new(&[b'k'; 200]), KeyText::new(&[b'k'; 201]));
    }

    #[test]
    fn unprintable_bytes_are_escaped() {
        for (bytes, text) in [
            (&b"user:1"[..], "user:1"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
            (b"a\\b", "a\\\\b"),
            (b"\x1b[2J\n", "\\u{1b}[2J\\n"),
            (b"\xff\x00", "\\xff\\u{0}"),
        ] {
            assert_eq!(KeyText::new(bytes).escaped(), text);
        }
    }
}
