//! What the two files alone forbid. Pure.

use std::net::IpAddr;

use crate::config::{Distribution, PoolConfig, ProtocolKind, ServerConfig};
use crate::net::ServerAddr;
use crate::topology::{MovedKeys, Placement, Router};

/// All obstacles, each with what to do about it.
pub(super) fn obstacles(from: &PoolConfig, to: &PoolConfig, by_replication: bool) -> Vec<String> {
    let mut obstacles = Vec::new();
    for (pool, file) in [(from, "old"), (to, "new")] {
        obstacles.extend(
            of_pool(pool)
                .into_iter()
                .map(|text| format!("{file} file: {text}")),
        );
    }
    let mut add = |is_wrong: bool, text: &str| {
        if is_wrong {
            obstacles.push(text.to_owned());
        }
    };
    add(
        from.hash_tag != to.hash_tag,
        "the files have two different values of 'hash_tag': keys of one tag could not move together; keep it, and rename the \
         keys first",
    );
    add(
        from.redis_db != to.redis_db || from.databases != to.databases,
        "the files have different values of 'redis_db' or 'databases': a move leaves keys in their database; change them \
         before or after it",
    );
    let (old, new) = (Placement::of(from), Placement::of(to));
    let is_replacement = old.replaced(&new).next().is_some();
    add(
        by_replication && !old.is_alike(&new),
        "'--by replication' changes the addresses of servers and nothing else: give both files the same names, weights, 'hash' \
         and 'distribution', and make the other changes by a move of their own, before or after it",
    );
    add(
        by_replication && (from.has_roles() || to.has_roles()),
        "'--by replication' is not for pools with 'sentinels' or 'replicas', which say where the primaries are: make the new server \
         a replica of the old one, and then the primary by 'ringroad ctl failover'",
    );
    add(
        by_replication && old.is_alike(&new) && !is_replacement,
        "no server has another address in the new file, so there is nothing to replicate",
    );
    add(
        !by_replication
            && !is_replacement
            && MovedKeys::between(&Router::for_pool(from), &Router::for_pool(to)).is_empty(),
        "no key moves: both files place all keys alike; a reload is enough ('ringroad ctl reload')",
    );
    if by_replication {
        obstacles.extend(
            old.replaced(&new)
                .filter_map(|(old, new)| of_pair(old, new)),
        );
    }
    for server in to.servers.iter().filter(|_| !by_replication) {
        if let Some(other) = old
            .server(&server.name)
            .filter(|old| old.address != server.address)
        {
            obstacles.push(format!(
                "server '{}' has the address {} in the old file and {} in the new one: if that is to take its place, with all \
                 its keys, add '--by replication'; if it is the same server, change the address by a reload without a move; else \
                 give the new one a new name",
                server.name, other.address, server.address
            ));
        }
    }
    for server in &old.servers_with(&new) {
        let mut others = to.servers.iter().chain(&from.servers);
        let other =
            others.find(|other| other.address == server.address && other.name < server.name);
        if let Some(other) = other {
            obstacles.push(format!(
                "servers '{}' and '{}' have the same address {}: give it one name",
                other.name, server.name, server.address
            ));
        }
    }
    obstacles
}

/// What keeps one server from taking the place of another.
fn of_pair(old: &ServerConfig, new: &ServerConfig) -> Option<String> {
    let (ServerAddr::Tcp { host, .. }, ServerAddr::Tcp { host: taker, .. }) =
        (&old.address, &new.address)
    else {
        return Some(format!(
            "server '{}' has a unix socket as its address ({}, {}): replication needs a host and a port, which the new server \
             can reach",
            old.name, old.address, new.address
        ));
    };
    let is_local = |host: &str| {
        let ip = host.parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    };
    (is_local(host) && !is_local(taker)).then(|| {
        format!(
            "server '{}': the new server ({}) is to replicate {}, which is its own machine there; give the old server the \
             address that others reach it by, in the files of all proxies",
            old.name, new.address, old.address
        )
    })
}

fn of_pool(pool: &PoolConfig) -> Vec<String> {
    if pool.protocol == ProtocolKind::Memcached {
        return vec![format!(
            "pool '{}' is of memcached, whose protocol cannot list keys; only pools with 'redis: true' can be moved",
            pool.name
        )];
    }
    let mut found = Vec::new();
    if pool.distribution == Distribution::Random && pool.servers.len() > 1 {
        found.push(format!(
            "pool '{}' has 'distribution: random': any server may have any key; choose ketama or modula",
            pool.name
        ));
    }
    if pool.auto_eject_hosts {
        found.push(format!(
            "pool '{}' has 'auto_eject_hosts: true': a server that is ejected gives its keys away; set it to false",
            pool.name
        ));
    }
    if !pool.placement_guard {
        found.push(format!(
            "pool '{}' has no 'placement_guard: true': its proxies do not watch for moves; set it in the file of all proxies, \
             and reload it",
            pool.name
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FILE: &str = "p:\n  listen: 127.0.0.1:1\n  redis: true\n  placement_guard: true\n  servers:\n    - 10.0.0.1:1:1 a\n    - 10.0.0.2:1:1 b\n";

    fn pool(yaml: &str) -> PoolConfig {
        Config::parse(yaml, "F").unwrap().pools.swap_remove(0)
    }

    fn of(old: &str, new: &str) -> Vec<String> {
        obstacles(&pool(old), &pool(new), false)
    }

    fn of_replacement(old: &str, new: &str) -> Vec<String> {
        obstacles(&pool(old), &pool(new), true)
    }

    #[test]
    fn replacement_changes_addresses_and_nothing_else() {
        let new = FILE.replace("10.0.0.1", "10.0.0.9");
        assert_eq!(of_replacement(FILE, &new), [""; 0]);
        for (old, new, words) in [
            (
                FILE.to_owned(),
                FILE.to_owned(),
                "no server has another address",
            ),
            (
                FILE.to_owned(),
                new.replace(":1 b", ":2 b"),
                "and nothing else",
            ),
            (
                FILE.to_owned(),
                FILE.replace("10.0.0.1:1:1", "/run/a:1"),
                "unix socket",
            ),
            (
                FILE.replace("10.0.0.1", "localhost"),
                new.clone(),
                "its own machine",
            ),
            (
                FILE.replace("redis: true", "redis: true\n  sentinels: [s:1]"),
                new.replace("redis: true", "redis: true\n  sentinels: [s:1]"),
                "'ringroad ctl failover'",
            ),
        ] {
            let found = of_replacement(&old, &new);
            assert!(
                found.len() == 1 && found[0].contains(words),
                "{words}: {found:?}"
            );
        }
        // Without the option, it is hinted at.
        let found = of(FILE, &new);
        assert!(
            found.len() == 1 && found[0].contains("--by replication"),
            "{found:?}"
        );
    }

    #[test]
    fn files_that_can_be_moved_between_have_no_obstacles() {
        let new = format!("{FILE}    - 10.0.0.3:1:1 c\n");
        assert_eq!(of(FILE, &new), [""; 0]);
        assert_eq!(of(&new, FILE), [""; 0]);
    }

    #[test]
    fn all_obstacles_are_named_at_once() {
        let old = FILE
            .replace("placement_guard: true", "auto_eject_hosts: true")
            .replace("10.0.0.1", "10.0.0.9");
        let new = format!("{FILE}    - 10.0.0.2:1:1 c\n").replace(
            "redis: true",
            "redis: true\n  hash_tag: \"{}\"\n  redis_db: 3",
        );
        let found = of(&old, &new);
        for words in [
            "old file: pool 'p' has 'auto_eject_hosts: true'",
            "old file: pool 'p' has no 'placement_guard: true'",
            "two different values of 'hash_tag'",
            "different values of 'redis_db'",
            "server 'a' has the address 10.0.0.9:1 in the old file and 10.0.0.1:1",
            "servers 'b' and 'c' have the same address 10.0.0.2:1",
        ] {
            let count = found.iter().filter(|text| text.contains(words)).count();
            assert_eq!(count, 1, "{words}: {found:#?}");
        }
        assert_eq!(found.len(), 6, "{found:#?}");
    }

    #[test]
    fn pools_that_have_no_placement_cannot_be_moved() {
        let memcached = FILE
            .replace("redis: true", "redis: false")
            .replace("  placement_guard: true\n", "");
        let random = FILE.replace("placement_guard: true", "distribution: random");
        assert!(of(&memcached, FILE)[0].contains("is of memcached"));
        assert!(of(&random, FILE)[0].contains("'distribution: random'"));
        assert!(of(FILE, FILE)[0].starts_with("no key moves"));
    }
}
