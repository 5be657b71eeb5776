//! Replies that came before their turn, side by side in one allocation.
//!
//! A reply that overtakes another cannot go out yet. Kept one by one, each would cost an allocation; here they share a
//! buffer that is used again as soon as all have left it.

/// Capacity that an empty buffer keeps for its next use.
const KEEP_BYTES: usize = 16 << 10;

/// Dead bytes from which a buffer that never runs empty is packed.
const PACK_BYTES: usize = 64 << 10;

/// Where a reply lies in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buffered {
    start: usize,
    end: usize,
}

/// Bytes that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct ReorderBuffer {
    bytes: Vec<u8>,
    live_bytes: usize,
}

impl ReorderBuffer {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.live_bytes
    }

    /// Copies a reply in.
    pub(crate) fn put(&mut self, reply: &[u8]) -> Buffered {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(reply);
        self.live_bytes += reply.len();
        Buffered {
            start,
            end: self.bytes.len(),
        }
    }

    /// The bytes of a reply that is still in.
    pub(crate) fn get(&self, held: Buffered) -> &[u8] {
        self.bytes.get(held.start..held.end).unwrap_or_default()
    }

    /// Says that a reply has left.
    pub(crate) fn release(&mut self, held: Buffered) {
        self.live_bytes -= held.end - held.start;
        if self.live_bytes == 0 {
            if self.bytes.capacity() > KEEP_BYTES {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
    }

    /// Whether more is dead than alive, and enough to be worth a copy.
    pub(crate) fn wants_packing(&self) -> bool {
        self.bytes.len() - self.live_bytes > PACK_BYTES.max(self.live_bytes)
    }

    /// Copies what is alive together. `all` are the places of every reply that is in.
    pub(crate) fn pack<'h>(&mut self, all: impl Iterator<Item = &'h mut Buffered>) {
        let mut packed = Vec::with_capacity(self.live_bytes);
        for held in all {
            let start = packed.len();
            packed.extend_from_slice(self.get(*held));
            *held = Buffered {
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
        let mut stash = ReorderBuffer::default();
        let mut kept = Vec::new();
        for number in 0..200_u32 {
            let reply = vec![b'a' + u8::try_from(number % 26).unwrap(); 1000];
            let held = stash.put(&reply);
            if number % 5 == 0 {
                kept.push((held, reply));
            } else {
                stash.release(held);
            }
        }
        assert!(stash.wants_packing());
        stash.pack(kept.iter_mut().map(|(held, _)| held));
        assert_eq!(stash.bytes.len(), 40_000);
        for (held, reply) in &kept {
            assert_eq!(stash.get(*held), reply);
        }
        for (held, _) in kept {
            stash.release(held);
        }
        assert_eq!((stash.len(), stash.bytes.capacity()), (0, 0));
    }
}
