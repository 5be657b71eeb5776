//! Finds where replies end, in pieces of any size, and counts errors and misses. A value without its
//! terminator or a malformed line ends the run, so that a proxy that mixes replies up fails the benchmark.

use crate::request::Protocol;

/// The maximum length of a line in a reply.
const LINE_MAX: usize = 2048;

/// Bytes that cannot be a reply, or the wrong one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbled {
    #[error("value does not end in CR LF")]
    Terminator,
    #[error("malformed reply: {0:?}")]
    Line(String),
}

/// The counts so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Complete replies.
    pub(crate) replies: u64,
    /// Error replies among them.
    pub(crate) errors: u64,
    /// Keys without a value.
    pub(crate) misses: u64,
}

/// The state of one connection's replies.
#[derive(Debug)]
pub(crate) struct Scanner {
    protocol: Protocol,
    /// Keys of a request.
    keys: u64,
    /// The beginning of an incomplete line.
    line: Vec<u8>,
    /// Bytes of a value still to come, its CR LF included.
    value_bytes: usize,
    /// Redis: elements of the reply still to come. Zero between replies.
    elements: u64,
    /// memcached: values of the reply so far.
    hits: u64,
}

impl Scanner {
    /// `keys` is the number of keys of a request: memcached sends nothing for a key without a value.
    pub(crate) fn new(protocol: Protocol, keys: u64) -> Self {
        Self {
            protocol,
            keys,
            line: Vec::new(),
            value_bytes: 0,
            elements: 0,
            hits: 0,
        }
    }

    /// Consumes `bytes`, and counts the replies that they complete.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], tally: &mut Tally) -> Result<(), Garbled> {
        while !bytes.is_empty() {
            if self.value_bytes > 0 {
                bytes = self.skip(bytes, tally)?;
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                return if self.line.len() > LINE_MAX {
                    Err(garbled(&self.line))
                } else {
                    Ok(())
                };
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.line.is_empty() {
                self.read_line(line, tally)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.read_line(&whole, tally)?;
            }
        }
        Ok(())
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], tally: &mut Tally) -> Result<&'a [u8], Garbled> {
        let (value, rest) = bytes.split_at(self.value_bytes.min(bytes.len()));
        for (from_end, expected) in [(2, b'\r'), (1, b'\n')] {
            let index = self.value_bytes.checked_sub(from_end);
            if index
                .and_then(|index| value.get(index))
                .is_some_and(|byte| *byte != expected)
            {
                return Err(Garbled::Terminator);
            }
        }
        self.value_bytes -= value.len();
        if self.value_bytes == 0 && self.protocol == Protocol::Redis && self.elements == 0 {
            tally.replies += 1;
        }
        Ok(rest)
    }

    fn read_line(&mut self, line: &[u8], tally: &mut Tally) -> Result<(), Garbled> {
        let Some(text) = line.strip_suffix(b"\r\n") else {
            return Err(garbled(line));
        };
        match self.protocol {
            Protocol::Redis => self.redis(text, tally),
            Protocol::Memcached => self.memcached(text, tally),
        }
    }

    fn redis(&mut self, line: &[u8], tally: &mut Tally) -> Result<(), Garbled> {
        let elements = self.elements.max(1) - 1;
        self.elements = match line.split_first() {
            Some((b'+' | b':', _)) => elements,
            Some((b'-', _)) => {
                tally.errors += 1;
                elements
            }
            Some((b'$', b"-1")) => {
                tally.misses += 1;
                elements
            }
            Some((b'$', length)) => {
                self.value_bytes = number(length).ok_or_else(|| garbled(line))? + 2;
                elements
            }
            Some((b'*', count)) => {
                let count = number(count).ok_or_else(|| garbled(line))?;
                elements + u64::try_from(count).unwrap_or(u64::MAX)
            }
            _ => return Err(garbled(line)),
        };
        if self.elements == 0 && self.value_bytes == 0 {
            tally.replies += 1;
        }
        Ok(())
    }

    fn memcached(&mut self, line: &[u8], tally: &mut Tally) -> Result<(), Garbled> {
        if let Some(header) = line.strip_prefix(b"VALUE ") {
            let length = header.split(|byte| *byte == b' ').nth(2);
            self.value_bytes = length.and_then(number).ok_or_else(|| garbled(line))? + 2;
            self.hits += 1;
            return Ok(());
        }
        match line {
            b"END" => tally.misses += self.keys.saturating_sub(self.hits),
            b"STORED" => {}
            _ if is_memcached_error(line) => tally.errors += 1,
            _ => return Err(garbled(line)),
        }
        self.hits = 0;
        tally.replies += 1;
        Ok(())
    }
}

fn is_memcached_error(line: &[u8]) -> bool {
    let word = line.split(|byte| *byte == b' ').next();
    word.is_some_and(|word| {
        [
            &b"ERROR"[..],
            b"CLIENT_ERROR",
            b"SERVER_ERROR",
            b"NOT_STORED",
        ]
        .contains(&word)
    })
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn garbled(line: &[u8]) -> Garbled {
    let shown = line.get(..64).unwrap_or(line);
    Garbled::Line(String::from_utf8_lossy(shown).into_owned())
}
