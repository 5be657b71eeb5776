//! Replies that arrived out of order, side by side in one allocation.
//!
//! A reply that overtakes another cannot be written yet. Stored separately, each would cost an allocation; here they
//! share a buffer that is reused once it is empty.

/// Capacity that an empty buffer keeps for its next use.
const KEEP_BYTES: usize = 16 << 10;

/// Released bytes from which a buffer that never becomes empty is compacted.
const PACK_BYTES: usize = 64 << 10;

/// The position of a reply in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buffered {
    start: usize,
    end: usize,
}

/// A buffer of out-of-order replies.
#[derive(Debug, Default)]
pub(crate) struct ReorderBuffer {
    bytes: Vec<u8>,
    live_bytes: usize,
}

impl ReorderBuffer {
    /// Number of live bytes.
    pub(crate) fn len(&self) -> usize {
        self.live_bytes
    }

    /// Appends a copy of a reply.
    pub(crate) fn put(&mut self, reply: &[u8]) -> Buffered {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(reply);
        self.live_bytes += reply.len();
        Buffered {
            start,
            end: self.bytes.len(),
        }
    }

    /// The bytes of a live reply.
    pub(crate) fn get(&self, buffered: Buffered) -> &[u8] {
        self.bytes
            .get(buffered.start..buffered.end)
            .unwrap_or_default()
    }

    /// Releases a reply.
    pub(crate) fn release(&mut self, buffered: Buffered) {
        self.live_bytes -= buffered.end - buffered.start;
        if self.live_bytes == 0 {
            if self.bytes.capacity() > KEEP_BYTES {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
    }

    /// Returns true if more bytes are released than live, and enough to be worth a copy.
    pub(crate) fn wants_packing(&self) -> bool {
        self.bytes.len() - self.live_bytes > PACK_BYTES.max(self.live_bytes)
    }

    /// Compacts the live bytes. `all` yields the position of every live reply.
    pub(crate) fn pack<'h>(&mut self, all: impl Iterator<Item = &'h mut Buffered>) {
        let mut packed = Vec::with_capacity(self.live_bytes);
        for buffered in all {
            let start = packed.len();
            packed.extend_from_slice(self.get(*buffered));
            *buffered = Buffered {
                start,
                end: packed.len(),
            };
        }
        self.bytes = packed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffered_replies_survive_compaction() {
        let mut reorder = ReorderBuffer::default();
        let mut kept = Vec::new();
        for number in 0..200_u32 {
            let reply = vec![b'a' + u8::try_from(number % 26).unwrap(); 1000];
            let buffered = reorder.put(&reply);
            if number % 5 == 0 {
                kept.push((buffered, reply));
            } else {
                reorder.release(buffered);
            }
        }
        assert!(reorder.wants_packing());
        reorder.pack(kept.iter_mut().map(|(buffered, _)| buffered));
        assert_eq!(reorder.bytes.len(), 40_000);
        for (buffered, reply) in &kept {
            assert_eq!(reorder.get(*buffered), reply);
        }
        for (buffered, _) in kept {
            reorder.release(buffered);
        }
        assert_eq!((reorder.len(), reorder.bytes.capacity()), (0, 0));
    }
}
