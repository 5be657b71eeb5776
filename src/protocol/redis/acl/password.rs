//! Passwords, of which only the SHA-256 is known.

use std::fmt;
use std::hint::black_box;

use crate::hash::{sha256, sha256_from_hex, sha256_to_hex};
use crate::protocol::redis::acl::error::RuleError;

/// The SHA-256 of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Password([u8; 32]);

impl Password {
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(sha256(text))
    }

    /// Parses 64 lower-case hexadecimal digits.
    pub(crate) fn from_hex(digits: &[u8]) -> Result<Self, RuleError> {
        let is_lower = !digits.iter().any(u8::is_ascii_uppercase);
        let digest = sha256_from_hex(digits).filter(|_| is_lower);
        digest.map(Self).ok_or(RuleError::Hash)
    }

    /// Compares without stopping at the first difference.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let bytes = self.0.iter().zip(&other.0);
        let different = bytes.fold(0, |all, (one, other)| all | (one ^ other));
        black_box(different) == 0
    }
}

/// The digits.
impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sha256_to_hex(&self.0))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
