//! What the two files alone forbid. Pure.

use crate::config::{Distribution, PoolConfig, ProtocolKind};
use crate::topology::{MovedKeys, Placement, Router};

/// All obstacles, each with what to do about it.
pub(super) fn obstacles(from: &PoolConfig, to: &PoolConfig) -> Vec<String> {
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
    add(
        MovedKeys::between(&Router::for_pool(from), &Router::for_pool(to)).is_empty(),
        "no key moves: both files place all keys alike; a reload is enough ('ringroad ctl reload')",
    );
    let old = Placement::of(from);
    for server in &to.servers {
        if let Some(other) = old
            .server(&server.name)
            .filter(|old| old.address != server.address)
        {
            obstacles.push(format!(
                "server '{}' has the address {} in the old file and {} in the new one: a name is one server; give the new one \
                 a new name, or change the address by a reload without a move",
                server.name, other.address, server.address
            ));
        }
    }
    for server in &old.servers_with(&Placement::of(to)) {
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
             and restart them",
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
        obstacles(&pool(old), &pool(new))
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
