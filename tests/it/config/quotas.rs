//! Quotas in the configuration file.

use super::*;

/// The errors of a pool with these lines.
fn errors_of(lines: &str) -> String {
    let text = format!("a: {{listen: h:1, servers: ['s:1:1'], {lines}}}\n");
    Config::parse(&text, "F").unwrap_err().to_string()
}

#[test]
fn rates_of_a_pool_are_shown_as_written() {
    let yaml = pool_with("requests_per_second: 1000\nbytes_per_second: 10mb");
    let pool = pools(&yaml).remove(0);
    assert!(pool.is_metered());
    for (directive, expected) in [
        ("requests_per_second", "1000"),
        ("bytes_per_second", "10mb"),
    ] {
        let shown = schema::settings(&pool).find(|(name, _)| *name == directive);
        assert_eq!(shown.unwrap().1.to_string(), expected);
    }
    assert!(!pools(&pool_with(""))[0].is_metered());
}

#[test]
fn faulty_rates_are_explained() {
    for (lines, expected) in [
        (
            "requests_per_second: 0",
            "F:1: pool 'a': key 'requests_per_second': 0 is out of range; it must be from 1 to 2147483647",
        ),
        ("requests_per_second: 1k", "'1k' is not a number"),
        (
            "bytes_per_second: 0mb",
            "key 'bytes_per_second': '0mb' is out of range; it must be at least 1: without a limit, leave it out",
        ),
        (
            "bytes_per_second: 1025gb",
            "'1025gb' is out of range; it must be at most 1024gb",
        ),
        (
            "bytes_per_second: ten",
            "'ten' is not a size, as in '512mb'",
        ),
    ] {
        let errors = errors_of(lines);
        assert!(errors.contains(expected), "{lines}: {errors}");
    }
}

#[test]
fn quotas_of_users_are_shown_as_written() {
    let rows = [
        "shop requests_per_second=1000 bytes_per_second=10mb",
        "* bytes_per_second=1kb connections=7 memory=64mb",
    ];
    let written = format!("{rows:?}");
    let pool = pools(&pool_with(&format!(
        "users: ['shop on']\nuser_quotas: {written}"
    )))
    .remove(0);
    let shown = schema::settings(&pool).find(|(name, _)| *name == "user_quotas");
    assert_eq!(shown.unwrap().1.to_string(), written.replace('"', ""));
    assert!(pool.is_metered());
}

#[test]
fn faulty_quotas_of_users_are_explained() {
    for (rows, expected) in [
        (
            "shoq requests_per_second=1",
            "F:1: pool 'a': key 'user_quotas': the pool has no user 'shoq'; did you mean 'shop'?",
        ),
        (
            "warehouse requests_per_second=1",
            "the pool has no user 'warehouse'; '*' is for each user without a row",
        ),
        (
            "shop requests=1",
            "'requests' is no limit; choose of requests_per_second, bytes_per_second, connections, memory",
        ),
        (
            "shop request_per_second=1",
            "'request_per_second' is no limit; did you mean 'requests_per_second'?",
        ),
        (
            "shop 1000",
            "'1000' is not a limit, as in 'requests_per_second=1000'",
        ),
        (
            "shop",
            "user 'shop': has no limit, as in 'shop requests_per_second=1000'",
        ),
        (
            "shop requests_per_second=0",
            "requests_per_second: 0 is out of range; it must be from 1 to 2147483647",
        ),
        (
            "shop bytes_per_second=0",
            "bytes_per_second: '0' is out of range; it must be at least 1: without a limit, leave it out",
        ),
        (
            "shop memory=1kb",
            "memory: '1kb' is out of range; it must be at least 1mb, which each client may hold",
        ),
        (
            "shop bytes_per_second=1kb bytes_per_second=1kb",
            "user 'shop': has 'bytes_per_second' twice",
        ),
        (
            "default bytes_per_second=1kb', 'default bytes_per_second=1kb",
            "user 'default' is a duplicate; the first is on line 1",
        ),
    ] {
        let lines = format!("redis: true, users: ['shop on'], user_quotas: ['{rows}']");
        let errors = errors_of(&lines);
        assert!(errors.contains(expected), "{rows}: {errors}");
    }
    for (lines, expected) in [
        (
            "user_quotas: ['* requests_per_second=1']",
            "key 'user_quotas': is only valid with 'redis: true': clients of memcached have no users",
        ),
        (
            "redis: true, user_quotas: shop",
            "key 'user_quotas': must be a list of quotas, one '- ' line each",
        ),
        (
            "redis: true, user_quotas: [{shop: 1}]",
            "key 'user_quotas': an entry must be a user's name and limits, not a mapping",
        ),
    ] {
        let errors = errors_of(lines);
        assert!(errors.contains(expected), "{lines}: {errors}");
    }
}
