//! Decimal numbers: those of RESP headers, and those in arguments of clients.

/// The number at the start of a byte slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// The value, and its length including the line end.
    Line(i64, usize),
    /// The line end has not arrived.
    Partial,
    /// Not a number, or one out of range.
    Bad,
}

/// The maximum number of digits; longer numbers cannot be a length or a count.
const DIGITS: usize = 19;

/// Reads `-?[0-9]+\r\n`.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Number {
    // Nearly all numbers have one or two digits.
    match *bytes {
        [one @ b'0'..=b'9', b'\r', b'\n', ..] => Number::Line(i64::from(one - b'0'), 3),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Number::Line(i64::from(ten - b'0') * 10 + i64::from(one - b'0'), 4)
        }
        _ => read_any(bytes),
    }
}

fn read_any(bytes: &[u8]) -> Number {
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, bytes),
    };
    let mut value = 0_i64;
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at < DIGITS => {
                let Some(next) = value
                    .checked_mul(10)
                    .and_then(|v| v.checked_add(i64::from(byte - b'0')))
                else {
                    return Number::Bad;
                };
                value = next;
            }
            b'\r' if at > 0 => {
                // Redis treats any other notation as a framing error, and closes the connection, which is shared.
                if digits.first() == Some(&b'0') && (at > 1 || negative) {
                    return Number::Bad;
                }
                let used = usize::from(negative) + at + 2;
                return match digits.get(at + 1) {
                    Some(b'\n') => Number::Line(if negative { -value } else { value }, used),
                    Some(_) => Number::Bad,
                    None => Number::Partial,
                };
            }
            _ => return Number::Bad,
        }
    }
    Number::Partial
}

/// Parses an integer as Redis does in arguments: decimal, without a plus sign or leading zeros.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if text != b"0" && matches!(digits.first(), Some(b'0' | b'+')) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// As [`parse_integer`]; `None` below zero, too.
pub(crate) fn parse_unsigned(text: &[u8]) -> Option<u64> {
    u64::try_from(parse_integer(text)?).ok()
}

/// Parses the cursor of a `SCAN` as Redis does with the C library's `strtoul`: with a sign, wrapping around below zero;
/// an empty one is 0.
pub(crate) fn parse_cursor(text: &[u8]) -> Option<u64> {
    let digits = match text.split_first() {
        None => return Some(0),
        Some((b'+' | b'-', rest)) => rest,
        Some(_) => text,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if text.starts_with(b"-") {
        number.wrapping_neg()
    } else {
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_lines_are_parsed() {
        for (bytes, expected) in [
            ("12\r\n", Number::Line(12, 4)),
            ("-1\r\nrest", Number::Line(-1, 4)),
            ("0\r\n", Number::Line(0, 3)),
            ("9\r\nrest", Number::Line(9, 3)),
            ("10\r\n", Number::Line(10, 4)),
            ("99\r\n", Number::Line(99, 4)),
            ("100\r\n", Number::Line(100, 5)),
            ("00\r\n", Number::Bad),
            ("12\r", Number::Partial),
            ("12\rx", Number::Bad),
            ("1x\r\n", Number::Bad),
            ("007\r\n", Number::Bad),
            ("-0\r\n", Number::Bad),
            ("", Number::Partial),
            ("-", Number::Partial),
            ("12", Number::Partial),
            ("12\r", Number::Partial),
            ("\r\n", Number::Bad),
            ("-\r\n", Number::Bad),
            ("+1\r\n", Number::Bad),
            ("1x\r\n", Number::Bad),
            ("1\rx", Number::Bad),
            ("1\n", Number::Bad),
            ("99999999999999999999", Number::Bad),
            ("9999999999999999999", Number::Bad),
            ("9223372036854775807\r\n", Number::Line(i64::MAX, 21)),
        ] {
            assert_eq!(read(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    /// As observed with redis-server 7.0.15.
    #[test]
    fn cursor_parsing_matches_redis() {
        for (text, expected) in [
            ("", Some(0)),
            ("0", Some(0)),
            ("+5", Some(5)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            (" 5", None),
            ("5 ", None),
            ("0x10", None),
            ("-", None),
            ("1a", None),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()), expected, "{text:?}");
        }
    }
}
