//! Sentinels and replicas in the configuration file.

use std::fmt::Write as _;

use super::*;

/// The errors of a pool with these lines, without their places.
fn errors_of(servers: &str, lines: &str) -> Vec<String> {
    let text = format!("a: {{listen: h:1, redis: true, servers: [{servers}], {lines}}}\n");
    match Config::parse(&text, "F") {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn failover_settings_have_their_defaults() {
    let sentinels =
        pools("a: {listen: h:1, redis: true, servers: ['s:1:1 x'], sentinels: ['t:2', 'u:3']}")
            .remove(0);
    assert_eq!(sentinels.failover_timeout(), Duration::from_secs(5));
    assert!(sentinels.fails_over() && !sentinels.reads_replicas());
    let replicas = pools(
        "a: {listen: h:1, redis: true, servers: ['s:1:1'], replicas: ['t:2 s:1'], \
         server_failover_timeout: 0, read_from: any}",
    )
    .remove(0);
    assert!(!replicas.fails_over() && replicas.reads_replicas());
    assert_eq!(replicas.replicas[0].server, "s:1");
    let plain = pools(&pool_with("")).remove(0);
    assert!(!plain.fails_over() && !plain.has_roles());
    for pool in [sentinels, replicas] {
        let text = pool_text(&pool);
        assert_eq!(pools(&text).remove(0), pool, "{text}");
    }
}

/// The file that the settings of a pool make.
fn pool_text(pool: &PoolConfig) -> String {
    let mut text = format!("{}:\n", pool.name);
    for (name, setting) in schema::settings(pool) {
        if setting != Setting::Absent {
            let _ = writeln!(text, "  {name}: {setting}");
        }
    }
    text
}

#[test]
fn failover_settings_that_contradict_are_errors() {
    for (servers, lines, expected) in [
        (
            "'s:1:1'",
            "sentinels: ['t:2']",
            "server 's:1' needs a name of its own",
        ),
        ("'s:1:1 x'", "sentinels: ['t']", "'t' has no port"),
        ("'s:1:1 x'", "sentinels: [/t]", "is a unix socket"),
        ("'s:1:1 x'", "sentinels: ['t:2', 't:2']", "has 't:2' twice"),
        (
            "'s:1:1 x'",
            "sentinels: 't:2'",
            "must be a list of sentinels",
        ),
        (
            "'s:1:1 shard1'",
            "replicas: ['t:2 shard2']",
            "'t:2 shard2' names a server that the pool does not have; did you mean 'shard1'?",
        ),
        ("'s:1:1 x'", "replicas: ['t:2']", "'t:2' names no server"),
        (
            "'s:1:1 x'",
            "replicas: ['t:2 x', 't:2 x']",
            "has the address t:2 twice",
        ),
        (
            "'/s:1 x'",
            "sentinels: ['t:2']",
            "server 'x' is a unix socket",
        ),
        (
            "'s:1:1 x'",
            "sentinels: ['u:3'], replicas: ['t:2 x']",
            "key 'replicas': is not possible with 'sentinels'",
        ),
        (
            "'s:1:1 x'",
            "auto_eject_hosts: true, sentinels: ['t:2']",
            "key 'auto_eject_hosts': is not possible with 'sentinels'",
        ),
        (
            "'s:1:1 x'",
            "auto_eject_hosts: true, replicas: ['t:2 x']",
            "key 'auto_eject_hosts': is not possible with 'replicas'",
        ),
        (
            "'s:1:1 x'",
            "read_from: any",
            "needs 'sentinels' or 'replicas'",
        ),
        (
            "'s:1:1 x'",
            "read_from: slave",
            "choose one of primary, replica, any",
        ),
        ("'s:1:1 x'", "sentinel_auth: secret", "needs 'sentinels'"),
        (
            "'s:1:1 x'",
            "server_failover_timeout: 1",
            "needs 'sentinels' or 'replicas'",
        ),
        (
            "'s:1:1 x'",
            "replicas: ['t:2 x'], read_hedge_limit: 5",
            "needs 'read_from: replica' or 'any'",
        ),
        ("'s:1:1 x'", "replica_max_lag: 99", "must be from 100 to"),
        (
            "'s:1:1 x'",
            "sentinels: ['t:2'], read_from: replica, placement_guard: true",
            "'replica' is not possible with 'placement_guard: true'",
        ),
        (
            "'s:1:1 x'",
            "redis: false, sentinels: ['t:2']",
            "key 'sentinels': is only valid with 'redis: true'",
        ),
    ] {
        let lines = lines.to_owned();
        let errors = if lines.contains("redis: false") {
            let text = format!("a: {{listen: h:1, servers: [{servers}], {lines}}}\n");
            let errors = Config::parse(&text, "F").unwrap_err().to_string();
            errors.lines().map(str::to_owned).collect()
        } else {
            errors_of(servers, &lines)
        };
        let [error] = errors.as_slice() else {
            panic!("{lines}: {errors:?}");
        };
        assert!(error.contains(expected), "{lines}: {error}");
    }
}

#[test]
fn sentinel_password_is_shown_nowhere() {
    let pool = pools(
        "a: {listen: h:1, redis: true, servers: ['s:1:1 x'], sentinels: ['t:2'], sentinel_auth: 'me hunter2'}",
    )
    .remove(0);
    assert_eq!(pool.sentinel_auth, Some(Secret::new(&b"me hunter2"[..])));
    assert!(!pool_text(&pool).contains("hunter2"));
}
