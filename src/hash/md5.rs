//! MD5, cut into 32-bit words.

use md5::{Digest, Md5};

/// The four little-endian words of the MD5 digest of `bytes`. Each of them is a point of the ketama ring when `bytes`
/// is a ring label.
#[must_use]
pub fn md5_words(bytes: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    let mut words = [0; 4];
    for (word, &quarter) in words.iter_mut().zip(digest.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(quarter);
    }
    words
}

/// The first word.
pub(super) fn md5(key: &[u8]) -> u32 {
    let [first, ..] = md5_words(key);
    first
}
