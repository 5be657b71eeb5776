//! Glob patterns as Redis matches them (its `stringmatchlen`): `*`, `?`, `[a-z]`, `[^a]`, and `\` before a literal
//! byte.
//!
//! Only the last `*` is ever retried, so that a pattern with many of them costs at most its length times that of the
//! name.

/// The comparison of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Sensitive,
    Ignored,
}

impl Case {
    const fn fold(self, byte: u8) -> u8 {
        match self {
            Self::Sensitive => byte,
            Self::Ignored => byte.to_ascii_lowercase(),
        }
    }

    const fn eq(self, a: u8, b: u8) -> bool {
        self.fold(a) == self.fold(b)
    }
}

/// Returns true if `name` matches `pattern`, as a channel does that of `PSUBSCRIBE`.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    matches_with(pattern, name, Case::Sensitive)
}

/// Returns true if `name` matches `pattern`, case-insensitive, as a parameter does that of `CONFIG GET`.
pub(crate) fn matches_ignore_case(pattern: &[u8], name: &[u8]) -> bool {
    matches_with(pattern, name, Case::Ignored)
}

/// Returns true if `CONFIG GET` treats `pattern` as a pattern, not as a literal name.
pub(crate) fn is_pattern(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| b"[*?".contains(byte))
}

fn matches_with(pattern: &[u8], name: &[u8], case: Case) -> bool {
    // Redis does not match even `*` with an empty name.
    if name.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut n) = (0, 0);
    // The position after the last star, and the next byte of the name that the star takes if the rest does not match.
    let mut retry = None;
    while let Some(&byte) = name.get(n) {
        let rest = pattern.get(p..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            p += 1;
            retry = Some((p, n + 1));
        } else if let Some(used) = one(rest, byte, case) {
            p += used;
            n += 1;
        } else if let Some((after_star, from)) = retry {
            (p, n) = (after_star, from);
            retry = Some((after_star, from + 1));
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|&byte| byte == b'*')
}

/// The length of the part of a pattern, which does not start with a star, that one byte matches.
fn one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte, case),
        [b'\\', literal, ..] => case.eq(literal, byte).then_some(2),
        [literal, ..] => case.eq(literal, byte).then_some(1),
    }
}

/// The length of a class, if the byte is in it. An unclosed one ends with the pattern.
fn class(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        let (matches, used) = match *pattern.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            // Redis compares an escaped byte case-sensitively even where it ignores the case of others.
            [b'\\', literal, ..] => (literal == byte, 2),
            [first, b'-', last, ..] => {
                let (first, last) = (first.min(last), first.max(last));
                let range = case.fold(first)..=case.fold(last);
                (range.contains(&case.fold(byte)), 3)
            }
            [literal, ..] => (case.eq(literal, byte), 1),
        };
        found |= matches;
        at += used;
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_ignore_case};

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, name, expected) in [
            ("*", "news", true),
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("n?ws", "news", true),
            ("n?ws", "nws", false),
            ("N*", "news", false),
            ("*s", "news", true),
            ("*e*s*", "news", true),
            ("n**s", "news", true),
            ("news*", "news", true),
            ("news?", "news", false),
            ("h[ae]llo", "hello", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"h[\]]llo", "h]llo", true),
            ("h[e", "he", true),
            ("h[", "hx", false),
            ("h[]llo", "hello", false),
            (r"a\", r"a\", true),
            ("*[0-9]x*", "abc1xyz", true),
        ] {
            let got = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(got, expected, "{pattern} {name}");
        }
    }

    #[test]
    fn case_is_ignored_where_redis_ignores_it() {
        for (pattern, name, expected) in [
            ("save", "SAVE", true),
            ("S*E", "save", true),
            ("s?Ve", "save", true),
            ("s?ve", "sve", false),
            ("slowlog-[LM]*", "slowlog-max-len", true),
            ("slowlog-[l-m]*", "SLOWLOG-LOG-SLOWER-THAN", true),
            ("slowlog-[^M]*", "slowlog-max-len", false),
            (r"s\AVE", "save", true),
            (r"s[\A]ve", "save", false),
            ("", "save", false),
        ] {
            let got = matches_ignore_case(pattern.as_bytes(), name.as_bytes());
            assert_eq!(got, expected, "{pattern} {name}");
        }
    }

    #[test]
    fn nested_stars_are_matched_in_bounded_time() {
        let pattern = b"*a".repeat(10_000);
        let name = [&b"a".repeat(9_999)[..], b"b"].concat();
        assert!(!matches(&pattern, &name));
    }
}
