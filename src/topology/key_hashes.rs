//! The hashes of keys whose owner may be asked for again, under a later topology, without the keys themselves.

use crate::hash::{HashKind, HashTag};
use crate::topology::{Router, ServerIndex};

/// The hashes of the keys of a transaction or a watch.
#[derive(Debug, Clone, Default)]
pub struct KeyHashes {
    /// The function that they are hashed with, and the tag; none before the first key.
    with: Option<(HashKind, Option<HashTag>)>,
    /// Sorted, without duplicates.
    hashes: Vec<u32>,
    /// They were hashed in different ways, so their owners are not known any more.
    is_mixed: bool,
}

impl KeyHashes {
    /// Adds a key.
    pub fn add(&mut self, key: &[u8], router: &Router) {
        let with = (router.hash(), router.tag());
        self.is_mixed |= *self.with.get_or_insert(with) != with;
        let hash = router.tagged_hash(key);
        if let Err(place) = self.hashes.binary_search(&hash) {
            self.hashes.insert(place, hash);
        }
    }

    /// Returns true if there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns true if requests for one of the keys wait, since it is being moved; also if it may.
    #[must_use]
    pub fn is_held(&self, router: &Router) -> bool {
        let mut hashes = self.hashes.iter();
        hashes.any(|&hash| router.is_held_by_hash(hash))
    }

    /// The server that owns all the keys; none if they have different owners, or if their owner is not known.
    #[must_use]
    pub fn common_owner(&self, router: &Router) -> Option<ServerIndex> {
        if self.is_mixed || self.with? != (router.hash(), router.tag()) {
            return None;
        }
        let mut owners = self.hashes.iter().map(|&hash| router.owner_of(hash));
        let first = owners.next()??;
        owners.all(|owner| owner == Some(first)).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Distribution;
    use crate::topology::Member;

    fn router(hash: HashKind, servers: usize) -> Router {
        let member = |index| Member {
            name: format!("s{index}"),
            weight: 1,
        };
        let members: Vec<_> = (0..servers).map(member).collect();
        Router::new(hash, None, Distribution::Ketama, &members)
    }

    #[test]
    fn common_owner_follows_the_router() {
        let (few, many) = (router(HashKind::Murmur, 1), router(HashKind::Murmur, 7));
        for number in 0..50_u32 {
            let mut hashes = KeyHashes::default();
            assert_eq!(hashes.common_owner(&many), None);
            let key = number.to_le_bytes();
            hashes.add(&key, &few);
            assert_eq!(hashes.common_owner(&few), few.route(&key));
            assert_eq!(hashes.common_owner(&many), many.route(&key));
        }
    }

    #[test]
    fn keys_apart_or_hashed_otherwise_have_no_common_owner() {
        let (murmur, md5) = (router(HashKind::Murmur, 7), router(HashKind::Md5, 7));
        let mut hashes = KeyHashes::default();
        for number in 0..50_u32 {
            hashes.add(&number.to_le_bytes(), &murmur);
        }
        assert_eq!(hashes.common_owner(&murmur), None);
        let mut hashes = KeyHashes::default();
        hashes.add(b"key", &murmur);
        assert_eq!(hashes.common_owner(&md5), None);
        hashes.add(b"key", &md5);
        assert_eq!(hashes.common_owner(&murmur), None);
    }
}
