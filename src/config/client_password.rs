//! The password of a pool's clients, or its hash.

use std::fmt;

use crate::hash::{sha256, sha256_from_hex};

use super::secret::Secret;

/// The password that clients give. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientPassword {
    /// Itself.
    Plain(Secret),
    /// Its SHA-256.
    Hashed([u8; 32]),
}

impl ClientPassword {
    /// A hash, as hexadecimal digits.
    pub(super) fn hashed(digits: &str) -> Option<Self> {
        sha256_from_hex(digits.as_bytes()).map(Self::Hashed)
    }

    /// Its SHA-256.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        match self {
            Self::Plain(secret) => sha256(secret.expose()),
            Self::Hashed(hash) => *hash,
        }
    }

    /// The password, unless only its hash is known.
    #[must_use]
    pub fn plain(&self) -> Option<&Secret> {
        match self {
            Self::Plain(secret) => Some(secret),
            Self::Hashed(_) => None,
        }
    }

    /// What changes when it changes, for comparisons of files.
    pub(super) fn fingerprint(&self) -> Secret {
        match self {
            Self::Plain(secret) => secret.clone(),
            Self::Hashed(hash) => Secret::new(&hash[..]),
        }
    }
}

impl fmt::Debug for ClientPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf hunter2 | sha256sum`.
    const HUNTER2: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

    #[test]
    fn password_and_its_hash_have_one_digest() {
        let plain = ClientPassword::Plain(Secret::new(&b"hunter2"[..]));
        for digits in [HUNTER2.to_owned(), HUNTER2.to_uppercase()] {
            let hashed = ClientPassword::hashed(&digits).unwrap();
            assert_eq!(hashed.digest(), plain.digest());
            assert_eq!(format!("{hashed:?}"), "(secret)");
        }
    }

    #[test]
    fn hash_has_64_hexadecimal_digits() {
        for digits in [
            "",
            "f5",
            &HUNTER2[1..],
            &format!("{HUNTER2}00"),
            &"g".repeat(64),
        ] {
            assert!(ClientPassword::hashed(digits).is_none(), "{digits}");
        }
    }
}
