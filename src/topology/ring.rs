//! The live servers of a pool, arranged for its distribution.

use crate::config::Distribution;
use crate::topology::modula::Slots;
use crate::topology::{Continuum, Member, ServerIndex};

/// The live servers, arranged for the distribution.
#[derive(Debug, Clone)]
pub(super) enum Ring {
    /// No server is live.
    Empty,
    /// One server is live and owns every key; nothing is hashed.
    One(ServerIndex),
    Ketama(Continuum),
    Modula(Slots),
    Random(Vec<ServerIndex>),
}

impl Ring {
    pub(super) fn new(distribution: Distribution, live: &[(ServerIndex, &Member)]) -> Self {
        match (live, distribution) {
            ([], _) => Self::Empty,
            ([(server, _)], _) => Self::One(*server),
            (_, Distribution::Ketama) => Self::Ketama(Continuum::new(live)),
            (_, Distribution::Modula) => Self::Modula(Slots::new(live)),
            (_, Distribution::Random) => {
                Self::Random(live.iter().map(|&(server, _)| server).collect())
            }
        }
    }

    /// The owner of the keys with this hash; none if there is no server.
    pub(super) fn owner(&self, hash: u32) -> Option<ServerIndex> {
        match self {
            Self::Empty => None,
            Self::One(server) => Some(*server),
            Self::Ketama(continuum) => continuum.owner(hash),
            Self::Modula(slots) => slots.owner(hash),
            Self::Random(servers) => fastrand::choice(servers).copied(),
        }
    }

    /// The owner of `hash`, and the end (exclusive) of a range of hashes with the same owner; none if the owner does not
    /// depend on the hash.
    pub(super) fn range(&self, hash: u32) -> Option<(ServerIndex, u64)> {
        match self {
            Self::Ketama(continuum) => continuum.range(hash),
            Self::Modula(slots) => slots.range(hash),
            Self::Empty | Self::One(_) | Self::Random(_) => None,
        }
    }

    /// About how many ranges there are below `hashes`.
    pub(super) fn ranges(&self, hashes: u64) -> u64 {
        match self {
            Self::Ketama(continuum) => continuum.len() as u64,
            Self::Modula(slots) => hashes
                .checked_div(slots.total())
                .unwrap_or_default()
                .saturating_mul(slots.len() as u64),
            Self::Empty | Self::One(_) | Self::Random(_) => 0,
        }
    }

    /// The number of hashes after which the owners repeat; none if they do not.
    pub(super) fn period(&self) -> Option<u64> {
        match self {
            Self::Modula(slots) => Some(slots.total()),
            Self::Ketama(_) | Self::Empty | Self::One(_) | Self::Random(_) => None,
        }
    }
}
