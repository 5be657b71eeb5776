//! Just enough of memcached's text protocol to split requests and replies; it shares no code with the proxy.

/// The first words of one-line replies.
const LINES: [&[u8]; 22] = [
    b"END",
    b"STORED",
    b"NOT_STORED",
    b"EXISTS",
    b"NOT_FOUND",
    b"DELETED",
    b"TOUCHED",
    b"OK",
    b"RESET",
    b"VERSION",
    b"ERROR",
    b"ERROR:",
    b"CLIENT_ERROR",
    b"SERVER_ERROR",
    b"HD",
    b"EN",
    b"NF",
    b"NS",
    b"EX",
    b"ME",
    b"MN",
    b"Error",
];
const STORAGE: [&[u8]; 6] = [b"set", b"add", b"replace", b"append", b"prepend", b"cas"];

/// The length of the whole reply at the start of `bytes`, `None` while it is incomplete, or what is wrong with it.
pub(crate) fn answer_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = line_at(bytes, at) else {
            return Ok(None);
        };
        at += line.len() + 2;
        let words = words(line);
        let goes_on = match words.first().copied() {
            Some(b"VALUE") => {
                at += number(&words, 3)? + 2;
                true
            }
            Some(b"STAT") => true,
            Some(b"VA") => {
                at += number(&words, 1)? + 2;
                false
            }
            Some(word) if LINES.contains(&word) || word.iter().all(u8::is_ascii_digit) => false,
            _ => return Err(format!("no reply: {:?}", line.escape_ascii().to_string())),
        };
        if bytes.len() < at {
            return Ok(None);
        }
        if bytes.get(at - 2..at) != Some(b"\r\n") {
            return Err("a data block has no line end".to_owned());
        }
        if !goes_on {
            return Ok(Some(at));
        }
    }
}

/// As [`answer_len`], for a request.
pub(crate) fn request_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(line) = line_at(bytes, 0) else {
        return Ok(None);
    };
    let words = words(line);
    let data_len = match words.first().copied() {
        Some(b"ms") => number(&words, 2)? + 2,
        Some(word) if STORAGE.contains(&word) => number(&words, 4)? + 2,
        _ => 0,
    };
    let len = line.len() + 2 + data_len;
    Ok((bytes.len() >= len).then_some(len))
}

fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .collect()
}

fn number(words: &[&[u8]], nth: usize) -> Result<usize, String> {
    let digits = words.get(nth).and_then(|w| std::str::from_utf8(w).ok());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("no length in {:?}", words.join(&b' ').escape_ascii()))
}

fn line_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&rest[..end])
}

#[test]
fn text_lengths_split_replies_and_requests() {
    for whole in [
        b"VALUE a 0 5\r\n\r\nEND\r\nVALUE b 1 0 7\r\n\r\nEND\r\n".as_slice(),
        b"STAT pid 1\r\nSTAT uptime 2\r\nEND\r\n",
        b"VA 4 s4 t0\r\nHD\r\n\r\n",
        b"CLIENT_ERROR bad data chunk\r\n",
        b"17\r\n",
    ] {
        for cut in 0..whole.len() {
            assert_eq!(answer_len(&whole[..cut]), Ok(None), "cut at {cut}");
        }
        let two = [whole, b"HD\r\n"].concat();
        assert_eq!(answer_len(&two), Ok(Some(whole.len())));
    }
    assert!(answer_len(b"+OK\r\n").is_err());
    assert!(answer_len(b"VA 1\r\nabc\r\n").is_err());
    let whole = b"set a 0 0 4\r\n\r\n\r\n\r\n";
    assert_eq!(request_len(&whole[..whole.len() - 1]), Ok(None));
    assert_eq!(request_len(whole), Ok(Some(whole.len())));
    assert_eq!(request_len(b"ms a 1 q\r\na\r\nmn\r\n"), Ok(Some(13)));
}
