//! Requests, formatted once: a template in which only the key numbers change.

use std::io::{self, Write};
use std::ops::Range;

use clap::ValueEnum;

/// Digits of a key's number, zero-padded, as in redis-benchmark.
const DIGITS: usize = 12;

/// The protocol of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Redis,
    Memcached,
}

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// One key
    Get,
    /// One key, with a value
    Set,
    /// Several keys: MGET of Redis, a get of several keys of memcached
    Mget,
}

/// The order of the keys.
#[derive(Debug)]
pub(crate) enum Keys {
    /// Uniformly random out of this many.
    Drawn(u64),
    /// In sequence, starting again after this many.
    InTurn { next: u64, of: u64 },
}

impl Keys {
    fn next(&mut self) -> u64 {
        match self {
            Self::Drawn(of) => fastrand::u64(..*of),
            Self::InTurn { next, of } => {
                let key = *next;
                *next = (key + 1) % *of;
                key
            }
        }
    }
}

/// One request, with places for the numbers of its keys.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    numbers: Vec<Range<usize>>,
}

impl Template {
    /// A request for `keys` keys that begin with `prefix`. SET has one key and a value of `value_bytes`.
    pub(crate) fn new(
        protocol: Protocol,
        workload: Workload,
        prefix: &str,
        keys: usize,
        value_bytes: usize,
    ) -> io::Result<Self> {
        let mut made = Self {
            bytes: Vec::new(),
            numbers: Vec::new(),
        };
        let value = "x".repeat(value_bytes);
        match (protocol, workload) {
            (Protocol::Redis, Workload::Set) => {
                made.bytes.write_all(b"*3\r\n$3\r\nSET\r\n")?;
                made.bulk_key(prefix)?;
                write!(made.bytes, "${value_bytes}\r\n{value}\r\n")?;
            }
            (Protocol::Redis, Workload::Get | Workload::Mget) => {
                let name = if workload == Workload::Get {
                    "GET"
                } else {
                    "MGET"
                };
                write!(made.bytes, "*{}\r\n${}\r\n{name}\r\n", keys + 1, name.len())?;
                for _ in 0..keys {
                    made.bulk_key(prefix)?;
                }
            }
            (Protocol::Memcached, Workload::Set) => {
                made.bytes.write_all(b"set ")?;
                made.key(prefix)?;
                write!(made.bytes, " 0 0 {value_bytes}\r\n{value}\r\n")?;
            }
            (Protocol::Memcached, Workload::Get | Workload::Mget) => {
                made.bytes.write_all(b"get")?;
                for _ in 0..keys {
                    made.bytes.push(b' ');
                    made.key(prefix)?;
                }
                made.bytes.write_all(b"\r\n")?;
            }
        }
        Ok(made)
    }

    /// Appends a request for the next keys.
    pub(crate) fn append(&self, out: &mut Vec<u8>, keys: &mut Keys) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let Some(request) = out.get_mut(start..) else {
            return;
        };
        for number in &self.numbers {
            let mut rest = keys.next();
            for digit in request
                .get_mut(number.clone())
                .unwrap_or_default()
                .iter_mut()
                .rev()
            {
                if rest == 0 {
                    break;
                }
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
                rest /= 10;
            }
        }
    }

    fn bulk_key(&mut self, prefix: &str) -> io::Result<()> {
        write!(self.bytes, "${}\r\n", prefix.len() + DIGITS)?;
        self.key(prefix)?;
        self.bytes.write_all(b"\r\n")
    }

    fn key(&mut self, prefix: &str) -> io::Result<()> {
        self.bytes.write_all(prefix.as_bytes())?;
        let start = self.bytes.len();
        self.bytes.resize(start + DIGITS, b'0');
        self.numbers.push(start..start + DIGITS);
        Ok(())
    }
}
