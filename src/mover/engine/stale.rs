//! Keys that somebody writes at the source after it has given them away.
//!
//! The feed tells every change, also that a key has expired or was evicted; what is there after it was written by somebody who
//! looks for it in the wrong place. Deletions are not seen.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::mover::copier::DatabasePair;
use crate::mover::error::MoverError;
use crate::mover::source::Source;

/// The most keys that are looked at together. Of more, the rest is not counted.
const SUSPECTS: usize = 1000;

/// Returns true for a key that a source has given away: nobody should write it there any more.
pub type GivenAway = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

pub(super) struct Stale {
    given_away: Option<GivenAway>,
    /// Keys that have changed since they were given away, and may be there or not.
    suspects: RefCell<Vec<Box<[u8]>>>,
    count: u64,
    last: Option<Box<[u8]>>,
}

impl fmt::Debug for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stale")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Stale {
    pub(super) fn of(given_away: Option<GivenAway>) -> Self {
        Self {
            given_away,
            suspects: RefCell::default(),
            count: 0,
            last: None,
        }
    }

    /// Takes note of a change of a key that the source does not have to give away.
    pub(super) fn suspect(&self, key: &[u8]) {
        if self.given_away.as_ref().is_some_and(|given| given(key)) {
            let mut suspects = self.suspects.borrow_mut();
            if suspects.len() < SUSPECTS {
                suspects.push(key.into());
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn last(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }

    /// Counts those of the suspects that are there, in any of these databases of the source.
    pub(super) fn look(
        &mut self,
        source: &mut Source,
        databases: &[DatabasePair],
    ) -> Result<(), MoverError> {
        let suspects = self.suspects.take();
        if suspects.is_empty() {
            return Ok(());
        }
        for pair in databases {
            source.select(pair.source)?;
            let words: &[&[u8]] = &[b"EXISTS"];
            let keys = suspects.iter().map(AsRef::as_ref);
            let exist = source.connection.call_each(words, keys);
            let exist = exist.map_err(|error| source.fault(error))?;
            let found = suspects
                .iter()
                .zip(exist)
                .filter(|(_, is)| **is == *b":1\r\n");
            for (key, _) in found {
                self.count += 1;
                self.last = Some(key.clone());
            }
        }
        Ok(())
    }
}
