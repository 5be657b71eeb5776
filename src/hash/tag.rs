//! The hash tag: the part of a key that is hashed.

use std::fmt;

use memchr::memchr;

/// Two bytes that enclose the part of a key that is hashed (`hash_tag: "{}"`); both may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashTag {
    /// The byte that opens the tag.
    pub open: u8,
    /// The byte that closes it.
    pub close: u8,
}

impl HashTag {
    /// The bytes between the first `open` and the first `close` after it; the whole key if there are none.
    #[must_use]
    pub fn apply(self, key: &[u8]) -> &[u8] {
        self.find(key).unwrap_or(key)
    }

    fn find(self, key: &[u8]) -> Option<&[u8]> {
        let inner = key.get(memchr(self.open, key)? + 1..)?;
        let tag = inner.get(..memchr(self.close, inner)?)?;
        (!tag.is_empty()).then_some(tag)
    }
}

/// The two bytes, as in the file.
impl fmt::Display for HashTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&[self.open, self.close]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_tag_is_the_first_nonempty_pair_or_the_whole_key() {
        for (tag, key, expected) in [
            ("{}", "user:{42}:name", "42"),
            ("{}", "{}x", "{}x"),
            ("{}", "{{a}}", "{a"),
            ("{}", "a}b{c", "a}b{c"),
            ("{}", "abc}{d}", "d"),
            ("{}", "x{y}z{w}", "y"),
            ("{}", "{}{a}", "{}{a}"),
            ("{}", "", ""),
            ("{}", "{", "{"),
            ("$$", "$a$b$", "a"),
            ("$$", "$", "$"),
            ("$$", "$$a$", "$$a$"),
        ] {
            let [open, close] = *tag.as_bytes() else {
                panic!("a tag has two bytes");
            };
            let tag = HashTag { open, close };
            assert_eq!(tag.apply(key.as_bytes()), expected.as_bytes(), "{key}");
        }
    }
}
