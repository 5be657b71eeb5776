//! What a change of the file would do.
//!
//! Pure: compares the pools of two files. A reload decides by it, and `ringroad diff` prints it. Pools are matched by
//! name, and so are the servers of a pool: a server with another address keeps its keys, and one with another name is
//! another server.

mod json;
mod text;

use std::collections::{BTreeSet, HashMap};

use crate::config::{ListenConfig, OnPlacementChange, PoolConfig, ServerConfig, Setting, schema};
use crate::net::ServerAddr;
use crate::topology::{MovedKeys, Router};

/// The difference between two files. `Display` lists all of it, for an operator; a password never appears.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigDiff {
    /// The names of pools that only the new file has.
    pub added: Vec<String>,
    /// The names of pools that only the old file has.
    pub removed: Vec<String>,
    /// Pools that differ.
    pub changed: Vec<PoolDiff>,
    /// Added pools that listen where a removed one did: its clients find them in its place.
    pub replaced: Vec<Replacement>,
}

/// An added pool in the place of a removed one.
#[derive(Debug, Clone, PartialEq)]
pub struct Replacement {
    /// The removed pool.
    pub old: String,
    /// The added pool.
    pub new: String,
    /// What happens to the keys, if they move.
    pub placement: PlacementChange,
}

/// The differences of one pool. At least one of its fields has something.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolDiff {
    /// Its name.
    pub name: String,
    /// Directives with another value.
    pub settings: Vec<SettingChange>,
    /// Servers that come, leave or change, in the order of their names.
    pub servers: Vec<ServerChange>,
    /// What happens to the keys; none if everything that placement depends on is equal.
    pub placement: Option<PlacementChange>,
}

/// A directive with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Its name in the file.
    pub directive: &'static str,
    /// The old value.
    pub old: Setting,
    /// The new value.
    pub new: Setting,
    /// How to get there, if a running proxy cannot make the change.
    pub way: Option<&'static str>,
}

/// A server that comes, leaves or changes. One with another address and another weight has two changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerChange {
    /// Its name.
    pub name: String,
    /// The change.
    pub kind: ServerChangeKind,
}

/// The change of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named after what they hold")]
pub enum ServerChangeKind {
    /// The new file has it.
    Added { address: ServerAddr, weight: u32 },
    /// The new file does not have it.
    Removed { address: ServerAddr, weight: u32 },
    /// It is elsewhere; its keys are looked for there.
    Address { old: ServerAddr, new: ServerAddr },
    /// It gets another share of the keys.
    Weight { old: u32, new: u32 },
}

/// A change of what the placement of keys depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementChange {
    /// The keys that would be looked for elsewhere; perhaps none.
    pub moved: MovedKeys,
    /// What the new file says about that.
    pub rule: OnPlacementChange,
}

/// What a reload does with a changed pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It changes the pool; all keys stay where they are looked for.
    Applies,
    /// It changes the pool; some keys will be looked for elsewhere.
    Swaps,
    /// It changes nothing, in no pool of the file.
    Refuses,
}

/// Compares the pools of two files.
#[must_use]
pub fn compare(old: &[PoolConfig], new: &[PoolConfig]) -> ConfigDiff {
    let by_name: HashMap<_, _> = old.iter().map(|pool| (pool.name.as_str(), pool)).collect();
    let mut diff = ConfigDiff {
        added: Vec::new(),
        removed: missing_from(new, old),
        changed: Vec::new(),
        replaced: Vec::new(),
    };
    for pool in new {
        match by_name.get(pool.name.as_str()) {
            Some(old) if *old == pool => {}
            Some(old) => diff.changed.push(PoolDiff::between(old, pool)),
            None => {
                diff.added.push(pool.name.clone());
                diff.replaced.extend(replacement(old, new, pool));
            }
        }
    }
    diff
}

/// The removed pool that a pool of the new file takes the place of, if keys move by that.
fn replacement(old: &[PoolConfig], new: &[PoolConfig], pool: &PoolConfig) -> Option<Replacement> {
    let is_removed = |old: &&PoolConfig| new.iter().all(|new| new.name != old.name);
    let is_alike = |old: &&PoolConfig| {
        let mut both = old.listeners().flat_map(|(_, old)| {
            let new = pool.listeners();
            new.map(move |(_, new)| old.address.may_equal(&new.address))
        });
        both.any(|is_same| is_same) && old.protocol == pool.protocol
    };
    let mut removed = old.iter().filter(is_removed).filter(is_alike);
    let addresses = |pool: &'_ PoolConfig| -> Vec<_> {
        let listeners = pool.listeners();
        listeners
            .map(|(_, listen)| listen.address.clone())
            .collect()
    };
    let is_written_alike = |old: &&PoolConfig| addresses(old) == addresses(pool);
    let before = removed
        .clone()
        .find(is_written_alike)
        .or_else(|| removed.next())?;
    let placement = placement(before, pool).filter(|placement| !placement.moved.is_empty())?;
    Some(Replacement {
        old: before.name.clone(),
        new: pool.name.clone(),
        placement,
    })
}

/// The names of the pools of `others` that `pools` does not have.
fn missing_from(pools: &[PoolConfig], others: &[PoolConfig]) -> Vec<String> {
    let names: BTreeSet<_> = pools.iter().map(|pool| pool.name.as_str()).collect();
    let missing = others
        .iter()
        .filter(|pool| !names.contains(pool.name.as_str()));
    missing.map(|pool| pool.name.clone()).collect()
}

impl ConfigDiff {
    /// Returns true if the files mean the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// The differences of a pool; none if it is equal in both files, or not in both.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&PoolDiff> {
        self.changed.iter().find(|pool| pool.name == name)
    }

    /// The number of differences: pools that come or leave, and in the others directives, and servers that come, leave or
    /// change.
    #[must_use]
    pub fn count(&self) -> usize {
        let changed = self.changed.iter().map(PoolDiff::count);
        self.added.len() + self.removed.len() + changed.sum::<usize>()
    }

    /// Returns true if a reload of the new file changes nothing.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.refusals().is_empty()
    }
}

impl PoolDiff {
    fn between(old: &PoolConfig, new: &PoolConfig) -> Self {
        Self {
            name: new.name.clone(),
            placement: placement(old, new).filter(|_| old.protocol == new.protocol),
            servers: servers(&old.servers, &new.servers),
            settings: settings(old, new),
        }
    }

    /// A server with another address and another weight counts once.
    fn count(&self) -> usize {
        let names: BTreeSet<_> = self.servers.iter().map(|server| &server.name).collect();
        self.settings.len() + names.len()
    }

    /// Settings that a running proxy cannot change.
    pub fn unchangeable(&self) -> impl Iterator<Item = &SettingChange> {
        self.settings.iter().filter(|change| change.way.is_some())
    }

    /// What a reload does with this pool.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let placement = self.placement.as_ref();
        match placement.filter(|placement| !placement.moved.is_empty()) {
            _ if self.unchangeable().next().is_some() => Verdict::Refuses,
            None => Verdict::Applies,
            Some(placement) => match placement.rule {
                OnPlacementChange::Refuse => Verdict::Refuses,
                OnPlacementChange::Swap => Verdict::Swaps,
            },
        }
    }
}

/// The directives with another value, but for the servers.
fn settings(old: &PoolConfig, new: &PoolConfig) -> Vec<SettingChange> {
    let address = |listen: &Option<ListenConfig>| listen.as_ref().map(|one| one.address.clone());
    let is_elsewhere = address(&old.listen) != address(&new.listen);
    schema::settings(old)
        .zip(schema::settings(new))
        .filter(|((directive, old), (_, new))| *directive != "servers" && old != new)
        .map(|((directive, old), (_, new))| SettingChange {
            directive,
            old,
            new,
            way: way(directive).filter(|_| directive != "reuseport" || !is_elsewhere),
        })
        .collect()
}

/// How to change a directive that a running proxy cannot change.
fn way(directive: &str) -> Option<&'static str> {
    match directive {
        // The database is a part of where every key is looked for.
        "redis" | "redis_db" => Some("remove the pool and add one under another name"),
        "reuseport" => Some("change 'listen' too, or restart"),
        _ => None,
    }
}

/// Both lists are in the order of the names.
fn servers(old: &[ServerConfig], new: &[ServerConfig]) -> Vec<ServerChange> {
    let after: HashMap<_, _> = new.iter().map(|server| (&server.name, server)).collect();
    let before: BTreeSet<_> = old.iter().map(|server| &server.name).collect();
    let mut changes: Vec<_> = old
        .iter()
        .flat_map(|server| match after.get(&server.name) {
            Some(after) => server_changes(server, after),
            None => vec![
                ServerChangeKind::Removed {
                    address: server.address.clone(),
                    weight: server.weight,
                }
                .of(server),
            ],
        })
        .collect();
    let added = new.iter().filter(|server| !before.contains(&server.name));
    changes.extend(added.map(|server| {
        ServerChangeKind::Added {
            address: server.address.clone(),
            weight: server.weight,
        }
        .of(server)
    }));
    changes
}

fn server_changes(old: &ServerConfig, new: &ServerConfig) -> Vec<ServerChange> {
    let address = (old.address != new.address).then(|| ServerChangeKind::Address {
        old: old.address.clone(),
        new: new.address.clone(),
    });
    let weight = (old.weight != new.weight).then_some(ServerChangeKind::Weight {
        old: old.weight,
        new: new.weight,
    });
    let changes = [address, weight].into_iter().flatten();
    changes.map(|kind| kind.of(new)).collect()
}

impl ServerChangeKind {
    fn of(self, server: &ServerConfig) -> ServerChange {
        ServerChange {
            name: server.name.clone(),
            kind: self,
        }
    }
}

/// What happens to the keys, if something that placement depends on differs.
fn placement(old: &PoolConfig, new: &PoolConfig) -> Option<PlacementChange> {
    if Router::is_alike_for(old, new) {
        return None;
    }
    let (from, to) = (Router::for_pool(old), Router::for_pool(new));
    Some(PlacementChange {
        moved: MovedKeys::between(&from, &to),
        rule: new.on_placement_change(),
    })
}

#[cfg(test)]
mod tests;
