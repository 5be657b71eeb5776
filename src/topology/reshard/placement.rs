//! What decides where the keys of a pool are, as a mark contains it.

use std::hash::Hasher as _;

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};

use crate::config::{Distribution, PoolConfig, ServerConfig};
use crate::hash::{HashKind, HashTag, name_order};
use crate::net::ServerAddr;
use crate::topology::reshard::Bucket;

/// A placement of keys on servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The hash of the keys.
    pub hash: HashKind,
    /// The hash tag.
    pub hash_tag: Option<HashTag>,
    /// The distribution.
    pub distribution: Distribution,
    /// The servers, in the order of `hash::name_order`.
    pub servers: Vec<ServerConfig>,
}

/// The reason why a text is no placement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// It is no JSON, or has not the fields.
    #[error("{0}")]
    Malformed(String),
    /// A value that this version does not know.
    #[error("{field} '{value}' is unknown")]
    Unknown {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
    },
}

impl Placement {
    /// The placement of a configured pool.
    #[must_use]
    pub fn of(pool: &PoolConfig) -> Self {
        Self {
            hash: pool.hash,
            hash_tag: pool.hash_tag,
            distribution: pool.distribution,
            servers: pool.servers.clone(),
        }
    }

    /// The configuration of the pool with this placement instead of its own.
    #[must_use]
    pub fn in_place_of(&self, pool: &PoolConfig) -> PoolConfig {
        PoolConfig {
            hash: self.hash,
            hash_tag: self.hash_tag,
            distribution: self.distribution,
            servers: self.servers.clone(),
            ..pool.clone()
        }
    }

    /// The bucket of a key, in moves away from this placement.
    #[must_use]
    pub fn bucket(&self, key: &[u8]) -> Bucket {
        let input = self.hash_tag.map_or(key, |tag| tag.apply(key));
        Bucket::of(self.hash.hash(input))
    }

    /// The server of this name.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&ServerConfig> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The servers of either placement, in the order of their names. One that is in both has the weight that `other` says;
    /// with two addresses it is two servers, of which the one of `self` comes first.
    #[must_use]
    pub fn servers_with(&self, other: &Self) -> Vec<ServerConfig> {
        let gone = self.servers.iter();
        let gone = gone.filter(|server| !other.has(&server.name, &server.address));
        let mut servers: Vec<_> = gone.chain(&other.servers).cloned().collect();
        servers.sort_by(|a, b| name_order(&a.name, &b.name));
        servers
    }

    /// Returns true if the server of this name has this address.
    #[must_use]
    pub fn has(&self, name: &str, address: &ServerAddr) -> bool {
        self.server(name)
            .is_some_and(|server| server.address == *address)
    }

    /// What a server is called in a move from this placement to `after`, also in marks: its name. One that takes the place
    /// of another is called by its address too, until the end of the move.
    #[must_use]
    pub fn called(&self, after: &Self, name: &str, address: &ServerAddr) -> String {
        let is_new = after.has(name, address) && !self.has(name, address);
        if is_new && self.server(name).is_some() {
            format!("{name}@{address}")
        } else {
            name.to_owned()
        }
    }

    /// The servers of a move from this placement to `after`, under what they are called in it.
    #[must_use]
    pub fn servers_in_move(&self, after: &Self) -> Vec<ServerConfig> {
        let servers = self.servers_with(after).into_iter();
        let called = servers.map(|server| ServerConfig {
            name: self.called(after, &server.name, &server.address),
            ..server
        });
        called.collect()
    }

    /// The servers of this placement whose places others take in `after`, each with the other: same name, another address.
    /// All their keys move at once, by replication.
    pub fn replaced<'p>(
        &'p self,
        after: &'p Self,
    ) -> impl Iterator<Item = (&'p ServerConfig, &'p ServerConfig)> {
        let pairs = self.servers.iter();
        let pairs = pairs.filter_map(|old| Some((old, after.server(&old.name)?)));
        pairs.filter(|(old, new)| old.address != new.address)
    }

    /// Returns true if both place every key on the server of the same name.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let hashing =
            |placement: &Self| (placement.hash, placement.hash_tag, placement.distribution);
        let rings = |placement: &Self| -> Vec<(String, u32)> {
            let servers = placement.servers.iter();
            let servers = servers.map(|server| (server.name.clone(), server.weight));
            servers.collect()
        };
        hashing(self) == hashing(other) && rings(self) == rings(other)
    }

    /// A digest of what decides where keys are, and in which order a server scans them: the same in every proxy.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let hashing = (self.hash, self.hash_tag, self.distribution);
        digest(hashing, &self.servers)
    }

    /// That of the placement of a configured pool.
    #[must_use]
    pub fn digest_of(pool: &PoolConfig) -> u64 {
        let hashing = (pool.hash, pool.hash_tag, pool.distribution);
        digest(hashing, &pool.servers)
    }

    /// Reads what [`Self::to_json`] has written.
    pub fn parse(json: &str) -> Result<Self, PlacementError> {
        let text: Text = serde_json::from_str(json)
            .map_err(|error| PlacementError::Malformed(error.to_string()))?;
        let servers = text.servers.into_iter().map(|(name, address, weight)| {
            let parsed = address.parse();
            Ok(ServerConfig {
                name,
                address: parsed.map_err(|_| unknown("address", &address))?,
                weight,
            })
        });
        let mut servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        servers.sort_by(|a, b| name_order(&a.name, &b.name));
        Ok(Self {
            hash: HashKind::from_name(&text.hash).ok_or_else(|| unknown("hash", &text.hash))?,
            hash_tag: text.hash_tag.map(|[open, close]| HashTag { open, close }),
            distribution: Distribution::from_name(&text.distribution)
                .ok_or_else(|| unknown("distribution", &text.distribution))?,
            servers,
        })
    }

    /// JSON on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let server = |server: &ServerConfig| {
            let address = server.address.to_string();
            (server.name.clone(), address, server.weight)
        };
        let text = Text {
            hash: self.hash.name().to_owned(),
            hash_tag: self.hash_tag.map(|tag| [tag.open, tag.close]),
            distribution: self.distribution.name().to_owned(),
            servers: self.servers.iter().map(server).collect(),
        };
        // Names and numbers are always JSON.
        serde_json::to_string(&text).unwrap_or_default()
    }
}

fn unknown(field: &'static str, value: &str) -> PlacementError {
    PlacementError::Unknown {
        field,
        value: value.to_owned(),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Text {
    hash: String,
    hash_tag: Option<[u8; 2]>,
    distribution: String,
    /// Name, address, weight.
    servers: Vec<(String, String, u32)>,
}

fn digest(
    (hash, tag, distribution): (HashKind, Option<HashTag>, Distribution),
    servers: &[ServerConfig],
) -> u64 {
    let mut digest = FnvHasher::default();
    let tag = tag.map(|tag| [tag.open, tag.close]);
    digest.write(hash.name().as_bytes());
    digest.write(tag.as_ref().map_or(&[][..], |tag| tag));
    digest.write_u8(0);
    digest.write(distribution.name().as_bytes());
    for server in servers {
        digest.write_u8(0);
        digest.write(server.name.as_bytes());
        digest.write_u8(0);
        digest.write(&server.weight.to_le_bytes());
        digest.write(server.address.to_string().as_bytes());
    }
    digest.finish()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A placement of murmur and ketama on servers of these names and weights.
    pub(in crate::topology) fn placement(servers: &[(&str, u32)]) -> Placement {
        let server = |&(name, weight): &(&str, u32)| ServerConfig {
            name: name.to_owned(),
            address: "127.0.0.1:6379".parse().unwrap(),
            weight,
        };
        Placement {
            hash: HashKind::Murmur,
            hash_tag: None,
            distribution: Distribution::Ketama,
            servers: servers.iter().map(server).collect(),
        }
    }

    #[test]
    fn placement_is_read_as_it_was_written() {
        let tag = HashTag {
            open: b'{',
            close: b'}',
        };
        let mut written = placement(&[("a", 1), ("b \"x\"", 7)]);
        written.servers[1].address = "/run/redis.sock".parse().unwrap();
        for (hash_tag, distribution) in [
            (None, Distribution::Modula),
            (Some(tag), Distribution::Ketama),
        ] {
            written = Placement {
                hash_tag,
                distribution,
                ..written
            };
            assert_eq!(Placement::parse(&written.to_json()), Ok(written.clone()));
        }
    }

    #[test]
    fn digest_differs_if_a_server_has_another_address() {
        let before = placement(&[("a", 1)]);
        let mut after = before.clone();
        assert_eq!(before.digest(), after.digest());
        after.servers[0].address = "127.0.0.2:6379".parse().unwrap();
        assert_ne!(before.digest(), after.digest());
    }

    #[test]
    fn unknown_values_are_named() {
        let json = placement(&[("a", 1)]).to_json();
        for (from, to, message) in [
            ("murmur", "rot13", "hash 'rot13' is unknown"),
            ("ketama", "maglev", "distribution 'maglev' is unknown"),
            ("127.0.0.1:6379", "nowhere", "address 'nowhere' is unknown"),
        ] {
            let error = Placement::parse(&json.replace(from, to)).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        assert!(Placement::parse("{}").is_err());
    }

    #[test]
    fn server_that_takes_a_place_is_called_by_its_address() {
        let before = placement(&[("a", 1), ("b", 1)]);
        let mut after = before.clone();
        after.servers[0].address = "127.0.0.2:6379".parse().unwrap();
        let union = before.servers_with(&after);
        let called: Vec<_> = union
            .iter()
            .map(|server| before.called(&after, &server.name, &server.address))
            .collect();
        assert_eq!(called, ["a", "a@127.0.0.2:6379", "b"]);
        let replaced: Vec<_> = before.replaced(&after).collect();
        assert_eq!(replaced, [(&before.servers[0], &after.servers[0])]);
        assert!(before.is_alike(&after) && before != after);
        assert_eq!(before.replaced(&before).count(), 0);
    }

    #[test]
    fn union_of_servers_is_sorted_and_prefers_the_second() {
        let (before, after) = (
            placement(&[("a", 1), ("b", 1)]),
            placement(&[("b", 2), ("c", 1)]),
        );
        let union = before.servers_with(&after);
        let names: Vec<_> = union.iter().map(|s| (s.name.as_str(), s.weight)).collect();
        assert_eq!(names, [("a", 1), ("b", 2), ("c", 1)]);
    }
}
