//! What a router tells of servers that take the places of others: same name, another address, by replication.

use crate::topology::reshard::{Moving, Placement};
use crate::topology::{Member, Router, ServerIndex};

impl Router {
    /// The router of the placement after a move from `before`, whose servers have the names that they have in that move.
    #[must_use]
    pub fn of_placement_after(before: &Placement, after: &Placement) -> Self {
        let called = after.servers.iter().map(|server| Member {
            name: before.called(after, &server.name, &server.address),
            weight: server.weight,
        });
        Self::of_placement(after).called(called.collect())
    }

    /// Returns true if servers take the places of others, by replication.
    #[must_use]
    pub fn is_replacement(&self) -> bool {
        self.moves().is_some_and(Moving::is_replacement)
    }

    /// Returns true if a server takes the place of another, or is to.
    #[must_use]
    pub fn takes_place(&self, server: ServerIndex) -> bool {
        self.moves()
            .is_some_and(|moving| moving.takes_place(server))
    }

    /// Returns true if a server is to take the place of another, and has not yet: nothing but its mark is asked for.
    #[must_use]
    pub fn is_standby(&self, server: ServerIndex) -> bool {
        self.moves().is_some_and(|moving| moving.is_standby(server))
    }

    /// Returns true if another server has taken the place of this one.
    #[must_use]
    pub fn is_replaced(&self, server: ServerIndex) -> bool {
        self.moves()
            .is_some_and(|moving| moving.is_replaced(server))
    }
}
