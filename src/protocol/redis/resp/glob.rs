//! The patterns of `PSUBSCRIBE`, as Redis matches them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a byte that means itself.

/// Whether `name` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Redis looks at nothing where there is nothing.
    if name.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut n) = (0, 0);
    // Behind the last star, and what it has to swallow next if the rest does not fit.
    let mut retry = None;
    while let Some(&byte) = name.get(n) {
        let rest = pattern.get(p..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            p += 1;
            retry = Some((p, n + 1));
        } else if let Some(used) = one(rest, byte) {
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

/// How much of a pattern that starts with no star is used up by one byte that fits it.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte),
        [b'\\', meant, ..] => (meant == byte).then_some(2),
        [meant, ..] => (meant == byte).then_some(1),
    }
}

/// A class that is not closed ends where the pattern does.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        let (fits, used) = match *pattern.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', meant, ..] => (meant == byte, 2),
            [first, b'-', last, ..] => ((first.min(last)..=first.max(last)).contains(&byte), 3),
            [meant, ..] => (meant == byte, 1),
        };
        found |= fits;
        at += used;
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::matches;

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
}
