//! Encoding of RESP: requests to servers and replies to clients.
//!
//! Types that only RESP3 has take the version, and are encoded in RESP2 as Redis does.

use std::fmt::{Display, Write};

use bytes::{BufMut, BytesMut};

use crate::protocol::redis::resp::version::Resp;

/// Writes a header line such as `$3\r\n`.
pub(crate) fn write_header(kind: u8, value: usize, out: &mut BytesMut) {
    let mut digits = [0_u8; 24];
    let mut at = digits.len();
    let mut left = value;
    while let Some(slot) = at.checked_sub(1).and_then(|at| digits.get_mut(at)) {
        *slot = b'0' + u8::try_from(left % 10).unwrap_or(0);
        at -= 1;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.put_u8(kind);
    out.put_slice(digits.get(at..).unwrap_or_default());
    out.put_slice(b"\r\n");
}

/// Writes a bulk string.
pub(crate) fn write_bulk(bytes: &[u8], out: &mut BytesMut) {
    write_header(b'$', bytes.len(), out);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Writes a request: an array of bulk strings.
pub(crate) fn write_request(words: &[&[u8]], out: &mut BytesMut) {
    write_header(b'*', words.len(), out);
    for word in words {
        write_bulk(word, out);
    }
}

/// Writes a status reply; `text` has no line end.
pub(crate) fn write_simple(text: &str, out: &mut BytesMut) {
    out.put_u8(b'+');
    out.put_slice(text.as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes an integer reply.
pub(crate) fn write_integer(number: impl Display, out: &mut BytesMut) {
    // Writing to a growable buffer cannot fail.
    let _ = write!(out, ":{number}\r\n");
}

/// Writes an error reply whose code is part of `parts`; a line end within them becomes a space.
pub(crate) fn write_error_line(parts: &[&[u8]], out: &mut BytesMut) {
    out.put_u8(b'-');
    for part in parts {
        out.extend(part.iter().map(|&byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        }));
    }
    out.put_slice(b"\r\n");
}

/// Writes a number with a fraction: in RESP2 a bulk string.
pub(crate) fn write_double(resp: Resp, text: &str, out: &mut BytesMut) {
    match resp {
        Resp::Two => write_bulk(text.as_bytes(), out),
        Resp::Three => {
            out.put_u8(b',');
            out.put_slice(text.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

/// Writes nil: in RESP2 a null bulk string.
pub(crate) fn write_null(resp: Resp, out: &mut BytesMut) {
    out.put_slice(match resp {
        Resp::Two => b"$-1\r\n",
        Resp::Three => b"_\r\n",
    });
}

/// Writes nil in place of an array: in RESP2 a null array.
pub(crate) fn write_null_array(resp: Resp, out: &mut BytesMut) {
    out.put_slice(match resp {
        Resp::Two => b"*-1\r\n",
        Resp::Three => b"_\r\n",
    });
}

/// Writes text for people: a verbatim string, in RESP2 a bulk string.
pub(crate) fn write_verbatim(resp: Resp, text: &str, out: &mut BytesMut) {
    const KIND: &[u8] = b"txt:";
    match resp {
        Resp::Two => write_bulk(text.as_bytes(), out),
        Resp::Three => {
            write_header(b'=', KIND.len() + text.len(), out);
            out.put_slice(KIND);
            out.put_slice(text.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

/// Writes the header of an unordered set of `len` elements: an array in RESP2.
pub(crate) fn write_set_header(resp: Resp, len: usize, out: &mut BytesMut) {
    let kind = match resp {
        Resp::Two => b'*',
        Resp::Three => b'~',
    };
    write_header(kind, len, out);
}

/// Writes the header of a map of `pairs` keys and values: an array of twice as many in RESP2.
pub(crate) fn write_map_header(resp: Resp, pairs: usize, out: &mut BytesMut) {
    match resp {
        Resp::Two => write_header(b'*', pairs * 2, out),
        Resp::Three => write_header(b'%', pairs, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_all_digits() {
        for value in [0, 7, 10, 1024, usize::MAX] {
            let mut out = BytesMut::new();
            write_header(b'$', value, &mut out);
            assert_eq!(out, format!("${value}\r\n").as_bytes());
        }
    }

    #[test]
    fn types_of_resp3_have_a_form_in_resp2() {
        for (resp, expected) in [
            (Resp::Two, "$-1\r\n$2\r\nhi\r\n*1\r\n*4\r\n"),
            (Resp::Three, "_\r\n=6\r\ntxt:hi\r\n~1\r\n%2\r\n"),
        ] {
            let mut out = BytesMut::new();
            write_null(resp, &mut out);
            write_verbatim(resp, "hi", &mut out);
            write_set_header(resp, 1, &mut out);
            write_map_header(resp, 2, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }
}
