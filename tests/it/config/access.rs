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

#[test]
fn rules_of_admission_are_checked() {
    for (lines, expected) in [
        (
            "allow: [10.0.0.1/8]",
            "F:1: pool 'a': key 'allow': '10.0.0.1/8' has bits behind its prefix; did you mean '10.0.0.0/8'?",
        ),
        (
            "deny: [localhost]",
            "key 'deny': 'localhost' is not an address or a network",
        ),
        (
            "allow: []",
            "key 'allow': has no entries: leave it out for what it is without them",
        ),
        ("proxy_protocol: []", "key 'proxy_protocol': has no entries"),
        (
            "allow: 10.0.0.0/8",
            "key 'allow': must be a list of networks",
        ),
        (
            "allow: ['uid:1000']",
            "key 'allow': 'uid:1000' needs a unix socket: nobody knows the user of a connection over TCP",
        ),
        ("allow: ['uid:me']", "has no number of a user"),
        (
            "auth_timeout: 1",
            "key 'auth_timeout': is only valid with 'redis: true'",
        ),
        (
            "client_address_auth_failures: 1",
            "key 'client_address_auth_failures': is only valid with 'redis: true'",
        ),
    ] {
        let errors = errors_of(lines);
        assert!(errors.contains(expected), "{lines}: {errors}");
    }
    let on_unix = |lines: &str| {
        let text = format!("a: {{listen: /s, servers: ['s:1:1'], {lines}}}\n");
        Config::parse(&text, "F").map(drop)
    };
    let error = on_unix("allow: [10.0.0.0/8]").unwrap_err().to_string();
    let expected = "'10.0.0.0/8' needs a listener on TCP; write the users of a unix socket";
    assert!(error.contains(expected), "{error}");
    // The clients of a balancer have addresses.
    on_unix("allow: [10.0.0.0/8], proxy_protocol: ['uid:1000']").unwrap();
}
