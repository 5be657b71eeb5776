//! Copies keys from one source to its destinations, batch by batch.
//!
//! ```text
//!   batch n+1   source:       PEXPIRETIME, DUMP      sent first, executed while the destinations work
//!   batch n     destinations: RESTORE ... REPLACE ABSTTL, or UNLINK if the source has no such key
//! ```
//!
//! Invariants: one connection to a destination restores, in the order in which the dumps were read, so a copy never
//! replaces a later one; a key is removed from the caller's list only when its copy has been confirmed.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::time::Instant;

use crate::mover::destination::Destination;
use crate::mover::dirty::Cause;
use crate::mover::endpoint::Endpoint;
use crate::mover::error::MoverError;
use crate::mover::pace::{Limits, Pace};
use crate::mover::source::{Dumped, Source};
use crate::protocol::redis::resp::inspect;
use crate::redis_client::Info;

/// The most keys of a batch. Their dumps, if small, keep the source busy for about half a millisecond.
const BATCH_KEYS: usize = 200;
/// The bytes of dumps that a batch aims at: it has fewer keys when the keys of late were large.
const BATCH_BYTES: u64 = 2 << 20;
/// The size of keys that is assumed before the first batch.
const FIRST_BYTES: u64 = 64 << 10;

/// A database at the source, and the one that gets its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabasePair {
    /// At the source.
    pub source: u32,
    /// At the destinations.
    pub destination: u32,
}

/// A key that is to be copied.
#[derive(Debug)]
pub(crate) struct Todo {
    pub(crate) key: Box<[u8]>,
    /// The destination, by its position.
    pub(crate) to: usize,
    pub(crate) cause: Cause,
}

/// What has been done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Copies, of which several may be of one key.
    pub copied: u64,
    /// Copies that were unlinked since the source has no such key any more.
    pub deleted: u64,
    /// Bytes of dumps.
    pub bytes: u64,
    /// Copies that were made again since somebody else had changed them at the destination, or they were evicted there.
    pub foreign: u64,
}

/// The connections of one source and its destinations.
#[derive(Debug)]
pub(crate) struct Copier {
    pub(crate) source: Source,
    source_version: String,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) pace: Pace,
    pub(crate) tally: Tally,
    /// By database of the source, keys whose changes the feed does not tell.
    untold: BTreeMap<u32, HashSet<Box<[u8]>>>,
    /// Leaves keys alone that only destinations have.
    keeps_others: bool,
    batch: Batch,
}

/// The size of the next batch.
#[derive(Debug)]
struct Batch {
    keys: usize,
    /// The largest dump of late.
    largest: u64,
}

impl Copier {
    pub(crate) fn open(
        source: Endpoint,
        source_info: &Info,
        destinations: Vec<Destination>,
        client_name: &str,
        limits: Limits,
        keeps_others: bool,
    ) -> Result<Self, MoverError> {
        Ok(Self {
            source: Source::open(source, client_name)?,
            source_version: source_info.version(),
            destinations,
            pace: Pace::new(limits),
            tally: Tally::default(),
            untold: BTreeMap::new(),
            keeps_others,
            batch: Batch {
                keys: BATCH_KEYS,
                largest: FIRST_BYTES,
            },
        })
    }

    /// Copies keys of one database, until `until` at the earliest. After that, and after an error, `keys` has those that
    /// are still to be copied.
    pub(crate) fn copy(
        &mut self,
        databases: DatabasePair,
        keys: &mut Vec<Todo>,
        until: Instant,
    ) -> Result<(), MoverError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.source.select(databases.source)?;
        for destination in &mut self.destinations {
            destination.select(databases.destination)?;
        }
        let mut read: Vec<(Todo, Dumped)> = Vec::new();
        loop {
            if let Err(error) = self.source.measure(&mut self.pace) {
                keys.extend(read.into_iter().map(|(todo, _)| todo));
                return Err(error);
            }
            let next = if Instant::now() < until || read.is_empty() {
                keys.split_off(keys.len().saturating_sub(self.batch.size()))
            } else {
                Vec::new()
            };
            self.source.ask(next.iter().map(|todo| &*todo.key))?;
            let written = self.write(databases.source, &mut read);
            let dumped = self.source.answer();
            // Whatever fails, these are still to be copied.
            if written.is_err() || dumped.is_err() {
                keys.extend(next);
                keys.extend(read.into_iter().map(|(todo, _)| todo));
                written?;
                dumped?;
                return Ok(());
            }
            read = next.into_iter().zip(dumped?).collect();
            if read.is_empty() {
                return Ok(());
            }
            let sizes = read.iter().map(|(_, dumped)| dumped.payload().len() as u64);
            self.batch.adapt(sizes.clone().max().unwrap_or_default());
            self.pace.wait(read.len() as u64, sizes.sum());
        }
    }

    /// Writes a batch; empties it if all are confirmed.
    fn write(&mut self, database: u32, batch: &mut Vec<(Todo, Dumped)>) -> Result<(), MoverError> {
        for (todo, dumped) in &*batch {
            if let Some(destination) = self.destinations.get(todo.to) {
                destination.check_size(&todo.key, dumped)?;
            }
        }
        for (nth, (todo, dumped)) in batch.iter().enumerate() {
            let is_others = todo.cause == Cause::Destination && self.keeps_others;
            if is_others && matches!(dumped, Dumped::Absent) {
                continue;
            }
            if let Some(destination) = self.destinations.get_mut(todo.to) {
                destination.queue(nth, &todo.key, dumped);
            }
        }
        for destination in &mut self.destinations {
            destination.start()?;
        }
        let mut refused = None;
        for destination in &mut self.destinations {
            match destination.finish()? {
                Ok(written) => {
                    self.tally.copied += written.restored;
                    self.tally.deleted += written.deleted;
                }
                Err((nth, reply)) => {
                    if let Some((todo, dumped)) = batch.get(nth) {
                        let (at, version) = (&self.source.at, &self.source_version);
                        let refusal = destination.refusal(at, version, &todo.key, dumped, &reply);
                        // One that stays counts more than one that passes.
                        refused = match refused {
                            Some(earlier) if refusal.may_go_on() => Some(earlier),
                            _ => Some(refusal),
                        };
                    }
                }
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        for (todo, dumped) in mem::take(batch) {
            self.tally.bytes += dumped.payload().len() as u64;
            // What the source does not have any more has expired in both places.
            let is_foreign = todo.cause == Cause::Destination && !dumped.payload().is_empty();
            self.tally.foreign += u64::from(is_foreign);
            if !dumped.is_told() {
                self.untold.entry(database).or_default().insert(todo.key);
            } else if let Some(keys) = self.untold.get_mut(&database) {
                keys.remove(&todo.key);
            }
        }
        Ok(())
    }

    /// Tries whether all destinations load what the source dumps, with one of its keys; does nothing if it has none.
    pub(crate) fn try_formats(&mut self, databases: &[DatabasePair]) -> Result<(), MoverError> {
        for pair in databases {
            self.source.select(pair.source)?;
            let key = self.source.connection.call(&[b"RANDOMKEY"]);
            let key = key.map_err(|error| self.source.fault(error))?;
            let Some(key) = inspect::bulk(&key) else {
                continue;
            };
            self.source.ask([key].into_iter())?;
            let dumped = self.source.answer()?;
            if let Some(dumped @ Dumped::Value { .. }) = dumped.first() {
                let (at, version) = (&self.source.at, &self.source_version);
                for destination in &mut self.destinations {
                    destination.check_size(key, dumped)?;
                    destination.try_dump(at, version, key, dumped)?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// The keys of a database whose changes the feed does not tell.
    pub(crate) fn untold(&self, database: u32) -> impl Iterator<Item = &[u8]> {
        let keys = self.untold.get(&database);
        keys.into_iter().flatten().map(|key| &**key)
    }

    /// The number of keys whose changes the feed does not tell.
    pub(crate) fn untold_len(&self) -> usize {
        self.untold.values().map(HashSet::len).sum()
    }
}

impl Batch {
    fn size(&self) -> usize {
        let fitting = BATCH_BYTES / self.largest.max(1);
        usize::try_from(fitting).map_or(self.keys, |fitting| fitting.clamp(1, self.keys))
    }

    /// Large keys make the next batches small at once, and small ones make them large again step by step.
    fn adapt(&mut self, largest: u64) {
        self.largest = largest.max(self.largest - self.largest / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_shrink_at_once_and_grow_by_steps() {
        let mut batch = Batch {
            keys: BATCH_KEYS,
            largest: FIRST_BYTES,
        };
        assert_eq!(batch.size(), 32);
        for _ in 0..20 {
            batch.adapt(100);
        }
        assert_eq!(batch.size(), BATCH_KEYS);
        batch.adapt(10 << 20);
        assert_eq!(batch.size(), 1);
        batch.adapt(100);
        assert_eq!(batch.size(), 1);
        for _ in 0..40 {
            batch.adapt(100);
        }
        assert_eq!(batch.size(), BATCH_KEYS);
        batch.adapt(u64::MAX);
        assert_eq!(batch.size(), 1);
    }
}
