//! Short texts that come from clients and servers, in a fixed number of bytes: a copy allocates nothing.

use std::fmt::{self, Display, Write};

/// A text of at most `N` bytes, of which at most 255 are kept. Bytes that are not printable ASCII are shown as `?`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortText<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> ShortText<N> {
    /// The beginning of a text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let kept = text.iter().take(usize::from(u8::MAX).min(N));
        let mut bytes = [0; N];
        let mut len = 0;
        for (place, byte) in bytes.iter_mut().zip(kept) {
            let is_shown = matches!(byte, b' '..=b'~');
            *place = if is_shown { *byte } else { b'?' };
            len += 1;
        }
        Self { len, bytes }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        // Every byte is ASCII.
        str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const N: usize> Default for ShortText<N> {
    fn default() -> Self {
        Self {
            len: 0,
            bytes: [0; N],
        }
    }
}

impl<const N: usize> Display for ShortText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for ShortText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        f.write_str(self.as_str())?;
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_made_printable() {
        assert_eq!(ShortText::<8>::of(b"GET").as_str(), "GET");
        assert_eq!(ShortText::<4>::of(b"UNLINK").as_str(), "UNLI");
        assert_eq!(ShortText::<8>::of(b"a\r\nb\0\xff~").as_str(), "a??b??~");
        assert_eq!(ShortText::<300>::of(&[b'x'; 300]).as_str().len(), 255);
    }
}
