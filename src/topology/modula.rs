//! The modula table: every live server as often as its weight, in the order of ids.

use crate::topology::{Member, ServerIndex};

/// The table as running sums: a weight may be two billion, and one element per unit would waste memory.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    /// By live server: the end (exclusive) of its slots.
    ends: Vec<(u64, ServerIndex)>,
    /// The number of slots.
    total: u64,
}

impl Slots {
    pub(crate) fn new(live: &[(ServerIndex, &Member)]) -> Self {
        let mut total = 0;
        let ends = live
            .iter()
            .map(|&(server, member)| {
                total += u64::from(member.weight);
                (total, server)
            })
            .collect();
        Self { ends, total }
    }

    /// The server of slot `hash` modulo the number of slots.
    pub(crate) fn owner(&self, hash: u32) -> Option<ServerIndex> {
        let slot = u64::from(hash).checked_rem(self.total)?;
        self.end_of(slot).map(|(_, server)| server)
    }

    /// The server that owns `hash`, and the end (exclusive) of the range of hashes that it owns around it.
    pub(super) fn range(&self, hash: u32) -> Option<(ServerIndex, u64)> {
        let hash = u64::from(hash);
        let slot = hash.checked_rem(self.total)?;
        let (end, server) = self.end_of(slot)?;
        Some((server, hash - slot + end))
    }

    /// The number of slots, after which the owners repeat.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The number of live servers.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn end_of(&self, slot: u64) -> Option<(u64, ServerIndex)> {
        let at = self.ends.partition_point(|&(end, _)| end <= slot);
        self.ends.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modula_slots_equal_the_weight() {
        let members = [2, 1, 3].map(|weight| Member {
            name: String::new(),
            weight,
        });
        let live: Vec<_> = ServerIndex::all().zip(&members).collect();
        let slots = Slots::new(&live);
        let owners: Vec<_> = (0..8)
            .map(|hash| slots.owner(hash).unwrap().index())
            .collect();
        assert_eq!(owners, [0, 0, 1, 2, 2, 2, 0, 0]);
        assert_eq!(Slots::new(&[]).owner(7), None);
    }

    #[test]
    fn modula_range_ends_with_its_server() {
        let members = [2, 1].map(|weight| Member {
            name: String::new(),
            weight,
        });
        let live: Vec<_> = ServerIndex::all().zip(&members).collect();
        let slots = Slots::new(&live);
        for (hash, server, end) in [(0, 0, 2), (1, 0, 2), (2, 1, 3), (3, 0, 5), (5, 1, 6)] {
            assert_eq!(slots.range(hash), Some((ServerIndex::new(server), end)));
        }
    }
}
