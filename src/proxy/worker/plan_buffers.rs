//! The scratch buffers of the planning of one request.

use std::mem;

use bytes::BytesMut;

use crate::protocol::KeySpan;

/// Maximum size, in bytes of a reply and in keys, at which buffers are kept for the next request.
const KEEP_BYTES: usize = 64 << 10;
const KEEP_KEYS: usize = 4096;

/// Plan buffers, one per worker and pool: a session keeps none.
#[derive(Debug, Default)]
pub(crate) struct PlanBuffers {
    pub(crate) keys: Vec<KeySpan>,
    pub(crate) reply: BytesMut,
}

impl PlanBuffers {
    /// Clears the buffers, and frees them if they are large: an `ECHO` may have half a gigabyte.
    pub(crate) fn clear(&mut self) {
        if self.reply.len() > KEEP_BYTES || self.keys.len() > KEEP_KEYS {
            mem::take(self);
        }
        self.keys.clear();
        self.reply.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_buffers_keep_small_and_release_large_capacity() {
        for (bytes, keys, is_kept) in [
            (KEEP_BYTES, KEEP_KEYS, true),
            (KEEP_BYTES + 1, 0, false),
            (0, KEEP_KEYS + 1, false),
        ] {
            let mut buffers = PlanBuffers {
                keys: vec![KeySpan::default(); keys],
                reply: BytesMut::zeroed(bytes),
            };
            buffers.clear();
            let room = buffers.reply.capacity() + buffers.keys.capacity();
            assert_eq!(room > 0, is_kept, "{bytes} {keys}");
            assert!(buffers.reply.is_empty() && buffers.keys.is_empty());
        }
    }
}
