//! Routing of a key to the server that owns it.

use std::sync::Arc;

use crate::config::{Distribution, PoolConfig, ServerConfig};
use crate::hash::{HashKind, HashTag, name_order};
use crate::topology::reshard::{Moving, Placement, SourceState, Whereabouts};
use crate::topology::ring::Ring;
use crate::topology::{Advice, Member, ServerIndex, advice};

/// The placement of a pool for one set of live servers. Immutable; a new set is a new router.
#[derive(Debug, Clone)]
pub struct Router {
    hash: HashKind,
    tag: Option<HashTag>,
    distribution: Distribution,
    /// All servers of the pool, live or not, in the order of their ids.
    members: Arc<[Member]>,
    /// Empty while keys are being moved.
    ring: Ring,
    /// The move of keys under way, which then decides.
    moving: Option<Box<Moving>>,
}

impl Router {
    /// The router of a pool with all its servers live.
    #[must_use]
    pub fn for_pool(pool: &PoolConfig) -> Self {
        let members: Vec<_> = names_and_weights(pool)
            .map(|(name, weight)| Member {
                name: name.to_owned(),
                weight,
            })
            .collect();
        Self::new(pool.hash, pool.hash_tag, pool.distribution, &members)
    }

    /// Returns true if it is, or was before some were ejected, the router of this pool.
    #[must_use]
    pub fn is_for_pool(&self, pool: &PoolConfig) -> bool {
        let own = self.members.iter();
        !self.is_moving()
            && (self.hash, self.tag, self.distribution)
                == (pool.hash, pool.hash_tag, pool.distribution)
            && own
                .map(|member| (member.name.as_str(), member.weight))
                .eq(names_and_weights(pool))
    }

    /// Returns true if both pools place every key on the server of the same name. Cheap: no ring is built.
    #[must_use]
    pub fn is_alike_for(one: &PoolConfig, other: &PoolConfig) -> bool {
        let key = |pool: &PoolConfig| (pool.hash, pool.hash_tag, pool.distribution);
        key(one) == key(other) && names_and_weights(one).eq(names_and_weights(other))
    }

    /// Routes over all of `members`, which must be sorted by `hash::name_order`; their indices are their ids.
    #[must_use]
    pub fn new(
        hash: HashKind,
        tag: Option<HashTag>,
        distribution: Distribution,
        members: &[Member],
    ) -> Self {
        debug_assert!(members.is_sorted_by(|a, b| name_order(&a.name, &b.name).is_le()));
        let live: Vec<_> = ServerIndex::all().zip(members).collect();
        Self {
            hash,
            tag,
            distribution,
            members: members.into(),
            ring: Ring::new(distribution, &live),
            moving: None,
        }
    }

    /// The router of a placement with all its servers live.
    #[must_use]
    pub fn of_placement(placement: &Placement) -> Self {
        let member = |server: &ServerConfig| Member {
            name: server.name.clone(),
            weight: server.weight,
        };
        let members: Vec<_> = placement.servers.iter().map(member).collect();
        Self::new(
            placement.hash,
            placement.hash_tag,
            placement.distribution,
            &members,
        )
    }

    /// The router during a move: over the servers of both placements, of which `source` tells what is known.
    #[must_use]
    pub fn moving(
        before: &Arc<Placement>,
        after: &Arc<Placement>,
        source: impl Fn(&str) -> SourceState,
    ) -> Self {
        let servers = before.servers_with(after);
        let members = servers.iter().map(|server| Member {
            name: server.name.clone(),
            weight: server.weight,
        });
        let members: Arc<[Member]> = members.collect();
        let moving = Moving::new(before, after, &servers, source);
        Self {
            hash: before.hash,
            tag: before.hash_tag,
            distribution: before.distribution,
            members,
            ring: Ring::Empty,
            moving: Some(Box::new(moving)),
        }
    }

    /// The router of the same move, of which something else is known by now; none if no keys are being moved.
    pub(super) fn with_sources(&self, source: impl Fn(&str) -> SourceState) -> Option<Self> {
        let moving = self.moving.as_ref()?;
        let moving = moving.with_sources(source);
        Some(Self {
            members: Arc::clone(&self.members),
            ring: Ring::Empty,
            moving: Some(Box::new(moving)),
            ..*self
        })
    }

    /// The router of the same pool with only the servers that are `live`, by id. Ids keep their meaning. Weights and
    /// the number of servers count the live ones only, so the ring of a survivor may differ by a few points from
    /// before.
    #[must_use]
    pub fn with_live(&self, live: &[bool]) -> Self {
        debug_assert_eq!(live.len(), self.members.len());
        if self.is_moving() {
            // The placements of a move are fixed: without a server its keys have no owner elsewhere.
            return self.clone();
        }
        let live: Vec<_> = ServerIndex::all()
            .zip(self.members.iter())
            .zip(live)
            .filter_map(|(server, &live)| live.then_some(server))
            .collect();
        Self {
            members: Arc::clone(&self.members),
            ring: Ring::new(self.distribution, &live),
            moving: None,
            ..*self
        }
    }

    /// Returns true if a pool of all its servers would place every key on the server of the same position.
    #[must_use]
    pub fn has_arrangement_of(&self, other: &Self) -> bool {
        (self.hash, self.tag, self.distribution) == (other.hash, other.tag, other.distribution)
            && self.members == other.members
            && match (&self.moving, &other.moving) {
                (Some(one), Some(other)) => one.is_same_move(other),
                (one, other) => one.is_none() && other.is_none(),
            }
    }

    /// Returns true if the same keys have moved, and requests for the same keys wait.
    #[must_use]
    pub fn has_moved_as(&self, other: &Self) -> bool {
        match (&self.moving, &other.moving) {
            (Some(one), Some(other)) => one.has_moved_as(other),
            _ => true,
        }
    }

    /// Returns true if requests for some keys wait.
    #[must_use]
    pub fn has_holds(&self) -> bool {
        let moving = self.moving.as_ref();
        moving.is_some_and(|moving| moving.has_holds())
    }

    /// Returns true if requests for `key` wait, since it is being moved at this moment.
    #[must_use]
    pub fn is_held(&self, key: &[u8]) -> bool {
        let moving = self.moving.as_ref();
        moving.is_some_and(|moving| moving.is_held(self.tagged_hash(key), key))
    }

    /// Returns true if requests for the keys with this hash, their tag applied, wait.
    #[must_use]
    pub fn is_held_by_hash(&self, hash: u32) -> bool {
        let moving = self.moving.as_ref();
        moving.is_some_and(|moving| moving.is_held_by_hash(hash))
    }

    /// Where a key is; none if no keys are being moved.
    #[must_use]
    pub fn whereabouts(&self, key: &[u8]) -> Option<Whereabouts> {
        let moving = self.moving.as_ref()?;
        moving.whereabouts(self.tagged_hash(key), key)
    }

    /// The positions of the servers before a move, and of those after it; none if no keys are being moved.
    #[must_use]
    pub fn laps(&self) -> Option<&[Arc<[ServerIndex]>; 2]> {
        self.moving.as_ref().map(|moving| moving.laps())
    }

    /// Returns true if keys are being moved.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// What is known of the keys that move away from a server; none if no keys are being moved.
    #[must_use]
    pub fn source(&self, server: ServerIndex) -> Option<&SourceState> {
        self.moving.as_ref()?.source(server)
    }

    /// The servers at which the channel of this name is heard: those before and after a move, until it has ended.
    pub fn homes(&self, channel: &[u8]) -> impl Iterator<Item = ServerIndex> + use<> {
        let hash = self.tagged_hash(channel);
        let homes = match &self.moving {
            Some(moving) => moving.homes(hash, channel),
            None => [self.route(channel), None],
        };
        homes.into_iter().flatten()
    }

    /// The server at which messages of a channel are published: as that of a key, but all change at once in a move.
    #[must_use]
    pub fn home(&self, channel: &[u8]) -> Option<ServerIndex> {
        match &self.moving {
            Some(moving) => moving.home(self.tagged_hash(channel), channel),
            None => self.route(channel),
        }
    }

    /// The server that owns `key`; none if no server is live. With the random distribution, any live server.
    #[must_use]
    pub fn route(&self, key: &[u8]) -> Option<ServerIndex> {
        match &self.ring {
            Ring::Empty => self.moving.as_ref()?.owner(self.tagged_hash(key), key),
            Ring::One(server) => Some(*server),
            Ring::Ketama(continuum) => continuum.owner(self.tagged_hash(key)),
            Ring::Modula(slots) => slots.owner(self.tagged_hash(key)),
            Ring::Random(servers) => fastrand::choice(servers).copied(),
        }
    }

    /// The server that owns the keys with this hash, their tag applied.
    pub(super) fn owner_of(&self, hash: u32) -> Option<ServerIndex> {
        match &self.moving {
            Some(moving) => moving.owner_by_hash(hash),
            None => self.ring.owner(hash),
        }
    }

    /// The hash of `key`, its tag applied; none if the owner does not depend on it (at most one live server, or the
    /// random distribution).
    #[must_use]
    pub fn hash_of(&self, key: &[u8]) -> Option<u32> {
        match self.ring {
            Ring::Ketama(_) | Ring::Modula(_) => Some(self.tagged_hash(key)),
            Ring::Empty if self.is_moving() => Some(self.tagged_hash(key)),
            Ring::Empty | Ring::One(_) | Ring::Random(_) => None,
        }
    }

    /// Advice if this pool's hash and distribution spread keys badly; none for a pool with one server.
    #[must_use]
    pub fn advice(&self) -> Option<Advice> {
        (self.members.len() > 1)
            .then(|| advice(self.hash, self.distribution))
            .flatten()
    }

    /// All servers of the pool, live or not, in the order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The pool's hash.
    #[must_use]
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// The pool's hash tag.
    #[must_use]
    pub fn tag(&self) -> Option<HashTag> {
        self.tag
    }

    /// The pool's distribution.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// The move under way.
    pub(super) fn moves(&self) -> Option<&Moving> {
        self.moving.as_deref()
    }

    /// The same router for servers that have other names now.
    pub(super) fn called(self, members: Arc<[Member]>) -> Self {
        Self { members, ..self }
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(super) fn tagged_hash(&self, key: &[u8]) -> u32 {
        let input = self.tag.map_or(key, |tag| tag.apply(key));
        self.hash.hash(input)
    }
}

/// The names and weights of the servers, in the order of their ids.
fn names_and_weights(pool: &PoolConfig) -> impl Iterator<Item = (&str, u32)> {
    let servers = pool.servers.iter();
    servers.map(|server| (server.name.as_str(), server.weight))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn members(weights: &[u32]) -> Vec<Member> {
        let mut members: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(index, &weight)| Member {
                name: format!("cache-{index}"),
                weight,
            })
            .collect();
        members.sort_by(|a, b| name_order(&a.name, &b.name));
        members
    }

    #[test]
    fn pools_are_alike_if_their_rings_would_be() {
        let pool = |line: &str, servers: &str| {
            let yaml = format!("p: {{listen: h:1, {line}, servers: [{servers}]}}");
            Config::parse(&yaml, "F").unwrap().pools.remove(0)
        };
        let (line, servers) = ("hash: murmur", "'h:2:1 a', 'h:3:2 b'");
        let pools = [
            (pool(line, servers), true),
            (
                pool("hash: murmur, timeout: 5", "'h:3:2 b', 'h:9:1 a'"),
                true,
            ),
            (pool("hash: md5", servers), false),
            (pool("hash: murmur, hash_tag: '{}'", servers), false),
            (pool("hash: murmur, distribution: modula", servers), false),
            (pool(line, "'h:2:2 a', 'h:3:1 b'"), false),
            (pool(line, "'h:2:1 a', 'h:3:2 c'"), false),
            (pool(line, "'h:2:1 a'"), false),
        ];
        let (base, _) = &pools[0];
        let router = Router::for_pool(base).with_live(&[true, false]);
        for (other, expected) in &pools {
            assert_eq!(Router::is_alike_for(base, other), *expected, "{other:?}");
            assert_eq!(router.is_for_pool(other), *expected, "{other:?}");
            let has_arrangement = router.has_arrangement_of(&Router::for_pool(other));
            assert_eq!(has_arrangement, *expected, "{other:?}");
        }
    }

    #[test]
    fn single_server_key_is_not_hashed() {
        let router = Router::new(HashKind::Md5, None, Distribution::Ketama, &members(&[5]));
        assert_eq!(router.route(b"any"), Some(ServerIndex::new(0)));
        assert_eq!(router.hash_of(b"any"), None);
        assert_eq!(router.advice(), None);
    }

    #[test]
    fn no_live_server_means_no_owner() {
        for distribution in Distribution::ALL {
            let router = Router::new(HashKind::Md5, None, distribution, &members(&[1, 1]));
            assert_eq!(router.with_live(&[false, false]).route(b"any"), None);
            assert_eq!(
                Router::new(HashKind::Md5, None, distribution, &[]).route(b"any"),
                None
            );
        }
    }

    #[test]
    fn keys_with_the_same_tag_share_a_server() {
        let tag = HashTag {
            open: b'{',
            close: b'}',
        };
        let members = members(&[1; 5]);
        let router = Router::new(HashKind::Md5, Some(tag), Distribution::Ketama, &members);
        let untagged = Router::new(HashKind::Md5, None, Distribution::Ketama, &members);
        for user in 0..50 {
            let owner = untagged.route(format!("{user}").as_bytes());
            assert_eq!(
                router.route(format!("user:{{{user}}}:name").as_bytes()),
                owner
            );
            assert_eq!(router.route(format!("{{{user}}}").as_bytes()), owner);
        }
    }

    #[test]
    fn random_reaches_all_live_servers_regardless_of_weight() {
        let all = Router::new(
            HashKind::Md5,
            None,
            Distribution::Random,
            &members(&[1, 1, 1_000_000, 1]),
        );
        let router = all.with_live(&[true, true, false, true]);
        let mut hits = [0_u32; 4];
        for _ in 0..3000 {
            hits[router.route(b"same").unwrap().index()] += 1;
        }
        assert_eq!(hits[2], 0);
        for server in [0, 1, 3] {
            assert!(hits[server] > 700, "{hits:?}");
        }
    }

    fn distribution() -> impl Strategy<Value = Distribution> {
        prop::sample::select(&[Distribution::Ketama, Distribution::Modula][..])
    }

    proptest! {
        /// Ejection leaves the placement that a pool of the live servers alone would have.
        #[test]
        fn live_subset_routes_as_a_pool_of_that_subset(
            servers in prop::collection::vec((1..20_u32, any::<bool>()), 1..8),
            distribution in distribution(),
            keys in prop::collection::vec(any::<Vec<u8>>(), 1..40),
        ) {
            let (weights, live): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
            let all = members(&weights);
            let survivors: Vec<_> = all
                .iter()
                .zip(&live)
                .filter(|&(_, &live)| live)
                .map(|(member, _)| member.clone())
                .collect();
            let some = Router::new(HashKind::Murmur, None, distribution, &all).with_live(&live);
            let alone = Router::new(HashKind::Murmur, None, distribution, &survivors);
            for key in &keys {
                let owner = some.route(key).map(|server| &some.members()[server.index()]);
                let expected = alone.route(key).map(|server| &survivors[server.index()]);
                prop_assert_eq!(owner, expected);
            }
        }

        #[test]
        fn returned_server_gets_its_keys_back(
            weights in prop::collection::vec(1..20_u32, 1..8),
            distribution in distribution(),
            keys in prop::collection::vec(any::<Vec<u8>>(), 1..40),
        ) {
            let all = Router::new(HashKind::Murmur, None, distribution, &members(&weights));
            let mut live = vec![true; weights.len()];
            live[0] = false;
            let without = all.with_live(&live);
            live[0] = true;
            let again = without.with_live(&live);
            for key in &keys {
                prop_assert_eq!(again.route(key), all.route(key));
            }
        }
    }
}
