//! Inline requests: a line of words, rewritten as an array of bulk strings.
//!
//! The rules of quoting are those of Redis (`sdssplitargs`).

use bytes::BytesMut;

use crate::protocol::redis::resp::encode::{write_bulk, write_header};
use crate::protocol::redis::resp::scan_error::ScanError;

/// Writes `line` as an array to `out`.
#[inline(never)]
pub(crate) fn canonicalize(line: &[u8], out: &mut BytesMut) -> Result<(), ScanError> {
    let words = split(line.trim_ascii()).ok_or(ScanError::Quotes)?;
    // A browser's request to this port must not run as commands (cross-protocol scripting).
    if words.first().is_some_and(|word| {
        word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
    }) {
        return Err(ScanError::Http);
    }
    write_header(b'*', words.len(), out);
    for word in words {
        write_bulk(&word, out);
    }
    Ok(())
}

/// The words of a line; `None` if a quote is not closed or not followed by a space.
fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.iter().copied().peekable();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'"' => double_quoted(&mut rest, &mut word)?,
                b'\'' => single_quoted(&mut rest, &mut word)?,
                _ => {
                    word.push(byte);
                    continue;
                }
            }
            if rest.peek().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                return None;
            }
        }
        words.push(word);
    }
}

fn double_quoted(
    rest: &mut std::iter::Peekable<impl Iterator<Item = u8> + Clone>,
    word: &mut Vec<u8>,
) -> Option<()> {
    loop {
        match rest.next()? {
            b'"' => return Some(()),
            b'\\' => word.push(match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'a' => 7,
                b'x' => {
                    let mut ahead = rest.clone();
                    match (ahead.next().and_then(hex), ahead.next().and_then(hex)) {
                        (Some(high), Some(low)) => {
                            *rest = ahead;
                            high << 4 | low
                        }
                        _ => b'x',
                    }
                }
                other => other,
            }),
            byte => word.push(byte),
        }
    }
}

fn single_quoted(
    rest: &mut std::iter::Peekable<impl Iterator<Item = u8>>,
    word: &mut Vec<u8>,
) -> Option<()> {
    loop {
        match rest.next()? {
            b'\'' => return Some(()),
            b'\\' if rest.next_if_eq(&b'\'').is_some() => word.push(b'\''),
            byte => word.push(byte),
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(words: &[&str]) -> String {
        let words: Vec<_> = words
            .iter()
            .map(|word| format!("${}\r\n{word}\r\n", word.len()))
            .collect();
        format!("*{}\r\n{}", words.len(), words.concat())
    }

    #[test]
    fn inline_words_split_as_in_redis() {
        for (line, words) in [
            ("PING\r\n", vec!["PING"]),
            ("  set  foo\tbar \n", vec!["set", "foo", "bar"]),
            (r#"set k "a b""#, vec!["set", "k", "a b"]),
            (r#"set k "\x41\n\q""#, vec!["set", "k", "A\nq"]),
            (r#"set k "\xzz""#, vec!["set", "k", "xzz"]),
            (r"set k 'a \' b\n'", vec!["set", "k", r"a ' b\n"]),
            (r#"set k """#, vec!["set", "k", ""]),
        ] {
            let mut out = BytesMut::new();
            canonicalize(line.as_bytes(), &mut out).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), array(&words), "{line:?}");
        }
    }

    #[test]
    fn unbalanced_quotes_and_http_are_refused() {
        for (line, error) in [
            (r#"set k "a"#, ScanError::Quotes),
            (r#"set k "a"b"#, ScanError::Quotes),
            ("set k 'a", ScanError::Quotes),
            ("POST / HTTP/1.1\r\n", ScanError::Http),
            ("Host: localhost\r\n", ScanError::Http),
        ] {
            assert_eq!(
                canonicalize(line.as_bytes(), &mut BytesMut::new()),
                Err(error),
                "{line:?}"
            );
        }
    }
}
