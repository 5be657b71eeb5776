//! Austin Appleby's `MurmurHash2`, seeded by the length of the key.

use super::{le_word, len32};

const MULTIPLIER: u32 = 0x5bd1_e995;

pub(super) fn murmur(key: &[u8]) -> u32 {
    let (blocks, tail) = key.as_chunks::<4>();
    let len = len32(key);
    let mut hash = 0xdead_beef_u32.wrapping_mul(len) ^ len;
    for &block in blocks {
        let mut word = u32::from_le_bytes(block).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        hash = (hash ^ le_word(tail)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}
