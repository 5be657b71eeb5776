//! Bytes that can be compared, and are never shown.

use std::fmt;
use std::sync::Arc;

/// A password. `Debug` hides it, and comparisons take the same time whatever it is. A clone shares its bytes.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, to be sent to who asks for them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns true if `given` is the secret. The time that it takes reveals only the length of `given`.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        same(given, &self.0)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Compares without stopping at the first difference.
fn same(given: &[u8], right: &[u8]) -> bool {
    let different = given.iter().enumerate().fold(0_u8, |all, (i, byte)| {
        all | (byte ^ right.get(i).copied().unwrap_or(!byte))
    });
    std::hint::black_box(different) == 0 && given.len() == right.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_compared_whole() {
        let secret = Secret::new(&b"hunter2"[..]);
        assert!(secret.matches(b"hunter2"));
        for other in ["", "hunter", "hunter22", "Hunter2", "hunter3"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
        assert_eq!(secret, secret.clone());
    }

    #[test]
    fn secret_is_not_shown() {
        assert_eq!(
            format!("{:?}", Some(Secret::new(&b"hunter2"[..]))),
            "Some((secret))"
        );
    }
}
