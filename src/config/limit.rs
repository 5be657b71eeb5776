//! Limits of a client's unread output.

use std::fmt;
use std::time::Duration;

use crate::text::exact_size;

/// The limit of a client's unread output, as Redis's `client-output-buffer-limit`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BufferLimit {
    /// Bytes above which it is closed at once; 0 is no limit.
    pub hard_bytes: usize,
    /// Bytes above which it is closed after `soft_for`; 0 is no limit.
    pub soft_bytes: usize,
    /// The time for which `soft_bytes` may be exceeded.
    pub soft_for: Duration,
}

impl BufferLimit {
    /// Parses `32mb 8mb 60`: hard limit, soft limit, seconds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [hard, soft, seconds] = words[..] else {
            return None;
        };
        Some(Self {
            hard_bytes: bytes(hard)?,
            soft_bytes: bytes(soft)?,
            soft_for: Duration::from_secs(number(seconds)?.into()),
        })
    }
}

impl fmt::Display for BufferLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hard, soft) = (show_bytes(self.hard_bytes), show_bytes(self.soft_bytes));
        write!(f, "{hard} {soft} {}", self.soft_for.as_secs())
    }
}

/// Writes a size with the largest unit that loses nothing.
pub(super) fn show_bytes(bytes: usize) -> String {
    exact_size(bytes as u64)
}

/// Parses a number with one of Redis's units, in upper or lower case.
pub(super) fn bytes(text: &str) -> Option<usize> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(digits)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number(digits)?).ok()?.checked_mul(unit)
}

fn number(digits: &str) -> Option<u32> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_limit_parses_as_in_redis() {
        let limit = |hard_bytes, soft_bytes, seconds| {
            Some(BufferLimit {
                hard_bytes,
                soft_bytes,
                soft_for: Duration::from_secs(seconds),
            })
        };
        for (text, expected) in [
            ("32mb 8mb 60", limit(32 << 20, 8 << 20, 60)),
            ("0 0 0", limit(0, 0, 0)),
            ("1K 2kB 1", limit(1000, 2048, 1)),
            ("1g 1GB 0", limit(1_000_000_000, 1 << 30, 0)),
            ("7 7b 1", limit(7, 7, 1)),
            ("32mb 8mb", None),
            ("32mb 8mb 60 1", None),
            ("32 mb 8mb 60", None),
            ("-1 0 0", None),
            ("mb 0 0", None),
            ("1x 0 0", None),
            ("", None),
        ] {
            assert_eq!(BufferLimit::parse(text), expected, "{text}");
        }
    }
}
