//! The ketama ring, as Twemproxy 0.5.0 builds it.

use crate::hash::md5_words;
use crate::topology::{Member, ServerIndex};

/// Points of a server whose weight is the average of the live ones.
const POINTS_PER_SERVER: f32 = 160.0;
/// Points that one MD5 digest yields.
const POINTS_PER_DIGEST: f32 = 4.0;
/// The maximum number of hash prefixes that are distinguished.
const MOST_PARTS: usize = 1 << 16;
/// Bytes of a ring label that are hashed; Twemproxy's label buffer holds no more.
const LABEL_BYTES: usize = 272;

/// The points of all live servers, sorted. A hash belongs to the first point at or above it, past the last to the
/// first.
#[derive(Debug, Clone)]
pub struct Continuum {
    /// Ascending. Separate from the owners, so that a search reads only values that it compares.
    values: Vec<u32>,
    /// The owners of the values, by the same index.
    owners: Vec<ServerIndex>,
    /// By prefix of a hash: the number of points below all hashes that begin with it. A search that starts there
    /// compares one or two values; a binary search of 640 compares ten, and stalls on each.
    below: Vec<u32>,
    /// The bits of a hash behind its prefix.
    shift: u32,
}

impl Continuum {
    /// The ring of the servers that are live, given in the order of their ids.
    #[must_use]
    pub fn new(live: &[(ServerIndex, &Member)]) -> Self {
        let total_weight = live
            .iter()
            .map(|(_, member)| u64::from(member.weight))
            .sum();
        let mut points: Vec<(u32, ServerIndex)> = Vec::new();
        for &(server, member) in live {
            for digest in 0..digests(member.weight, total_weight, live.len()) {
                let words = label_points(&member.name, digest);
                points.extend(words.map(|value| (value, server)));
            }
        }
        // Stable, by value alone: of two equal points the one that was inserted first wins.
        points.sort_by_key(|&(value, _)| value);
        let (values, owners) = points.into_iter().unzip();
        Self::of(values, owners)
    }

    /// The ring of these points, which are ascending, and their owners.
    pub(super) fn of(values: Vec<u32>, owners: Vec<ServerIndex>) -> Self {
        let parts = (2 * values.len()).next_power_of_two().clamp(2, MOST_PARTS);
        let bits = parts.trailing_zeros();
        let shift = u32::BITS - bits;
        let below = (0..1_u32 << bits)
            .map(|part| {
                let below = values.partition_point(|&value| value >> shift < part);
                u32::try_from(below).unwrap_or(u32::MAX)
            })
            .collect();
        Self {
            values,
            owners,
            below,
            shift,
        }
    }

    /// The server that owns `hash`; none on a ring without points.
    #[must_use]
    pub fn owner(&self, hash: u32) -> Option<ServerIndex> {
        let at = self.point_of(hash)?;
        self.owners.get(at).or_else(|| self.owners.first()).copied()
    }

    /// The server that owns `hash`, and the end (exclusive) of the range of hashes that the same point owns.
    pub(super) fn range(&self, hash: u32) -> Option<(ServerIndex, u64)> {
        let value = self.values.get(self.point_of(hash)?);
        let end = value.map_or(1 << u32::BITS, |&value| u64::from(value) + 1);
        Some((self.owner(hash)?, end))
    }

    /// The number of points of all servers.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The position of the first point at or above `hash`; behind the last if there is none.
    fn point_of(&self, hash: u32) -> Option<usize> {
        let part = (hash >> self.shift) as usize;
        let below = *self.below.get(part)? as usize;
        let rest = self.values.get(below..)?;
        Some(below + rest.iter().take_while(|&&value| value < hash).count())
    }

    /// The number of points of `server`.
    #[must_use]
    pub fn points(&self, server: ServerIndex) -> usize {
        self.owners.iter().filter(|&&owner| owner == server).count()
    }
}

/// The number of digests of a server. Every step is rounded to 32 bits in this order: wider arithmetic gives other
/// counts, and other owners for some keys (25 equal servers get 156 points each, not 160).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rounding is Twemproxy's, and decides which server owns a key"
)]
fn digests(weight: u32, total_weight: u64, live: usize) -> u32 {
    let share = weight as f32 / total_weight as f32;
    let digests = share * POINTS_PER_SERVER / POINTS_PER_DIGEST * live as f32;
    (f64::from(digests) + 0.000_000_000_1) as f32 as u32
}

/// The four points of one label, `NAME-digest`.
fn label_points(name: &str, digest: u32) -> [u32; 4] {
    let label = format!("{name}-{digest}");
    let bytes = label.as_bytes();
    md5_words(bytes.get(..LABEL_BYTES).unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(weights: &[u32]) -> Vec<Member> {
        let name = |index| format!("10.0.{}.{}:6379", index / 250, index % 250);
        weights
            .iter()
            .enumerate()
            .map(|(index, &weight)| Member {
                name: name(index),
                weight,
            })
            .collect()
    }

    fn points(weights: &[u32]) -> Vec<usize> {
        let members = members(weights);
        let live: Vec<_> = ServerIndex::all().zip(&members).collect();
        let ring = Continuum::new(&live);
        live.iter().map(|&(id, _)| ring.points(id)).collect()
    }

    #[test]
    fn points_follow_from_weights_in_single_precision() {
        for (weights, expected) in [
            (&[1][..], &[160][..]),
            (&[1, 1, 1], &[160, 160, 160]),
            (&[1, 4, 6, 6, 8], &[28, 124, 188, 188, 252]),
            (&[100_000, 1], &[316, 0]),
        ] {
            assert_eq!(points(weights), expected, "{weights:?}");
        }
    }

    #[test]
    fn some_equal_server_counts_get_156_points_each() {
        for count in [25, 47, 50, 55, 61, 71, 94, 100, 107, 209] {
            assert_eq!(points(&vec![1; count]), vec![156; count]);
        }
        for count in [2, 24, 26, 99, 101] {
            assert_eq!(points(&vec![1; count]), vec![160; count]);
        }
    }

    #[test]
    fn weight_sum_may_exceed_32_bits() {
        assert_eq!(points(&[u32::MAX, u32::MAX]), [160, 160]);
    }

    #[test]
    fn hash_maps_to_the_first_point_at_or_above() {
        let ring = Continuum::of(
            vec![10, 20, 20, 30],
            [3, 1, 2, 0].map(ServerIndex::new).to_vec(),
        );
        for (hash, owner) in [(0, 3), (10, 3), (11, 1), (20, 1), (21, 0), (31, 3)] {
            assert_eq!(ring.owner(hash), Some(ServerIndex::new(owner)), "{hash}");
        }
        assert_eq!(Continuum::new(&[]).owner(7), None);
    }

    #[test]
    fn range_ends_with_its_point() {
        let ring = Continuum::of(vec![10, 10, 30], [2, 0, 1].map(ServerIndex::new).to_vec());
        let all = 1 << 32;
        for (hash, owner, end) in [(0, 2, 11), (10, 2, 11), (11, 1, 31), (31, 2, all)] {
            let owner = ServerIndex::new(owner);
            assert_eq!(ring.range(hash), Some((owner, end)), "{hash}");
        }
    }

    proptest! {
        #[test]
        fn hinted_search_matches_a_full_search(
            mut values in prop::collection::vec(prop_oneof![any::<u32>(), 0..200_u32, u32::MAX - 200..=u32::MAX], 1..300),
            hashes in prop::collection::vec(any::<u32>(), 1..50),
        ) {
            values.sort_unstable();
            let owners = ServerIndex::all().take(values.len()).collect();
            let ring = Continuum::of(values.clone(), owners);
            let beside = values.iter().flat_map(|&value| [value.wrapping_sub(1), value, value.wrapping_add(1)]);
            for hash in hashes.into_iter().chain(beside) {
                let at = values.iter().position(|&value| value >= hash).unwrap_or(0);
                prop_assert_eq!(ring.owner(hash), Some(ServerIndex::new(u16::try_from(at).unwrap())), "{}", hash);
            }
        }
    }

    #[test]
    fn long_label_is_truncated() {
        let name = "n".repeat(300);
        assert_eq!(label_points(&name, 0), label_points(&name, 39));
        let name = "n".repeat(270);
        assert_ne!(label_points(&name, 0), label_points(&name, 1));
        assert_eq!(label_points(&name, 1), label_points(&name, 10));
    }
}
