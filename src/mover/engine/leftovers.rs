//! Copies whose originals are gone: nobody saw their deletion.

use bytes::Bytes;

use crate::mover::copier::{DatabasePair, Todo};
use crate::mover::dirty::Cause;
use crate::mover::engine::Mover;
use crate::mover::error::MoverError;
use crate::mover::scan::Scan;

impl Mover {
    /// `Err` if the source has no keys although there should be some: to remove what it has not would lose the copies.
    pub fn require_keys(&mut self) -> Result<(), MoverError> {
        for pair in self.databases.clone() {
            let source = &mut self.copier.source;
            source.select(pair.source)?;
            let reply = source.connection.call(&[b"DBSIZE"]);
            let reply = reply.map_err(|error| source.fault(error))?;
            if *reply != *b":0\r\n" {
                return Ok(());
            }
        }
        let server = self.copier.source.at.to_string();
        Err(MoverError::CameBackEmpty { server })
    }

    /// Scans the destinations for keys that they would get from this source, and that it does not have: copies of an
    /// earlier mover, whose deletion nobody saw. Unlinks them, and returns their number. Not for destinations that have
    /// keys of their own.
    pub fn remove_leftovers(&mut self) -> Result<u64, MoverError> {
        let before = self.copier.tally.deleted;
        for to in 0..self.copier.destinations.len() {
            for pair in self.databases.clone() {
                let mut scan = Scan::new([pair.destination], self.copier.pace.page_keys());
                while let Some(keys) = self.page_of(to, &mut scan)? {
                    self.remove_absent(pair, to, &keys)?;
                }
            }
        }
        Ok(self.copier.tally.deleted - before)
    }

    /// The next keys that a destination would get from this source.
    fn page_of(&mut self, to: usize, scan: &mut Scan) -> Result<Option<Vec<Bytes>>, MoverError> {
        let Some(destination) = self.copier.destinations.get_mut(to) else {
            return Ok(None);
        };
        let page = scan.next(destination.feed.connection());
        let page = page.map_err(|error| destination.feed.lost(error))?;
        Ok(page.map(|(_, mut keys)| {
            keys.retain(|key| (self.placement)(key) == Some(to));
            keys
        }))
    }

    /// Unlinks those of the keys that the source does not have.
    fn remove_absent(
        &mut self,
        pair: DatabasePair,
        to: usize,
        keys: &[Bytes],
    ) -> Result<(), MoverError> {
        let source = &mut self.copier.source;
        source.select(pair.source)?;
        let words: &[&[u8]] = &[b"EXISTS"];
        let exists = source
            .connection
            .call_each(words, keys.iter().map(AsRef::as_ref))
            .map_err(|error| source.fault(error))?;
        let absent = keys
            .iter()
            .zip(&exists)
            .filter(|(_, reply)| ***reply == *b":0\r\n");
        // Copying decides, not this reply: the key may have come into being.
        let mut todo: Vec<_> = absent
            .map(|(key, _)| Todo {
                key: key.as_ref().into(),
                to,
                cause: Cause::Source,
            })
            .collect();
        self.copy_todo(pair, &mut todo)
    }
}
