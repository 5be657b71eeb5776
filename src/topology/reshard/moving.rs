//! The owners of keys while they move from one placement to another.

use std::sync::Arc;

use crate::config::ServerConfig;
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
    /// What each server is called in the move, by position.
    names: Arc<[String]>,
    /// By position.
    sources: Box<[SourceState]>,
    /// By position: the server whose place it takes, by replication.
    takes_place_of: Arc<[Option<ServerIndex>]>,
    /// The positions of the servers of each placement.
    laps: [Arc<[ServerIndex]>; 2],
}

/// Where a key is while keys move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its owner in the first placement.
    pub before: ServerIndex,
    /// Its owner in the second.
    pub after: ServerIndex,
    /// Its bucket, at the first owner.
    pub bucket: Bucket,
    /// It belongs to the second owner by now.
    pub has_moved: bool,
    /// It is not known at this moment whether it has moved.
    pub is_held: bool,
}

impl Whereabouts {
    /// The owner, as far as is known.
    #[must_use]
    pub fn owner(&self) -> ServerIndex {
        if self.has_moved {
            self.after
        } else {
            self.before
        }
    }

    /// Returns true if the owners differ.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.before != self.after
    }
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
    /// `servers` are those of both placements; `source` tells what is known of one, by what it is called in the move.
    pub(in crate::topology) fn new(
        before: &Arc<Placement>,
        after: &Arc<Placement>,
        servers: &[ServerConfig],
        source: impl Fn(&str) -> SourceState,
    ) -> Self {
        let hashing = |placement: &Placement| (placement.hash, placement.hash_tag);
        let called = |server: &ServerConfig| before.called(after, &server.name, &server.address);
        let names: Arc<[String]> = servers.iter().map(called).collect();
        let takes_place_of = servers.iter().map(|server| {
            let (old, _) = before
                .replaced(after)
                .find(|(_, new)| new.name == server.name && new.address == server.address)?;
            let mut all = ServerIndex::all().zip(servers);
            all.find(|(_, other)| *other == old).map(|(index, _)| index)
        });
        let lap = |placement: &Placement| {
            let all = ServerIndex::all().zip(servers);
            all.filter(|(_, server)| placement.has(&server.name, &server.address))
                .map(|(index, _)| index)
                .collect()
        };
        Self {
            laps: [lap(before), lap(after)],
            placements: [Arc::clone(before), Arc::clone(after)],
            before: ring(before, servers),
            after: ring(after, servers),
            after_hash: (hashing(before) != hashing(after)).then(|| hashing(after)),
            takes_place_of: takes_place_of.collect(),
            sources: names.iter().map(|name| source(name)).collect(),
            names,
        }
    }

    /// The same move, of which something else is known by now.
    pub(in crate::topology) fn with_sources(&self, source: impl Fn(&str) -> SourceState) -> Self {
        Self {
            sources: self.names.iter().map(|name| source(name)).collect(),
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

    /// Where a key with this hash in the first placement is.
    pub(in crate::topology) fn whereabouts(&self, hash: u32, key: &[u8]) -> Option<Whereabouts> {
        let before = self.before.owner(hash)?;
        let after = self.after.owner(self.hash_after(hash, key))?;
        let bucket = Bucket::of(hash);
        let source = self.source(before).filter(|_| before != after);
        Some(Whereabouts {
            before,
            after,
            bucket,
            has_moved: source.is_some_and(|source| source.moved.contains(bucket)),
            is_held: source.is_some_and(|source| source.holds(bucket)),
        })
    }

    /// The positions of the servers before and after.
    pub(in crate::topology) fn laps(&self) -> &[Arc<[ServerIndex]>; 2] {
        &self.laps
    }

    /// What is known of a server.
    pub(in crate::topology) fn source(&self, server: ServerIndex) -> Option<&SourceState> {
        self.sources.get(server.index())
    }

    /// The server at which messages are published. Before the first keys move, all proxies have vouched, and hear channels at
    /// both homes: so nobody misses a message when publishers change to the second.
    ///
    /// A server that takes the place of another repeats what is published there, until the commit. So it is listened to only
    /// after that, and a second commit, of no keys but at the new server itself, tells that all proxies do.
    pub(in crate::topology) fn home(&self, hash: u32, channel: &[u8]) -> Option<ServerIndex> {
        if self.is_replacement() {
            let (before, after) = (self.before.owner(hash)?, self.after.owner(hash)?);
            let is_heard = !self.source(after)?.moved.is_empty();
            return Some(if is_heard { after } else { before });
        }
        let has_begun = self.sources.iter().any(|source| !source.moved.is_empty());
        if has_begun {
            self.after.owner(self.hash_after(hash, channel))
        } else {
            self.before.owner(hash)
        }
    }

    /// The owners in both placements; one if they are the same, or if the second is still a replica of the first.
    pub(in crate::topology) fn homes(&self, hash: u32, key: &[u8]) -> [Option<ServerIndex>; 2] {
        let (before, after) = (
            self.before.owner(hash),
            self.after.owner(self.hash_after(hash, key)),
        );
        let is_second = |after: &ServerIndex| before != Some(*after) && !self.is_standby(*after);
        [before, after.filter(is_second)]
    }

    /// Returns true if servers take the places of others, by replication.
    pub(in crate::topology) fn is_replacement(&self) -> bool {
        self.takes_place_of.iter().any(Option::is_some)
    }

    /// Returns true if a server takes the place of another, or is to.
    pub(in crate::topology) fn takes_place(&self, server: ServerIndex) -> bool {
        let place = self.takes_place_of.get(server.index());
        place.is_some_and(Option::is_some)
    }

    /// Returns true if a server is to take the place of another, and has not yet: it is not to be used.
    pub(in crate::topology) fn is_standby(&self, server: ServerIndex) -> bool {
        let place = self.takes_place_of.get(server.index()).copied().flatten();
        let source = place.and_then(|place| self.source(place));
        source.is_some_and(|source| source.moved.is_empty())
    }

    /// Returns true if another server has taken the place of this one.
    pub(in crate::topology) fn is_replaced(&self, server: ServerIndex) -> bool {
        self.takes_place_of.contains(&Some(server))
            && self
                .source(server)
                .is_some_and(|source| !source.moved.is_empty())
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
    /// Returns true if requests for the keys of some bucket wait.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        let may_hold = if self.is_in_doubt {
            BucketSet::ALL
        } else {
            self.held
        };
        !self.moved.contains_all(&may_hold)
    }

    /// Returns true if requests for the keys of a bucket wait.
    #[must_use]
    pub fn holds(&self, bucket: Bucket) -> bool {
        (self.is_in_doubt || self.held.contains(bucket)) && !self.moved.contains(bucket)
    }
}

/// The ring of one placement, with the positions of its servers among all of them.
fn ring(placement: &Placement, servers: &[ServerConfig]) -> Ring {
    let all = ServerIndex::all().zip(servers);
    let own: Vec<_> = all
        .filter_map(|(index, server)| {
            let own = placement.server(&server.name)?;
            let member = Member {
                name: own.name.clone(),
                weight: own.weight,
            };
            (own.address == server.address).then_some((index, member))
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
    use crate::topology::reshard::placement::tests::placement;
    use crate::topology::{BUCKETS, Router};

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
    fn whereabouts_agree_with_owner_and_hold() {
        for (before, after) in &cases() {
            let half = |number: &u16| number.is_multiple_of(2);
            let buckets = (0..BUCKETS).filter(half).filter_map(Bucket::new);
            let state = SourceState {
                held: (1..BUCKETS).step_by(4).filter_map(Bucket::new).collect(),
                ..moved(buckets.collect())
            };
            let moving = router(before, after, |_| state.clone());
            for number in 0..2000_u32 {
                let key = number.to_le_bytes();
                let found = moving.whereabouts(&key).unwrap();
                assert_eq!(Some(found.owner()), moving.route(&key));
                assert_eq!(found.is_held, moving.is_held(&key));
                let name = |index: ServerIndex| moving.members()[index.index()].name.as_str();
                let [old, new] = [before, after].map(Router::of_placement);
                assert_eq!(name(found.before), owner(&old, &key));
                assert_eq!(name(found.after), owner(&new, &key));
            }
            let laps = moving.laps().unwrap().clone();
            for (lap, placement) in laps.iter().zip([before, after]) {
                let names: Vec<_> = lap
                    .iter()
                    .map(|index| moving.members()[index.index()].name.clone())
                    .collect();
                let expected: Vec<_> = placement.servers.iter().map(|s| s.name.clone()).collect();
                assert_eq!(names, expected);
            }
        }
        assert!(Router::of_placement(&cases()[0].0).laps().is_none());
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

    #[test]
    fn server_takes_the_place_of_another_by_one_commit() {
        let before = placement(&[("a", 1), ("b", 1)]);
        let mut after = before.clone();
        after.servers[0].address = "127.0.0.2:1".parse().unwrap();
        let old = Router::of_placement(&before);
        let [source, taker, other] = [0, 1, 2].map(ServerIndex::new);
        for (of_source, of_taker) in [(false, false), (true, false), (true, true)] {
            let all = |is_moved: bool| {
                if is_moved {
                    BucketSet::ALL
                } else {
                    BucketSet::EMPTY
                }
            };
            let moving = router(&before, &after, |name| match name {
                "a" => moved(all(of_source)),
                "a@127.0.0.2:1" => moved(all(of_taker)),
                _ => SourceState::default(),
            });
            assert_eq!(moving.is_standby(taker), !of_source);
            assert!(!moving.is_standby(source) && !moving.is_standby(other));
            assert_eq!(moving.is_replaced(source), of_source);
            for number in 0..500_u32 {
                let key = number.to_le_bytes();
                let homes: Vec<_> = moving.homes(&key).collect();
                if owner(&old, &key) == "b" {
                    assert_eq!(moving.route(&key), Some(other));
                    assert_eq!((moving.home(&key), &*homes), (Some(other), &[other][..]));
                    continue;
                }
                let pick = |is_moved: bool| Some(if is_moved { taker } else { source });
                assert_eq!(moving.route(&key), pick(of_source));
                assert_eq!(moving.home(&key), pick(of_taker));
                let expected = if of_source {
                    &[source, taker][..]
                } else {
                    &[source]
                };
                assert_eq!(homes, expected);
            }
        }
    }

    impl SourceState {
        fn only(self, is_meant: bool) -> Self {
            if is_meant { self } else { Self::default() }
        }
    }
}
