//! The owners of keys while they move from one placement to another.

use std::sync::Arc;

use crate::hash::{HashKind, HashTag};
use crate::topology::reshard::{Bucket, BucketSet, Placement};
use crate::topology::ring::Ring;
use crate::topology::{Member, ServerIndex};

/// Two placements on the servers of both, and which keys have moved from the first to the second.
#[derive(Debug, Clone)]
pub(in crate::topology) struct Moving {
    placements: [Arc<Placement>; 2],
    before: Ring,
    after: Ring,
    /// How the second hashes; none if as the first does.
    after_hash: Option<(HashKind, Option<HashTag>)>,
    /// By position.
    sources: Box<[SourceState]>,
}

/// What is known of the keys that move away from one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceState {
    /// The number of its last hold.
    pub hold: u64,
    /// The buckets that have moved.
    pub moved: BucketSet,
    /// The buckets whose requests wait.
    pub held: BucketSet,
    /// It is not known which keys have moved: requests for all those that have not, as far as is known, wait.
    pub is_in_doubt: bool,
}

impl Moving {
    /// `members` are the servers of both placements; `source` tells what is known of one of them.
    pub(in crate::topology) fn new(
        before: &Arc<Placement>,
        after: &Arc<Placement>,
        members: &[Member],
        source: impl Fn(&str) -> SourceState,
    ) -> Self {
        let hashing = |placement: &Placement| (placement.hash, placement.hash_tag);
        let sources = members.iter().map(|member| source(&member.name));
        Self {
            placements: [Arc::clone(before), Arc::clone(after)],
            before: ring(before, members),
            after: ring(after, members),
            after_hash: (hashing(before) != hashing(after)).then(|| hashing(after)),
            sources: sources.collect(),
        }
    }

    /// The same move, of which something else is known by now.
    pub(in crate::topology) fn with_sources(
        &self,
        members: &[Member],
        source: impl Fn(&str) -> SourceState,
    ) -> Self {
        let sources = members.iter().map(|member| source(&member.name));
        Self {
            sources: sources.collect(),
            ..self.clone()
        }
    }

    /// Returns true if it is the same move.
    pub(in crate::topology) fn is_same_move(&self, other: &Self) -> bool {
        self.placements == other.placements
    }

    /// Returns true if requests for the same keys go to the same servers, or wait.
    pub(in crate::topology) fn has_moved_as(&self, other: &Self) -> bool {
        self.sources == other.sources
    }

    /// Returns true if requests for some keys wait.
    pub(in crate::topology) fn has_holds(&self) -> bool {
        let waits = |source: &SourceState| source.is_in_doubt || !source.held.is_empty();
        self.sources.iter().any(waits)
    }

    /// The owner of a key with this hash in the first placement.
    pub(in crate::topology) fn owner(&self, hash: u32, key: &[u8]) -> Option<ServerIndex> {
        self.owner_of(hash, self.hash_after(hash, key))
    }

    /// Returns true if requests for a key with this hash in the first placement wait.
    pub(in crate::topology) fn is_held(&self, hash: u32, key: &[u8]) -> bool {
        self.is_held_of(hash, self.hash_after(hash, key))
    }

    /// The owner of the keys with this hash; none if both placements do not hash alike, and their owner is not known.
    pub(in crate::topology) fn owner_by_hash(&self, hash: u32) -> Option<ServerIndex> {
        match self.after_hash {
            None => self.owner_of(hash, hash),
            Some(_) => None,
        }
    }

    /// Returns true if requests for keys with this hash wait; also if they may.
    pub(in crate::topology) fn is_held_by_hash(&self, hash: u32) -> bool {
        if self.after_hash.is_none() {
            return self.is_held_of(hash, hash);
        }
        let source = self.before.owner(hash).and_then(|owner| self.source(owner));
        source.is_some_and(|source| source.holds(Bucket::of(hash)))
    }

    /// What is known of a server.
    pub(in crate::topology) fn source(&self, server: ServerIndex) -> Option<&SourceState> {
        self.sources.get(server.index())
    }

    /// The server at which messages are published. Before the first keys move, all proxies have vouched, and hear channels at
    /// both homes: so nobody misses a message when publishers change to the second.
    pub(in crate::topology) fn home(&self, hash: u32, channel: &[u8]) -> Option<ServerIndex> {
        let has_begun = self.sources.iter().any(|source| !source.moved.is_empty());
        if has_begun {
            self.after.owner(self.hash_after(hash, channel))
        } else {
            self.before.owner(hash)
        }
    }

    /// The owners in both placements; one if they are the same.
    pub(in crate::topology) fn homes(&self, hash: u32, key: &[u8]) -> [Option<ServerIndex>; 2] {
        let (before, after) = (
            self.before.owner(hash),
            self.after.owner(self.hash_after(hash, key)),
        );
        [before, after.filter(|_| after != before)]
    }

    fn hash_after(&self, hash: u32, key: &[u8]) -> u32 {
        self.after_hash.map_or(hash, |(kind, tag)| {
            kind.hash(tag.map_or(key, |tag| tag.apply(key)))
        })
    }

    fn owner_of(&self, hash: u32, hash_after: u32) -> Option<ServerIndex> {
        let (before, after) = (self.before.owner(hash)?, self.after.owner(hash_after)?);
        let has_moved = before != after && self.source(before)?.moved.contains(Bucket::of(hash));
        Some(if has_moved { after } else { before })
    }

    fn is_held_of(&self, hash: u32, hash_after: u32) -> bool {
        let before = self.before.owner(hash);
        let source = before.and_then(|before| self.source(before));
        source.is_some_and(|source| source.holds(Bucket::of(hash)))
            && before != self.after.owner(hash_after)
    }
}

impl SourceState {
    fn holds(&self, bucket: Bucket) -> bool {
        (self.is_in_doubt || self.held.contains(bucket)) && !self.moved.contains(bucket)
    }
}

/// The ring of one placement, with the positions of its servers among all members.
fn ring(placement: &Placement, members: &[Member]) -> Ring {
    let all = ServerIndex::all().zip(members);
    let own: Vec<_> = all
        .filter_map(|(index, member)| {
            let server = placement.server(&member.name)?;
            let weight = server.weight;
            Some((
                index,
                Member {
                    weight,
                    ..member.clone()
                },
            ))
        })
        .collect();
    let live: Vec<_> = own.iter().map(|(index, member)| (*index, member)).collect();
    Ring::new(placement.distribution, &live)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Distribution;
    use crate::topology::Router;
    use crate::topology::reshard::placement::tests::placement;

    /// A router of a move between two placements.
    fn router(
        before: &Placement,
        after: &Placement,
        source: impl Fn(&str) -> SourceState,
    ) -> Router {
        let (before, after) = (Arc::new(before.clone()), Arc::new(after.clone()));
        Router::moving(&before, &after, source)
    }

    fn owner<'r>(router: &'r Router, key: &[u8]) -> &'r str {
        &router.members()[router.route(key).unwrap().index()].name
    }

    fn moved(buckets: BucketSet) -> SourceState {
        SourceState {
            moved: buckets,
            ..SourceState::default()
        }
    }

    fn cases() -> Vec<(Placement, Placement)> {
        let two = placement(&[("a", 1), ("b", 1)]);
        let three = placement(&[("a", 1), ("b", 1), ("c", 1)]);
        let heavy = placement(&[("a", 1), ("b", 5), ("c", 1)]);
        let modula = Placement {
            distribution: Distribution::Modula,
            ..three.clone()
        };
        let md5 = Placement {
            hash: HashKind::Md5,
            ..three.clone()
        };
        vec![
            (two.clone(), three.clone()),
            (three.clone(), two),
            (three.clone(), heavy),
            (three.clone(), modula),
            (three, md5),
        ]
    }

    proptest! {
        #[test]
        fn keys_move_bucket_by_bucket(key in any::<Vec<u8>>(), case in 0..5_usize) {
            let (before, after) = &cases()[case];
            let (old, new) = (Router::of_placement(before), Router::of_placement(after));
            let bucket = Bucket::of(old.tagged_hash(&key));
            for buckets in [BucketSet::EMPTY, [bucket].into_iter().collect(), BucketSet::ALL] {
                let moving = router(before, after, |_| moved(buckets));
                let expected = if buckets.contains(bucket) { &new } else { &old };
                prop_assert_eq!(owner(&moving, &key), owner(expected, &key));
                prop_assert!(!moving.is_held(&key));
            }
        }

        #[test]
        fn only_keys_that_move_are_held(key in any::<Vec<u8>>(), case in 0..5_usize, in_doubt in any::<bool>()) {
            let (before, after) = &cases()[case];
            let (old, new) = (Router::of_placement(before), Router::of_placement(after));
            let bucket = Bucket::of(old.tagged_hash(&key));
            let moves = owner(&old, &key) != owner(&new, &key);
            let held = SourceState {
                held: if in_doubt { BucketSet::EMPTY } else { [bucket].into_iter().collect() },
                is_in_doubt: in_doubt,
                ..SourceState::default()
            };
            let moving = router(before, after, |_| held.clone());
            prop_assert!(moving.has_holds());
            prop_assert_eq!(moving.is_held(&key), moves);
            prop_assert!(!moves || moving.is_held_by_hash(moving.tagged_hash(&key)));
            let moving = router(before, after, |_| SourceState { moved: BucketSet::ALL, ..held.clone() });
            prop_assert!(!moving.is_held(&key));
        }
    }

    #[test]
    fn hold_concerns_its_source_alone() {
        let (before, after) = &cases()[0];
        let held = |name: &str| {
            SourceState {
                held: BucketSet::ALL,
                is_in_doubt: false,
                ..SourceState::default()
            }
            .only(name == "a")
        };
        let moving = router(before, after, held);
        let old = Router::of_placement(before);
        let mut counts = [0, 0];
        for number in 0..2000_u32 {
            let key = number.to_le_bytes();
            if owner(&old, &key) == "b" {
                assert!(!moving.is_held(&key));
                counts[0] += 1;
            } else {
                counts[1] += u32::from(moving.is_held(&key));
            }
        }
        assert!(counts.into_iter().all(|count| count > 100), "{counts:?}");
    }

    impl SourceState {
        fn only(self, is_meant: bool) -> Self {
            if is_meant { self } else { Self::default() }
        }
    }
}
