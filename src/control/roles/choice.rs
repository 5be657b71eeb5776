//! The choice among what sentinels say.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::topology::Replica;

/// What a sentinel says of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) address: SocketAddr,
    /// The epoch of its configuration.
    pub(super) epoch: u64,
    /// None unless it was asked for them.
    pub(super) replicas: Vec<Replica>,
}

/// The primary to be followed, unless its own role says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) address: SocketAddr,
    pub(super) epoch: u64,
    /// The sentinel that says so.
    pub(super) by: String,
    /// The primary that is known by a later epoch, and must be none any more.
    pub(super) instead_of: Option<SocketAddr>,
}

/// Chooses among the last answers, by sentinel: the one with the highest epoch. One that is not above the epoch that is known
/// changes the primary only if most of the sentinels of the file say so, as after they were all set up anew, and if the one
/// that is known is none any more: the sentinel that has led a failover may be gone before the others have heard of it.
pub(super) fn choose(
    answers: &BTreeMap<String, Answer>,
    known: Option<(SocketAddr, u64)>,
    sentinels: usize,
) -> Option<Choice> {
    let votes = |address: SocketAddr| {
        let mut votes = answers.values();
        votes
            .by_ref()
            .filter(|vote| vote.address == address)
            .count()
    };
    let known_address = known.map(|(address, _)| address);
    let (by, best) = answers.iter().max_by_key(|(_, answer)| {
        let is_known = known_address == Some(answer.address);
        (answer.epoch, is_known, votes(answer.address))
    })?;
    let is_later = |(address, epoch): &(SocketAddr, u64)| {
        best.epoch > *epoch || best.epoch == *epoch && best.address == *address
    };
    let instead_of = known.filter(|known| !is_later(known));
    let is_chosen = instead_of.is_none() || votes(best.address) * 2 > sentinels;
    is_chosen.then(|| Choice {
        address: best.address,
        epoch: best.epoch,
        by: by.clone(),
        instead_of: instead_of.map(|(address, _)| address),
    })
}

/// The replicas that sentinels list beside this primary: up if none of them says otherwise. None if no sentinel says that it is
/// the primary.
pub(super) fn replicas(
    answers: &BTreeMap<String, Answer>,
    primary: SocketAddr,
) -> Option<Vec<Replica>> {
    let mut found: BTreeMap<SocketAddr, Replica> = BTreeMap::new();
    let mut agreeing = answers
        .values()
        .filter(|answer| answer.address == primary)
        .peekable();
    agreeing.peek()?;
    for replica in agreeing.flat_map(|answer| &answer.replicas) {
        if replica.address != primary {
            let known = found.entry(replica.address);
            known
                .and_modify(|known| known.is_up &= replica.is_up)
                .or_insert_with(|| replica.clone());
        }
    }
    Some(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn answers(votes: &[(u16, u64)]) -> BTreeMap<String, Answer> {
        let names = ["s1", "s2", "s3"].into_iter();
        let answer = |(port, epoch): &(u16, u64)| Answer {
            address: at(*port),
            epoch: *epoch,
            replicas: Vec::new(),
        };
        names
            .zip(votes)
            .map(|(name, vote)| (name.to_owned(), answer(vote)))
            .collect()
    }

    #[test]
    fn highest_epoch_is_chosen_and_an_old_one_changes_nothing() {
        for (votes, known, expected) in [
            (&[][..], None, None),
            (&[(1, 0)], None, Some((1, 0))),
            (&[(1, 5), (2, 6), (1, 5)], Some((1, 5)), Some((2, 6))),
            // Two that lag behind do not outvote the one that leads.
            (&[(1, 5), (1, 5), (2, 6)], None, Some((2, 6))),
            // A liar with an old epoch, alone.
            (&[(9, 4)], Some((1, 5)), None),
            (&[(9, 5)], Some((1, 5)), None),
            (&[(9, 4), (1, 5), (1, 5)], Some((1, 5)), Some((1, 5))),
            (&[(9, 5), (1, 5)], Some((1, 5)), Some((1, 5))),
            // All were set up anew.
            (&[(2, 0), (2, 0), (2, 0)], Some((1, 5)), Some((2, 0))),
            (&[(2, 0), (2, 0)], Some((1, 5)), Some((2, 0))),
        ] {
            let chosen = choose(
                &answers(votes),
                known.map(|(port, epoch)| (at(port), epoch)),
                3,
            );
            let is_older = known.is_some_and(|(_, epoch)| votes.iter().all(|vote| vote.1 < epoch));
            let chosen = chosen.inspect(|choice| {
                let known = known.filter(|_| is_older).map(|(port, _)| at(port));
                assert_eq!(choice.instead_of, known, "{votes:?}");
            });
            let chosen = chosen.map(|choice| (choice.address, choice.epoch));
            let expected = expected.map(|(port, epoch)| (at(port), epoch));
            assert_eq!(chosen, expected, "{votes:?}, {known:?}");
        }
    }

    #[test]
    fn replicas_are_those_of_who_agrees_on_the_primary() {
        let replica = |port, is_up| Replica {
            address: at(port),
            is_up,
            behind_bytes: None,
        };
        let mut votes = answers(&[(1, 5), (1, 5), (2, 4)]);
        let lists = [
            vec![replica(2, true), replica(3, true)],
            vec![replica(3, false), replica(1, true)],
            vec![replica(4, true)],
        ];
        for (vote, list) in votes.values_mut().zip(lists) {
            vote.replicas = list;
        }
        assert_eq!(
            replicas(&votes, at(1)),
            Some(vec![replica(2, true), replica(3, false)])
        );
        assert_eq!(replicas(&votes, at(9)), None);
    }
}
