//! The bytes of one whole frame, borrowed or owned.

use bytes::Bytes;

/// One whole frame between two sockets.
#[derive(Debug, Clone)]
pub enum Frame<'b> {
    /// In a buffer that is reused at once: whoever keeps it copies it.
    Borrowed(&'b [u8]),
    /// With its own allocation: whoever keeps it takes a reference.
    Shared(Bytes),
}

impl Frame<'_> {
    /// The frame's bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// A part of the frame, as cheap to pass on as the frame itself; empty if the range lies outside.
    pub fn part(&self, start: usize, end: usize) -> Frame<'_> {
        match self {
            Self::Borrowed(bytes) => Frame::Borrowed(bytes.get(start..end).unwrap_or_default()),
            Self::Shared(bytes) if start <= end && end <= bytes.len() => {
                Frame::Shared(bytes.slice(start..end))
            }
            Self::Shared(_) => Frame::Borrowed(&[]),
        }
    }
}
