//! Passwords, of which only the SHA-256 is known.

use std::fmt;
use std::hint::black_box;

use crate::hash::sha256;
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
        let mut bytes = [0; 32];
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(RuleError::Hash);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
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
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

const fn digit(byte: u8) -> Result<u8, RuleError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(RuleError::Hash),
    }
}
