//! The queued requests of a transaction, for those who watch what is executed.

use bytes::Bytes;

/// The maximum number of bytes that are kept.
const QUEUED_BYTES: usize = 1 << 20;

/// The queued requests of a transaction.
#[derive(Debug, Default)]
pub(crate) struct QueuedRequests {
    pub(crate) frames: Vec<Bytes>,
    bytes: usize,
    /// The number of those that had no room.
    pub(crate) missed: u64,
}

impl QueuedRequests {
    pub(crate) fn push(&mut self, frame: &[u8]) {
        if self.bytes + frame.len() > QUEUED_BYTES {
            self.missed += 1;
        } else {
            self.bytes += frame.len();
            self.frames.push(Bytes::copy_from_slice(frame));
        }
    }
}
