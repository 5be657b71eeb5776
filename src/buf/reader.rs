//! Reads bytes that lie in pieces.

/// Reads pieces one after another, without a copy.
#[derive(Debug)]
pub(crate) struct Reader<'b, I> {
    pieces: I,
    rest: &'b [u8],
}

impl<'b, I: Iterator<Item = &'b [u8]>> Reader<'b, I> {
    pub(crate) fn new(pieces: I) -> Self {
        Self { pieces, rest: &[] }
    }

    /// Passes `len` bytes, and gives `keep` the first `most` of them, piece by piece.
    pub(crate) fn read(&mut self, mut len: usize, mut most: usize, mut keep: impl FnMut(&[u8])) {
        while len > 0 {
            if self.rest.is_empty() {
                let Some(next) = self.pieces.next() else {
                    return;
                };
                self.rest = next;
                continue;
            }
            let (passed, rest) = self.rest.split_at(len.min(self.rest.len()));
            let kept = passed.get(..most).unwrap_or(passed);
            keep(kept);
            most -= kept.len();
            len -= passed.len();
            self.rest = rest;
        }
    }
}
