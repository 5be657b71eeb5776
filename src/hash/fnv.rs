//! Fowler, Noll and Vo's hashes, in Twemproxy's variants: bytes are sign-extended, and the 64-bit ones keep only the
//! low half of start value and prime. That half of the prime is only 435, so keys that differ in their last byte hash
//! close together (see `topology::advice`).

use super::sign_extended;

const START_32: u32 = 2_166_136_261;
const PRIME_32: u32 = 16_777_619;
const START_64_LOW: u32 = 0x8422_2325;
const PRIME_64_LOW: u32 = 0x1b3;

pub(super) fn fnv1_64(key: &[u8]) -> u32 {
    multiply_then_xor(key, START_64_LOW, PRIME_64_LOW)
}

pub(super) fn fnv1a_64(key: &[u8]) -> u32 {
    xor_then_multiply(key, START_64_LOW, PRIME_64_LOW)
}

pub(super) fn fnv1_32(key: &[u8]) -> u32 {
    multiply_then_xor(key, START_32, PRIME_32)
}

pub(super) fn fnv1a_32(key: &[u8]) -> u32 {
    xor_then_multiply(key, START_32, PRIME_32)
}

fn multiply_then_xor(key: &[u8], start: u32, prime: u32) -> u32 {
    key.iter().fold(start, |hash, &byte| {
        hash.wrapping_mul(prime) ^ sign_extended(byte)
    })
}

fn xor_then_multiply(key: &[u8], start: u32, prime: u32) -> u32 {
    key.iter().fold(start, |hash, &byte| {
        (hash ^ sign_extended(byte)).wrapping_mul(prime)
    })
}
