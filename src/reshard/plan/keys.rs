//! Big keys and hot keys among those that move: by a sample, or by a look at all.

use crate::protocol::redis::resp::inspect;
use crate::redis_client::{Connection, ServerError};
use crate::reshard::error::ReshardError;
use crate::reshard::plan::servers::{Looked, Survey};
use crate::reshard::routes::Routes;
use crate::reshard::worker::databases;
use crate::text::{printable_key, size};
use crate::topology::is_mark;

/// The keys that are looked at of each source, unless all are: a fraction of a second.
const SAMPLE: u64 = 20_000;
const PAGE_KEYS: u32 = 1000;
/// The most keys of each kind that are told of a source.
const TOLD: usize = 5;
/// The memory of values of many small parts that is dumped and restored in a second, about: measured with Redis 7.0 and hashes,
/// sets, sorted sets. Lists and strings are several times faster.
const BYTES_PER_SECOND: u64 = 50 << 20;
/// The frequency of use from which on a key is hot (`OBJECT FREQ`, with the default `lfu-log-factor`): about 100,000 uses.
const HOT: u64 = 142;

/// A key with what is remarkable about it: its bytes, or its frequency.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remarkable {
    key: Vec<u8>,
    much: u64,
}

/// The first of them, the largest first.
#[derive(Debug, Default)]
struct First(Vec<Remarkable>);

impl First {
    fn add(&mut self, key: &[u8], much: u64) {
        let at = self.0.partition_point(|known| known.much >= much);
        // A scan may tell a key twice.
        if at < TOLD && !self.0.iter().any(|known| known.key == key) {
            let key = key.to_vec();
            self.0.insert(at, Remarkable { key, much });
            self.0.truncate(TOLD);
        }
    }

    fn told(&self, much: impl Fn(u64) -> String) -> String {
        let told = self.0.iter();
        let told =
            told.map(|found| format!("{} ({})", printable_key(&found.key), much(found.much)));
        told.collect::<Vec<_>>().join(", ")
    }
}

#[derive(Debug, Default)]
struct Found {
    looked: u64,
    is_all: bool,
    big: First,
    hot: First,
}

impl Survey<'_> {
    pub(super) fn big_and_hot_keys(&mut self) -> Result<Looked, ReshardError> {
        let mut looked = Looked {
            keys: 0,
            are_all: true,
        };
        let hold = self.job.limits.hold;
        let numbers: Vec<_> = databases(self.job.pool)
            .iter()
            .map(|pair| pair.source)
            .collect();
        let sources: Vec<_> = self.routes.sources().collect();
        for server in self
            .servers
            .iter()
            .filter(|server| sources.contains(&server.name.as_str()))
        {
            let policy = server.info.text("maxmemory_policy").unwrap_or_default();
            let look = Look {
                source: &server.name,
                routes: self.routes,
                databases: &numbers,
                most: (!self.job.looks_at_all_keys).then_some(SAMPLE),
                big: BYTES_PER_SECOND * u64::try_from(hold.as_millis()).unwrap_or(u64::MAX) / 2000,
                asks_frequency: policy.ends_with("-lfu"),
            };
            let found = server.ask(|connection| look.at(connection))?;
            looked.keys += found.looked;
            looked.are_all &= found.is_all;
            if let Some(largest) = found.big.0.first() {
                self.warnings.push(format!(
                    "{} has big keys: {}; if one changes while it is given away, or is a stream, requests for it wait, about {} ms \
                     for the first, and a hold that takes longer than --hold ({} ms) is aborted: write less to it meanwhile, \
                     split it, or give more time by --hold",
                    server.at,
                    found.big.told(size),
                    largest.much * 1000 / BYTES_PER_SECOND,
                    hold.as_millis()
                ));
            }
            if !found.hot.0.is_empty() {
                self.warnings.push(format!(
                    "{} has keys that are used often (OBJECT FREQ): {}; each goes with all its load to its new server",
                    server.at,
                    found.hot.told(|uses| uses.to_string()),
                ));
            }
        }
        Ok(looked)
    }
}

/// How to look at the keys of a source.
struct Look<'a> {
    source: &'a str,
    routes: &'a Routes,
    databases: &'a [u32],
    /// None is all keys.
    most: Option<u64>,
    /// From so many bytes on a key is big.
    big: u64,
    asks_frequency: bool,
}

impl Look<'_> {
    fn at(&self, connection: &mut Connection) -> Result<Found, ServerError> {
        let mut found = Found {
            is_all: true,
            ..Found::default()
        };
        for &database in self.databases {
            connection.select(database)?;
            let mut cursor = b"0".to_vec();
            loop {
                if self.most.is_some_and(|most| found.looked >= most) {
                    found.is_all = false;
                    break;
                }
                let (next, keys) = connection.scan(&cursor, PAGE_KEYS)?;
                found.looked += keys.len() as u64;
                let moves = |key: &&[u8]| !is_mark(key) && self.routes.leaves(self.source, key);
                let keys: Vec<_> = keys.iter().map(AsRef::as_ref).filter(moves).collect();
                self.look_at(connection, &keys, &mut found)?;
                if *next == *b"0" {
                    break;
                }
                cursor = next.to_vec();
            }
        }
        connection.select(0)?;
        Ok(found)
    }

    fn look_at(
        &self,
        connection: &mut Connection,
        keys: &[&[u8]],
        found: &mut Found,
    ) -> Result<(), ServerError> {
        let number = |reply: &[u8]| u64::try_from(inspect::integer(reply)?).ok();
        let words: &[&[u8]] = &[b"MEMORY", b"USAGE"];
        let bytes = connection.call_each(words, keys.iter().copied())?;
        for (key, reply) in keys.iter().zip(&bytes) {
            if let Some(bytes) = number(reply).filter(|bytes| *bytes >= self.big) {
                found.big.add(key, bytes);
            }
        }
        if self.asks_frequency {
            let words: &[&[u8]] = &[b"OBJECT", b"FREQ"];
            let uses = connection.call_each(words, keys.iter().copied())?;
            for (key, reply) in keys.iter().zip(&uses) {
                if let Some(uses) = number(reply).filter(|uses| *uses >= HOT) {
                    found.hot.add(key, uses);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_keys_come_first_and_once() {
        let mut first = First::default();
        for (key, much) in [
            ("a", 3),
            ("b", 9),
            ("c", 1),
            ("b", 9),
            ("d", 5),
            ("e", 5),
            ("f", 4),
        ] {
            first.add(key.as_bytes(), much);
        }
        let told: Vec<_> = first
            .0
            .iter()
            .map(|found| (&*found.key, found.much))
            .collect();
        let expected = [("b", 9), ("d", 5), ("e", 5), ("f", 4), ("a", 3)];
        assert_eq!(told, expected.map(|(key, much)| (key.as_bytes(), much)));
    }
}
