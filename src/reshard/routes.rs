//! Which keys move from which server to which.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::mover;
use crate::topology::{Basis, BucketSet, MovedKeys, Placement, Router};

/// The buckets of one source that have moved, shared with what copies its keys.
pub(super) type Moved = Arc<RwLock<BucketSet>>;

/// The two placements of a move, compared.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) before: Arc<Placement>,
    pub(super) after: Arc<Placement>,
    old: Router,
    new: Router,
    /// By the name of each source, the names of its destinations.
    destinations: BTreeMap<String, Vec<String>>,
    /// Servers take the places of others, by replication.
    is_replacement: bool,
}

impl Routes {
    pub(super) fn of(before: &Arc<Placement>, after: &Arc<Placement>) -> Self {
        let old = Router::of_placement(before);
        let new = Router::of_placement_after(before, after);
        let is_replacement = before.replaced(after).next().is_some();
        let moved = MovedKeys::between(&old, &new);
        let mut destinations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if is_replacement {
            for (from, to) in before.replaced(after) {
                let called = before.called(after, &to.name, &to.address);
                destinations.insert(from.name.clone(), vec![called]);
            }
        } else if moved.basis == Basis::AllHashes {
            for row in moved.rows {
                destinations.entry(row.from).or_default().push(row.to);
            }
        } else {
            // A sample may miss some.
            for from in &before.servers {
                let others = after.servers.iter().filter(|to| to.name != from.name);
                let names: Vec<_> = others.map(|to| to.name.clone()).collect();
                if !names.is_empty() {
                    destinations.insert(from.name.clone(), names);
                }
            }
        }
        Self {
            before: Arc::clone(before),
            after: Arc::clone(after),
            old,
            new,
            destinations,
            is_replacement,
        }
    }

    /// Returns true if servers take the places of others, by replication.
    pub(super) fn is_replacement(&self) -> bool {
        self.is_replacement
    }

    /// The shares of the keys that move.
    pub(super) fn moved(&self) -> MovedKeys {
        MovedKeys::between(&self.old, &self.new)
    }

    /// The servers that give keys away.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.destinations.keys().map(String::as_str)
    }

    /// The servers that get keys of a source.
    pub(super) fn destinations(&self, source: &str) -> &[String] {
        self.destinations.get(source).map_or(&[], Vec::as_slice)
    }

    /// The server whose place this one takes, by replication.
    pub(super) fn place_of(&self, taker: &str) -> Option<&str> {
        let mut pairs = self.destinations.iter().filter(|_| self.is_replacement);
        let pair = pairs.find(|(_, takers)| takers.iter().any(|name| name == taker));
        pair.map(|(name, _)| name.as_str())
    }

    /// The servers that get keys.
    pub(super) fn all_destinations(&self) -> impl Iterator<Item = &str> {
        let servers = self.new.members().iter();
        let servers = servers.map(|server| server.name.as_str());
        servers.filter(|name| self.destinations.values().flatten().any(|to| to == name))
    }

    /// The owner of a key before the move, and that after it.
    pub(super) fn owners(&self, key: &[u8]) -> Option<(&str, &str)> {
        let before = self.before.servers.get(self.old.route(key)?.index())?;
        let after = self.new.members().get(self.new.route(key)?.index())?;
        Some((&before.name, &after.name))
    }

    /// Where the keys of a source go that have not moved yet: for its mover.
    pub(super) fn placement(self: &Arc<Self>, source: &str, moved: &Moved) -> mover::Placement {
        let (routes, source) = (Arc::clone(self), source.to_owned());
        let moved = Arc::clone(moved);
        Arc::new(move |key| {
            let (before, after) = routes.owners(key)?;
            if before != source || after == source {
                return None;
            }
            let moved = moved.read().unwrap_or_else(PoisonError::into_inner);
            if moved.contains(routes.before.bucket(key)) {
                return None;
            }
            let destinations = routes.destinations(&source);
            destinations.iter().position(|name| name == after)
        })
    }

    /// The keys of a source that have moved: for its mover.
    pub(super) fn given_away(self: &Arc<Self>, source: &str, moved: &Moved) -> mover::GivenAway {
        let (routes, source) = (Arc::clone(self), source.to_owned());
        let moved = Arc::clone(moved);
        Arc::new(move |key| {
            let moved = moved.read().unwrap_or_else(PoisonError::into_inner);
            moved.contains(routes.before.bucket(key)) && routes.leaves(&source, key)
        })
    }

    /// Returns true for a key at a server from which it moves.
    pub(super) fn leaves(&self, server: &str, key: &[u8]) -> bool {
        let owners = self.owners(key);
        owners.is_some_and(|(before, after)| before == server && after != server)
    }

    /// Returns true for a key at a server to which it moves.
    pub(super) fn arrives(&self, server: &str, key: &[u8]) -> bool {
        let owners = self.owners(key);
        owners.is_some_and(|(before, after)| after == server && before != server)
    }
}
