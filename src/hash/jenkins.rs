//! Bob Jenkins' two hashes: one-at-a-time, and lookup3's `hashlittle`.

use super::{le_word, len32, sign_extended};

/// The second argument of `hashlittle`, which Twemproxy fixes at 13.
const LOOKUP3_INITVAL: u32 = 13;

pub(super) fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = key.iter().fold(0_u32, |mut hash, &byte| {
        hash = hash.wrapping_add(sign_extended(byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^ (hash >> 6)
    });
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

pub(super) fn lookup3(key: &[u8]) -> u32 {
    let start = 0xdead_beef_u32
        .wrapping_add(len32(key))
        .wrapping_add(LOOKUP3_INITVAL);
    let mut state = [start; 3];
    let mut blocks = key.chunks(12);
    // The last block, even a whole one, is mixed in by other steps than those before it.
    let Some(last) = blocks.next_back() else {
        return start;
    };
    for block in blocks {
        state = mix(absorb(state, block));
    }
    finish(absorb(state, last))
}

/// Adds up to twelve bytes to the three words; missing bytes count as zero.
fn absorb([a, b, c]: [u32; 3], block: &[u8]) -> [u32; 3] {
    let word = |start: usize| le_word(block.get(start..).unwrap_or_default());
    [
        a.wrapping_add(word(0)),
        b.wrapping_add(word(4)),
        c.wrapping_add(word(8)),
    ]
}

fn mix([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    for rotations in [[4, 6, 8], [16, 19, 4]] {
        let [for_a, for_b, for_c] = rotations;
        a = a.wrapping_sub(c) ^ c.rotate_left(for_a);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(for_b);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(for_c);
        b = b.wrapping_add(a);
    }
    [a, b, c]
}

fn finish([mut a, mut b, mut c]: [u32; 3]) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}
