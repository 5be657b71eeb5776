//! Just enough of RESP2 and RESP3 to write requests and to split replies; it shares no code with the proxy.

/// The encoding of one request.
pub(crate) fn command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The encoding of a request written as words with spaces between them.
pub(crate) fn words(request: &str) -> Vec<u8> {
    let args: Vec<&str> = request.split_whitespace().collect();
    command(&args)
}

/// The length of the whole reply at the start of `bytes`, `None` while it is incomplete, or what is wrong with it.
pub(crate) fn reply_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    let mut pending = 1_u64;
    while pending > 0 {
        let Some(line) = line_at(bytes, at) else {
            return Ok(None);
        };
        at += line.len() + 2;
        pending -= 1;
        let number = || {
            std::str::from_utf8(&line[1..])
                .ok()
                .and_then(|digits| digits.parse::<i64>().ok())
                .ok_or_else(|| format!("no number in {}", line.escape_ascii()))
        };
        match line.first() {
            Some(b'+' | b'-' | b'_' | b'#' | b',' | b'(') => {}
            Some(b':') => drop(number()?),
            Some(b'$' | b'!' | b'=') => {
                if let Ok(len) = usize::try_from(number()?) {
                    at += len + 2;
                    if bytes.len() < at {
                        return Ok(None);
                    }
                    if &bytes[at - 2..at] != b"\r\n" {
                        return Err(format!("a bulk of {len} bytes has no line end"));
                    }
                }
            }
            Some(b'*' | b'~' | b'>') => pending += u64::try_from(number()?).unwrap_or(0),
            Some(b'%') => pending += 2 * u64::try_from(number()?).unwrap_or(0),
            _ => return Err(format!("no reply: {}", line.escape_ascii())),
        }
    }
    Ok(Some(at))
}

/// The bulk strings of a flat array reply.
pub(crate) fn array_items(reply: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(
        reply.first(),
        Some(&b'*'),
        "no array: {}",
        reply.escape_ascii()
    );
    let mut at = line_at(reply, 0).unwrap().len() + 2;
    let mut items = Vec::new();
    while at < reply.len() {
        let end = at + reply_len(&reply[at..]).unwrap().unwrap();
        let start = at + line_at(reply, at).unwrap().len() + 2;
        items.push(reply[start..end - 2].to_vec());
        at = end;
    }
    items
}

fn line_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&rest[..end])
}

#[test]
fn reply_len_splits_replies() {
    let whole =
        b"*5\r\n$-1\r\n*1\r\n:-7\r\n$4\r\na\r\nb\r\n%1\r\n_\r\n~1\r\n,1.5\r\n=5\r\ntxt:a\r\n";
    for cut in 0..whole.len() {
        assert_eq!(reply_len(&whole[..cut]), Ok(None), "cut at {cut}");
    }
    let mut two = whole.to_vec();
    two.extend_from_slice(b"+OK\r\n");
    assert_eq!(reply_len(&two), Ok(Some(whole.len())));
    assert!(reply_len(b"HTTP/1.1 200\r\n").is_err());
    assert_eq!(
        array_items(&command(&["a", "", "b c"])),
        [b"a".to_vec(), b"".to_vec(), b"b c".to_vec()]
    );
}
