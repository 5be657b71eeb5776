//! How the keys of a pool spread over its servers: shares, and the ring to be drawn.
//!
//! Pure. Computed when somebody looks, once for each topology.

use crate::config::Distribution;
use crate::topology::ring::Ring;
use crate::topology::share;
use crate::topology::{Router, ServerIndex};

/// The maximum number of arcs. A ring with more is drawn in as many sectors, each with the server that has most of it.
const ARCS_MAX: usize = 720;
/// The hashes of a sector that are looked up where owners are known by hash alone, as in a move of keys.
const SAMPLES: u64 = 64;

/// The spread of keys over the servers of a router.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// By position: the share of all keys that the server owns, 0 to 1, if they are spread evenly over the hashes.
    pub shares: Vec<f64>,
    /// The ring from its beginning, ascending. None if there is no ring: with the random distribution, or without a live server.
    pub arcs: Vec<Arc>,
    /// The points of the ring of ketama, or the slots of modula; 0 if there is no ring.
    pub points: u64,
    /// Neighbouring arcs were put together, because there are too many to be drawn.
    pub is_thinned: bool,
}

/// A part of the ring with one owner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arc {
    /// The owner.
    pub server: ServerIndex,
    /// Its end, where the next one begins: 0 is the beginning of the ring, 1 its end.
    pub end: f64,
}

impl Spread {
    /// The spread of a router's keys.
    #[must_use]
    pub fn of(router: &Router) -> Self {
        let mut spread = Self {
            shares: share::of_servers(router),
            arcs: Vec::new(),
            points: 0,
            is_thinned: false,
        };
        let ring = router.ring();
        match ring {
            Ring::Empty if router.is_moving() => spread.sample(router),
            Ring::Empty | Ring::Random(_) => {}
            Ring::One(server) => spread.arcs.push(Arc {
                server: *server,
                end: 1.0,
            }),
            Ring::Ketama(_) | Ring::Modula(_) => spread.draw(ring, router.distribution()),
        }
        spread
    }

    fn draw(&mut self, ring: &Ring, distribution: Distribution) {
        let circle = match distribution {
            // One round of the slots stands for all.
            Distribution::Modula => ring.period().unwrap_or(1),
            Distribution::Ketama | Distribution::Random => 1 << u32::BITS,
        };
        self.points = match distribution {
            Distribution::Modula => circle,
            Distribution::Ketama | Distribution::Random => ring.ranges(circle),
        };
        let (exact, is_whole) = ranges(ring, circle);
        if is_whole {
            self.arcs = exact;
            return;
        }
        self.is_thinned = true;
        let sectors = (0..ARCS_MAX as u64).map(|sector| {
            let begin = circle * sector / ARCS_MAX as u64;
            let end = circle * (sector + 1) / ARCS_MAX as u64;
            (largest(ring, begin, end), ratio(end, circle))
        });
        self.arcs = joined(sectors);
    }

    /// While keys move: the owners of some hashes, of all sectors.
    fn sample(&mut self, router: &Router) {
        let hashes = router.hash().values();
        let samples = ARCS_MAX as u64 * SAMPLES;
        let owner = |sample: u64| {
            let hash = u32::try_from(hashes * sample / samples).ok()?;
            router.owner_of(hash)
        };
        let mut counts = vec![0_u64; router.members().len()];
        let mut known = 0;
        for server in (0..samples).filter_map(owner) {
            if let Some(count) = counts.get_mut(server.index()) {
                *count += 1;
                known += 1;
            }
        }
        self.shares = counts
            .into_iter()
            .map(|count| ratio(count, known))
            .collect();
        let sectors = (0..ARCS_MAX as u64).map(|sector| {
            let middle = sector * SAMPLES + SAMPLES / 2;
            (owner(middle), ratio(sector + 1, ARCS_MAX as u64))
        });
        self.arcs = joined(sectors);
        self.is_thinned = true;
    }
}

/// The arcs of a ring, and false if there are too many.
fn ranges(ring: &Ring, circle: u64) -> (Vec<Arc>, bool) {
    let mut arcs: Vec<Arc> = Vec::new();
    let mut at = 0;
    while at < circle {
        let range = u32::try_from(at).ok().and_then(|hash| ring.range(hash));
        let Some((server, end)) = range else { break };
        at = end.min(circle);
        let end = ratio(at, circle);
        match arcs.last_mut() {
            Some(last) if last.server == server => last.end = end,
            _ => arcs.push(Arc { server, end }),
        }
        if arcs.len() > ARCS_MAX {
            return (arcs, false);
        }
    }
    (arcs, true)
}

/// The server that owns most of the hashes from `begin` to `end`.
fn largest(ring: &Ring, begin: u64, end: u64) -> Option<ServerIndex> {
    let mut owned: Vec<(ServerIndex, u64)> = Vec::new();
    let mut at = begin;
    while at < end {
        let (server, until) = ring.range(u32::try_from(at).ok()?)?;
        let until = until.min(end);
        match owned.iter_mut().find(|(owner, _)| *owner == server) {
            Some((_, hashes)) => *hashes += until - at,
            None => owned.push((server, until - at)),
        }
        at = until;
    }
    let largest = owned.into_iter().max_by_key(|(_, hashes)| *hashes);
    largest.map(|(server, _)| server)
}

/// Sectors as arcs, neighbours of one server put together. A sector whose owner is not known belongs to the one before.
fn joined(sectors: impl Iterator<Item = (Option<ServerIndex>, f64)>) -> Vec<Arc> {
    let mut arcs: Vec<Arc> = Vec::new();
    for (server, end) in sectors {
        match (arcs.last_mut(), server) {
            (Some(last), None) => last.end = end,
            (Some(last), Some(server)) if last.server == server => last.end = end,
            (_, Some(server)) => arcs.push(Arc { server, end }),
            (None, None) => {}
        }
    }
    arcs
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share is drawn, or shown with one decimal"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::HashKind;
    use crate::topology::Member;

    fn router(distribution: Distribution, weights: &[u32]) -> Router {
        let member = |(index, &weight): (usize, &u32)| Member {
            name: format!("10.0.0.{index}:6379"),
            weight,
        };
        let members: Vec<_> = weights.iter().enumerate().map(member).collect();
        Router::new(HashKind::Murmur, None, distribution, &members)
    }

    fn drawn(spread: &Spread, servers: usize) -> Vec<f64> {
        let mut shares = vec![0.0; servers];
        let mut begin = 0.0;
        for arc in &spread.arcs {
            shares[arc.server.index()] += arc.end - begin;
            begin = arc.end;
        }
        shares
    }

    proptest! {
        /// Of any ring that is not thinned, the arcs are the ring.
        #[test]
        fn arcs_are_the_ring_and_add_up_to_the_shares(
            weights in prop::collection::vec(1..9_u32, 1..5),
            is_ketama in any::<bool>(),
            hashes in prop::collection::vec(any::<u32>(), 50),
        ) {
            let distribution = if is_ketama { Distribution::Ketama } else { Distribution::Modula };
            let router = router(distribution, &weights);
            let spread = Spread::of(&router);
            prop_assert!(!spread.is_thinned);
            prop_assert!(spread.arcs.is_sorted_by(|one, next| one.end < next.end));
            let last = spread.arcs.last().map(|arc| arc.end);
            prop_assert_eq!(last, Some(1.0));
            for (drawn, share) in drawn(&spread, weights.len()).iter().zip(&spread.shares) {
                prop_assert!((drawn - share).abs() < 1e-4, "{drawn} {share}");
            }
            for hash in hashes.into_iter().filter(|_| is_ketama && weights.len() > 1) {
                let at = f64::from(hash) / 2_f64.powi(32);
                let arc = spread.arcs.iter().find(|arc| at < arc.end);
                prop_assert_eq!(arc.map(|arc| arc.server), router.owner_of(hash));
            }
        }
    }

    #[test]
    fn large_ring_is_thinned_to_a_bounded_number_of_arcs() {
        let spread = Spread::of(&router(Distribution::Ketama, &[1; 100]));
        assert!(spread.is_thinned);
        assert!(spread.arcs.len() <= ARCS_MAX, "{}", spread.arcs.len());
        assert!(spread.points > 15_000, "{}", spread.points);
        assert!((spread.arcs.last().unwrap().end - 1.0).abs() < 1e-9);
        let sum: f64 = spread.shares.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn pool_without_a_ring_has_shares_alone() {
        let random = router(Distribution::Random, &[1, 1]);
        let spread = Spread::of(&random);
        assert_eq!((spread.shares, spread.arcs), (vec![0.5, 0.5], Vec::new()));
        let dead = random.with_live(&[false, false]);
        assert_eq!(Spread::of(&dead).shares, [0.0, 0.0]);
        let one = random.with_live(&[false, true]);
        assert_eq!(Spread::of(&one).shares, [0.0, 1.0]);
    }
}
