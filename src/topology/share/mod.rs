//! The share of keys that another router looks for on another server.
//!
//! Pure. `control` shows it to the operator, and decides by it whether a change of the file may take effect.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;

use crate::hash::HashTag;
use crate::topology::{Router, ServerIndex};

use super::ring::Ring;

/// Keys that are routed by both routers where their hashes cannot be compared.
const SAMPLE_KEYS: u32 = 1 << 20;
/// The maximum number of ranges of hashes of one router that are compared one by one. No ring of 65,536 servers has more
/// within the hashes that [`by_range`] compares for it alone.
const RANGES_MAX: u64 = 1 << 24;
/// The number of periods of two modula tables that the hashes must have, for one of them to stand for all.
const PERIODS_MIN: u64 = 256;

/// The keys that a new router looks for on another server than the old one.
#[derive(Debug, Clone, PartialEq)]
pub struct MovedKeys {
    /// From each server to each, in the order of the old servers, then of the new ones; no empty rows.
    pub rows: Vec<MovedRow>,
    /// Of all keys, 0 to 1: the sum of the rows.
    pub share: f64,
    /// What was counted.
    pub basis: Basis,
}

/// The keys that are looked for on one server instead of another. Servers are known by their names.
#[derive(Debug, Clone, PartialEq)]
pub struct MovedRow {
    /// The server that has the keys.
    pub from: String,
    /// The server on which they will be looked for.
    pub to: String,
    /// Of all keys, 0 to 1.
    pub share: f64,
}

/// What a share was counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// All hashes: exact for keys that are spread evenly over the hashes.
    AllHashes,
    /// A million sample keys; the error is at most about 0.2%.
    SampleKeys,
    /// A million sample keys with a hash tag, because the hash tag differs. Keys without a tag move only if something
    /// else differs too.
    TaggedKeys,
}

impl MovedKeys {
    /// Compares two routers of a pool.
    ///
    /// With the random distribution, any server may have a key. Between two random routers only the keys of servers that
    /// leave count as moved; between a random router and another, all that are not found by chance.
    #[must_use]
    pub fn between(old: &Router, new: &Router) -> Self {
        let (counts, basis) = count(old, new);
        let mut moved = 0;
        let rows = counts
            .pairs
            .iter()
            .filter_map(|(&(from, to), &keys)| {
                let (from, to) = (name(old, from)?, name(new, to)?);
                (from != to).then(|| {
                    moved += keys;
                    MovedRow {
                        from: from.to_owned(),
                        to: to.to_owned(),
                        share: ratio(keys, counts.total),
                    }
                })
            })
            .collect();
        Self {
            rows,
            share: ratio(moved, counts.total),
            basis,
        }
    }

    /// Returns true if every key stays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// How many keys: `24.8% of the keys`.
impl fmt::Display for MovedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = Percent(self.share);
        match self.basis {
            Basis::AllHashes => write!(f, "{share} of the keys"),
            Basis::SampleKeys => write!(f, "about {share} of the keys"),
            Basis::TaggedKeys => write!(f, "about {share} of the keys with a hash tag"),
        }
    }
}

/// A share as a percentage with one decimal; `<0.1%` and `>99.9%` are not rounded to none and all.
#[derive(Debug, Clone, Copy)]
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(share) = *self;
        f.pad(&if share > 0.0 && share < 0.001 {
            "<0.1%".to_owned()
        } else if share < 1.0 && share > 0.999 {
            ">99.9%".to_owned()
        } else {
            format!("{:.1}%", share * 100.0)
        })
    }
}

/// Keys by old and new owner.
#[derive(Default)]
struct Counts {
    pairs: BTreeMap<(ServerIndex, ServerIndex), u64>,
    total: u64,
}

impl Counts {
    fn add(&mut self, from: ServerIndex, to: ServerIndex, keys: u64) {
        *self.pairs.entry((from, to)).or_default() += keys;
        self.total += keys;
    }
}

fn count(old: &Router, new: &Router) -> (Counts, Basis) {
    match (old.ring(), new.ring()) {
        (Ring::Random(from), Ring::Random(to)) => {
            (random_to_random(old, from, new, to), Basis::AllHashes)
        }
        // One of the owners does not depend on the key.
        (Ring::Empty | Ring::One(_) | Ring::Random(_), _)
        | (_, Ring::Empty | Ring::One(_) | Ring::Random(_)) => {
            (independent(&owners(old), &owners(new)), Basis::AllHashes)
        }
        (Ring::Ketama(_) | Ring::Modula(_), Ring::Ketama(_) | Ring::Modula(_)) => {
            if old.tag() != new.tag() {
                return (sample(old, new), Basis::TaggedKeys);
            }
            let exact = if old.hash() == new.hash() {
                by_hash(old, new)
            } else {
                None
            };
            match exact {
                Some(counts) => (counts, Basis::AllHashes),
                None => (sample(old, new), Basis::SampleKeys),
            }
        }
    }
}

fn random_to_random(
    old: &Router,
    from: &[ServerIndex],
    new: &Router,
    to: &[ServerIndex],
) -> Counts {
    let staying: BTreeMap<_, _> = to
        .iter()
        .map(|&server| (name(new, server), server))
        .collect();
    let mut counts = Counts::default();
    for &server in from {
        match staying.get(&name(old, server)) {
            Some(&same) => counts.add(server, same, to.len() as u64),
            None => to.iter().for_each(|&other| counts.add(server, other, 1)),
        }
    }
    counts
}

/// Keys whose old and new owners have nothing to do with each other.
fn independent(old: &[(ServerIndex, u64)], new: &[(ServerIndex, u64)]) -> Counts {
    let mut counts = Counts::default();
    for &(from, old_share) in old {
        for &(to, new_share) in new {
            counts.add(from, to, old_share * new_share);
        }
    }
    counts
}

/// The servers of one router, each with a number in proportion to its keys.
fn owners(router: &Router) -> Vec<(ServerIndex, u64)> {
    match router.ring() {
        Ring::Empty => Vec::new(),
        Ring::One(server) => vec![(*server, 1)],
        Ring::Random(servers) => servers.iter().map(|&server| (server, 1)).collect(),
        Ring::Ketama(_) | Ring::Modula(_) => {
            let counts = by_hash(router, router).unwrap_or_else(|| sample(router, router));
            let of_server = |((server, _), keys)| (server, keys);
            counts.pairs.into_iter().map(of_server).collect()
        }
    }
}

/// The share of all keys of each server, by position; zeros while keys are being moved.
pub(super) fn of_servers(router: &Router) -> Vec<f64> {
    let owned = owners(router);
    let total = owned.iter().map(|(_, keys)| keys).sum();
    let mut shares = vec![0.0; router.members().len()];
    for (server, keys) in owned {
        if let Some(share) = shares.get_mut(server.index()) {
            *share = ratio(keys, total);
        }
    }
    shares
}

/// Compares the owners of all hashes of two routers that hash alike; none if that takes too long.
fn by_hash(old: &Router, new: &Router) -> Option<Counts> {
    by_range(old.ring(), new.ring(), old.hash().values())
}

/// Compares the owners of all hashes below `hashes`; none if that takes too long, or a ring does not depend on them.
fn by_range(old: &Ring, new: &Ring, hashes: u64) -> Option<Counts> {
    let hashes = match (old.period(), new.period()) {
        // The owners repeat: one period stands for all.
        (Some(a), Some(b)) => lcm(a, b)
            .filter(|period| *period <= hashes / PERIODS_MIN)
            .unwrap_or(hashes),
        _ => hashes,
    };
    if old.ranges(hashes).max(new.ranges(hashes)) > RANGES_MAX {
        return None;
    }
    let mut counts = Counts::default();
    let mut at = 0;
    while at < hashes {
        let hash = u32::try_from(at).ok()?;
        let (from, old_end) = old.range(hash)?;
        let (to, new_end) = new.range(hash)?;
        let end = old_end.min(new_end).min(hashes);
        counts.add(from, to, end - at);
        at = end;
    }
    Some(counts)
}

fn sample(old: &Router, new: &Router) -> Counts {
    let tags: Vec<_> = if old.tag() == new.tag() {
        vec![None]
    } else {
        let tags = [old.tag(), new.tag()].into_iter().flatten();
        tags.map(Some).collect()
    };
    let mut counts = Counts::default();
    let mut random = fastrand::Rng::with_seed(0);
    let mut key = Vec::new();
    for (_, tag) in (0..SAMPLE_KEYS).zip(tags.iter().cycle()) {
        write_key(&mut key, *tag, &mut random);
        if let (Some(from), Some(to)) = (old.route(&key), new.route(&key)) {
            counts.add(from, to, 1);
        }
    }
    counts
}

/// Writes a random key, part of it tagged. Keys that are alike, such as numbered ones, are clustered by some hashes.
fn write_key(key: &mut Vec<u8>, tag: Option<HashTag>, random: &mut fastrand::Rng) {
    key.clear();
    if let Some(tag) = tag {
        key.push(tag.open);
        let _ = write!(key, "{:016x}", random.u64(..));
        key.push(tag.close);
    }
    let _ = write!(key, "{:016x}", random.u64(..));
}

fn name(router: &Router, server: ServerIndex) -> Option<&str> {
    let member = router.members().get(server.index())?;
    Some(&member.name)
}

fn lcm(a: u64, b: u64) -> Option<u64> {
    let (mut gcd, mut rest) = (a, b);
    while rest > 0 {
        (gcd, rest) = (rest, gcd % rest);
    }
    a.checked_div(gcd)?.checked_mul(b)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share is shown with one decimal"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests;
