//! The lines of `MONITOR`.
//!
//! ```text
//! 1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
//! ```

use std::io::Write as _;

use crate::observe::Monitored;
use crate::protocol::redis::observed::{Argument, arguments, secrets};

/// Writes the line of a request, without its first and its last bytes.
pub(crate) fn write(request: &Monitored, line: &mut Vec<u8>) {
    let (seconds, micros) = (request.at.as_secs(), request.at.subsec_micros());
    let (database, client) = (request.database, &request.client);
    // Writing to a vector never fails.
    let _ = write!(line, "{seconds}.{micros:06} [{database} {client}]");
    let Some((count, args)) = arguments(&request.head) else {
        return;
    };
    let args: Vec<_> = args.collect();
    let more = count.saturating_sub(args.len());
    let secrets = secrets(|number| args.get(number).map(|arg| arg.start));
    for (number, Argument { start, more_bytes }) in args.iter().enumerate() {
        line.push(b' ');
        if secrets.contains(&number) {
            line.extend_from_slice(b"\"(redacted)\"");
            continue;
        }
        line.push(b'"');
        write_escaped(start, line);
        if *more_bytes > 0 {
            let _ = write!(line, "... ({more_bytes} more bytes)");
        }
        line.push(b'"');
    }
    if more > 0 {
        let _ = write!(line, " \"... ({more} more arguments)\"");
    }
}

/// Writes bytes as Redis's `sdscatrepr` does.
fn write_escaped(bytes: &[u8], line: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |byte: u8| HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'"');
    for part in bytes.chunk_by(|one, next| is_plain(one) == is_plain(next)) {
        if part.first().is_some_and(is_plain) {
            line.extend_from_slice(part);
            continue;
        }
        for byte in part {
            let escaped = match *byte {
                byte @ (b'\\' | b'"') => byte,
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x07 => b'a',
                0x08 => b'b',
                byte => {
                    line.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
                    continue;
                }
            };
            line.extend_from_slice(&[b'\\', escaped]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::redis::resp::encode::write_request;

    fn line(args: &[&[u8]], most: usize) -> String {
        let mut frame = bytes::BytesMut::new();
        write_request(args, &mut frame);
        let request = Monitored {
            at: Duration::new(1_339_518_083, 107_412_999),
            database: 3,
            client: "127.0.0.1:60866".into(),
            head: frame[..most.min(frame.len())].into(),
        };
        let mut line = Vec::new();
        write(&request, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn line_is_as_redis_writes_it() {
        let all: Vec<&[u8]> = vec![b"SET", b"\x00\xff\"\\\n\r\t\x07\x08\x1b caf\xc3\xa9~", b""];
        assert_eq!(
            line(&all, usize::MAX),
            r#"1339518083.107412 [3 127.0.0.1:60866] "SET" "\x00\xff\"\\\n\r\t\a\b\x1b caf\xc3\xa9~" """#
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = line(&[b"hello", b"3", b"AUTH", b"user", b"secret"], usize::MAX);
        assert!(
            shown.ends_with(r#" "hello" "3" "AUTH" "(redacted)" "(redacted)""#),
            "{shown}"
        );
    }

    #[test]
    fn rest_of_a_long_request_is_told() {
        let shown = line(&[b"SET", b"k", b"value", b"EX"], 28);
        assert!(
            shown.ends_with(r#""SET" "k" "valu... (1 more bytes)" "... (1 more arguments)""#),
            "{shown}"
        );
    }
}
