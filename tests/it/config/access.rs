//! Who is let in, in the configuration file.

use super::*;

/// A pool of Redis with these lines.
fn pool_of(lines: &str) -> PoolConfig {
    let text = format!("a: {{listen: h:1, redis: true, servers: ['s:1:1'], {lines}}}\n");
    pools(&text).remove(0)
}

/// The errors of a pool with these lines.
fn errors_of(lines: &str) -> String {
    let text = format!("a: {{listen: h:1, servers: ['s:1:1'], {lines}}}\n");
    Config::parse(&text, "F").unwrap_err().to_string()
}

#[test]
fn servers_get_the_password_that_is_theirs() {
    let words = |lines: &str| {
        let auth = pool_of(lines).server_auth()?;
        let words = auth.words().into_iter();
        Some(
            words
                .map(|word| word.escape_ascii().to_string())
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    for (lines, expected) in [
        ("redis_db: 0", None),
        ("redis_auth: one", Some("AUTH one")),
        ("redis_auth: one, server_password: two", Some("AUTH two")),
        ("server_password: two", Some("AUTH two")),
        ("server_user: me, server_password: two", Some("AUTH me two")),
        (
            "redis_auth: one, server_user: me, server_password: two",
            Some("AUTH me two"),
        ),
    ] {
        assert_eq!(words(lines).as_deref(), expected, "{lines}");
    }
}

#[test]
fn rules_of_access_are_checked() {
    for (lines, expected) in [
        (
            "redis: true, redis_auth: 'sha256:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7'",
            "key 'redis_auth': is a hash, which needs 'server_password'",
        ),
        (
            "redis: true, redis_auth: '${RINGROAD_NONE}'",
            "F:1: pool 'a': key 'redis_auth': the environment has no variable 'RINGROAD_NONE'",
        ),
        (
            "redis: true, server_password: 'file:no/such'",
            "key 'server_password': 'no/such' cannot be read: No such file",
        ),
        (
            "redis: true, sentinels: ['h:1'], sentinel_auth: 'literal:'",
            "key 'sentinel_auth': 'literal:' has no value",
        ),
        (
            "redis: true, server_user: me",
            "key 'server_user': needs 'server_password'",
        ),
        (
            "redis: true, server_user: me, redis_auth: one",
            "key 'server_user': needs 'server_password'",
        ),
        (
            "server_password: x",
            "key 'server_password': is only valid with 'redis: true'",
        ),
    ] {
        let errors = errors_of(lines);
        assert!(errors.contains(expected), "{lines}: {errors}");
    }
}
