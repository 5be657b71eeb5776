//! Hash functions of keys, and the two other rules that placement depends on: the hash tag, and the order of servers by
//! name; and the digest of passwords.
//!
//! Everything here is pure, allocates nothing, accepts any bytes, and is bit-exact with Twemproxy 0.5.0 as built for
//! amd64, where C's `char` is signed: bytes from 0x80 up are sign-extended in some of the functions. (Twemproxy on
//! arm64 places non-ASCII keys differently; this module follows amd64 on every machine.) `topology` hashes keys and
//! ring labels with it; `config` sorts servers and pools with it.

mod crc;
mod fnv;
mod hsieh;
mod jenkins;
mod kind;
mod md5;
mod murmur;
mod order;
mod sha256;
mod tag;

pub use kind::HashKind;
pub use md5::md5_words;
pub use order::name_order;
pub use sha256::{sha256, sha256_from_hex, sha256_to_hex};
pub use tag::HashTag;

/// A byte as C's signed `char`, widened to 32 bits.
fn sign_extended(byte: u8) -> u32 {
    i32::from(byte.cast_signed()).cast_unsigned()
}

/// The first four bytes as a little-endian word; missing ones read as zero.
fn le_word(bytes: &[u8]) -> u32 {
    match bytes.first_chunk::<4>() {
        Some(&word) => u32::from_le_bytes(word),
        None => bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| (word << 8) | u32::from(byte)),
    }
}

/// The length of a key in the 32 bits that the hash functions compute with.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the functions are defined modulo 2^32, and a key has at most 512 MB"
)]
fn len32(key: &[u8]) -> u32 {
    key.len() as u32
}
