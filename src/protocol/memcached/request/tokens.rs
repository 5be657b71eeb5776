//! The words of a line, and the numbers among them.

use crate::protocol::Span;

/// Iterates over the words of a line, which are separated by spaces.
#[derive(Debug, Clone)]
pub(crate) struct Words<'l> {
    line: &'l [u8],
    at: usize,
    loose: bool,
}

impl<'l> Words<'l> {
    /// The words of `line`, given without its end.
    pub(crate) fn new(line: &'l [u8]) -> Self {
        Self {
            line,
            at: 0,
            loose: false,
        }
    }

    /// Returns true if spaces other than one between two words were skipped.
    pub(crate) fn is_loose(&self) -> bool {
        self.loose
    }

    /// The line.
    pub(crate) fn line(&self) -> &'l [u8] {
        self.line
    }
}

impl Iterator for Words<'_> {
    type Item = Span;

    #[inline]
    fn next(&mut self) -> Option<Span> {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        let word = rest.get(spaces..).unwrap_or_default();
        self.loose |= spaces != usize::from(self.at > 0) && !rest.is_empty();
        if word.is_empty() {
            self.loose |= !rest.is_empty();
            return None;
        }
        let start = self.at + spaces;
        self.at = start + memchr::memchr(b' ', word).unwrap_or(word.len());
        Some(Span {
            start,
            end: self.at,
        })
    }
}

/// Parses plain decimal digits. No sign: versions of memcached differ in which signs they accept.
pub(crate) fn decimal(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 20 {
        return None;
    }
    word.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Parses an expiry time of 32 bits: memcached would truncate a larger one.
pub(crate) fn exptime(word: &[u8]) -> Option<i32> {
    let (negative, digits) = match word.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let value = i64::try_from(decimal(digits)?).ok()?;
    i32::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_split_at_spaces_and_extra_spaces_are_detected() {
        for (line, words, loose) in [
            ("get a", vec!["get", "a"], false),
            ("get", vec!["get"], false),
            ("", vec![], false),
            (" get a", vec!["get", "a"], true),
            ("get  a", vec!["get", "a"], true),
            ("get a ", vec!["get", "a"], true),
            ("  ", vec![], true),
            ("get\ta", vec!["get\ta"], false),
        ] {
            let mut found = Words::new(line.as_bytes());
            let got: Vec<&[u8]> = found
                .by_ref()
                .map(|word| word.of(line.as_bytes()))
                .collect();
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            assert_eq!((got, found.is_loose()), (words, loose), "{line:?}");
        }
    }

    #[test]
    fn numbers_are_plain_digits_in_range() {
        for (word, value) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("000000000000000000000", None),
            ("+1", None),
            ("-1", None),
            ("1a", None),
            ("", None),
        ] {
            assert_eq!(decimal(word.as_bytes()), value, "{word:?}");
        }
        for (word, value) in [
            ("-1", Some(-1)),
            ("2147483647", Some(i32::MAX)),
            ("-2147483648", Some(i32::MIN)),
            ("2147483648", None),
            ("--1", None),
            ("-", None),
            ("+1", None),
        ] {
            assert_eq!(exptime(word.as_bytes()), value, "{word:?}");
        }
    }
}
