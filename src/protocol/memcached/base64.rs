//! Base64 keys, for the flag `b` of meta commands.

use bytes::{BufMut, BytesMut};

/// Decodes `text` into `out`; returns false if it is not canonical base64, padding included.
pub(super) fn decode(text: &[u8], out: &mut BytesMut) -> bool {
    let (groups, []) = text.as_chunks::<4>() else {
        return false;
    };
    let Some((last, groups)) = groups.split_last() else {
        return false;
    };
    for group in groups {
        let Some(bits) = bits_of(*group) else {
            return false;
        };
        let [_, a, b, c] = bits.to_be_bytes();
        out.put_slice(&[a, b, c]);
    }
    let (padded, bytes) = match last {
        [a, b, b'=', b'='] => ([*a, *b, b'A', b'A'], 1),
        [a, b, c, b'='] => ([*a, *b, *c, b'A'], 2),
        whole => (*whole, 3),
    };
    let Some(bits) = bits_of(padded) else {
        return false;
    };
    let [_, decoded @ ..] = bits.to_be_bytes();
    let (decoded, unused) = decoded.split_at_checked(bytes).unwrap_or_default();
    out.put_slice(decoded);
    // Unused bits could have any value: servers differ in how they treat them.
    unused.iter().all(|byte| *byte == 0)
}

fn bits_of(group: [u8; 4]) -> Option<u32> {
    group.iter().try_fold(0, |bits, byte| {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        Some(bits << 6 | u32::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_accepts_only_canonical_form() {
        for (text, decoded) in [
            ("Zm9v", Some(&b"foo"[..])),
            ("Zm8=", Some(b"fo")),
            ("Zg==", Some(b"f")),
            ("AP8K", Some(b"\0\xff\n")),
            ("+/+/", Some(b"\xfb\xff\xbf")),
            ("Zm9vYmFy", Some(b"foobar")),
            ("", None),
            ("Zm9", None),
            ("Zh==", None),
            ("Zm9=", None),
            ("Zg=v", None),
            ("Zm8=Zm8=", None),
            ("====", None),
            ("Z===", None),
            ("_-__", None),
            ("Zm9v\n", None),
        ] {
            let mut out = BytesMut::new();
            let is_sound = decode(text.as_bytes(), &mut out);
            assert_eq!(is_sound.then_some(&out[..]), decoded, "{text:?}");
        }
    }
}
