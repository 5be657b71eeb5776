//! The keys that are to be copied once more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The reason why a key is to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It has changed at the source, or was found there.
    Source,
    /// Somebody has changed the copy, or it was evicted.
    Destination,
}

/// A key that is to be copied, in each database: the feed tells no database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirtyKey {
    pub(crate) key: Box<[u8]>,
    pub(crate) cause: Cause,
}

/// The keys that are to be copied once more: each one once, however often it changes.
#[derive(Debug, Default)]
pub(crate) struct DirtySet {
    keys: HashMap<Box<[u8]>, Cause>,
}

impl DirtySet {
    /// Adds a key. A change at the source counts more than one of the copy.
    pub(crate) fn add(&mut self, key: &[u8], cause: Cause) {
        match self.keys.entry(key.into()) {
            Entry::Vacant(entry) => {
                entry.insert(cause);
            }
            Entry::Occupied(mut entry) if cause == Cause::Source => {
                entry.insert(cause);
            }
            Entry::Occupied(_) => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes all of them.
    pub(crate) fn take(&mut self) -> Vec<DirtyKey> {
        let keys = std::mem::take(&mut self.keys);
        keys.into_iter().map(DirtyKey::from).collect()
    }

    /// Takes some of them.
    pub(crate) fn take_where(&mut self, wanted: &dyn Fn(&[u8]) -> bool) -> Vec<DirtyKey> {
        let taken = self.keys.extract_if(|key, _| wanted(key));
        taken.map(DirtyKey::from).collect()
    }
}

impl From<(Box<[u8]>, Cause)> for DirtyKey {
    fn from((key, cause): (Box<[u8]>, Cause)) -> Self {
        Self { key, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_dirty_once_and_by_its_source_if_that_changed() {
        let mut dirty = DirtySet::default();
        dirty.add(b"a", Cause::Source);
        dirty.add(b"a", Cause::Destination);
        dirty.add(b"b", Cause::Destination);
        assert_eq!(dirty.len(), 2);
        let taken = dirty.take_where(&|key| key == b"a");
        assert_eq!(
            taken,
            [DirtyKey {
                key: b"a"[..].into(),
                cause: Cause::Source
            }]
        );
        assert_eq!(dirty.take().len(), 1);
        assert_eq!(dirty.len(), 0);
    }
}
