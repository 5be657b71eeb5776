//! Paul Hsieh's `SuperFastHash`, started at zero instead of at the length.

use super::sign_extended;

pub(super) fn hsieh(key: &[u8]) -> u32 {
    let (blocks, tail) = key.as_chunks::<4>();
    let mut hash = 0_u32;
    for &[a, b, c, d] in blocks {
        hash = hash.wrapping_add(half(a, b));
        let high = (half(c, d) << 11) ^ hash;
        hash = (hash << 16) ^ high;
        hash = hash.wrapping_add(hash >> 11);
    }
    finish(absorb_tail(hash, tail))
}

fn absorb_tail(mut hash: u32, tail: &[u8]) -> u32 {
    match *tail {
        [a, b, c] => {
            hash = hash.wrapping_add(half(a, b));
            hash ^= hash << 16;
            hash ^= sign_extended(c) << 18;
            hash.wrapping_add(hash >> 11)
        }
        [a, b] => {
            hash = hash.wrapping_add(half(a, b));
            hash ^= hash << 11;
            hash.wrapping_add(hash >> 17)
        }
        // Only this tail reads its byte as unsigned.
        [a] => {
            hash = hash.wrapping_add(u32::from(a));
            hash ^= hash << 10;
            hash.wrapping_add(hash >> 1)
        }
        _ => hash,
    }
}

fn finish(mut hash: u32) -> u32 {
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

fn half(low: u8, high: u8) -> u32 {
    u32::from(u16::from_le_bytes([low, high]))
}
