//! The queued requests of a transaction, for those who watch what is executed.

use bytes::Bytes;

use crate::observe::SHOWN_BYTES;

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
    /// The bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the start of a request, as much as is shown.
    pub(crate) fn push(&mut self, frame: &[u8]) {
        let frame = frame.get(..SHOWN_BYTES).unwrap_or(frame);
        if self.bytes + frame.len() > QUEUED_BYTES {
            self.missed += 1;
        } else {
            self.bytes += frame.len();
            self.frames.push(Bytes::copy_from_slice(frame));
        }
    }
}
