//! Settings change for the clients that are connected, and none of them is disconnected.

use super::{OK, clients};
use crate::support::{Kind, Launch, Pool, Proxy, RedisServer, eventually, show};

#[test]
fn connected_clients_get_new_settings() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("SET k 1", OK), ("FLUSHALL", OK), ("SELECT 5", OK)]);
    client.converse(&[("SET k 5", OK)]);
    proxy.reload(
        &Pool::of([&server])
            .with("disabled_commands", "[flushall]")
            .with("databases", 3)
            .with("tcpkeepalive", true),
    );
    let refused = client.ask("FLUSHALL");
    assert!(refused.starts_with(b"-ERR"), "{}", show(&refused));
    // The client stays in its database, which no other may select any more.
    client.converse(&[("GET k", "$1\r\n5\r\n")]);
    let refused = proxy.ask("SELECT 5");
    assert_eq!(show(&refused), "-ERR DB index is out of range\\r\\n");
    proxy.reload(&Pool::of([&server]));
    client.converse(&[("GET k", "$1\r\n5\r\n"), ("FLUSHALL", OK)]);
}

#[test]
fn new_password_is_for_new_clients_and_connections() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut old = proxy.client();
    old.converse(&[("SET k 1", OK)]);
    server
        .client()
        .converse(&[("CONFIG SET requirepass secret", OK)]);
    proxy.reload(&Pool::of([&server]).with("redis_auth", "secret"));
    old.converse(&[("INCR k", ":2\r\n")]);
    let mut new = proxy.client();
    assert!(new.ask("GET k").starts_with(b"-NOAUTH"));
    new.converse(&[("AUTH secret", OK), ("GET k", "$1\r\n2\r\n")]);
    // All connections are set up with the password: without it the server refuses them.
    eventually("old connections are closed", || {
        let mut asker = server.client();
        asker.converse(&[("AUTH secret", OK)]);
        let list = String::from_utf8(asker.ask("CLIENT LIST")).unwrap();
        (list.matches(" addr=").count() <= 3).then_some(())
    });
    assert_eq!(clients(&proxy), 3 - 1);
}

#[test]
fn timeout_changes_on_open_connections() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("SET k 1", OK)]);
    proxy.reload(&Pool::of([&server]).with("timeout", 100));
    server.stop();
    let reply = client.ask("GET k");
    assert!(reply.starts_with(b"-ERR"), "{}", show(&reply));
    server.cont();
}

#[test]
fn client_limit_changes_without_closing_clients() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut connected: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut connected {
        client.converse(&[("PING", "+PONG\r\n")]);
    }
    proxy.reload(&Pool::of([&server]).with("client_connections", 2));
    let refused = proxy.client().read_to_close_or_reply();
    assert_eq!(show(&refused), "-ERR max number of clients reached\\r\\n");
    for client in &mut connected {
        client.converse(&[("PING", "+PONG\r\n")]);
    }
    proxy.reload(&Pool::of([&server]));
    assert_eq!(show(&proxy.ask("PING")), "+PONG\\r\\n");
}

#[test]
fn faulty_file_changes_nothing_and_all_faults_are_logged() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    client.converse(&[("SET k 1", OK)]);
    let faulty = pool.clone().with("timeout", "soon").with("hassh", "md5");
    let outcome = proxy.reload_text(&faulty.yaml(proxy.address()));
    for fault in [
        "pool.yml:4: pool 'p': key 'timeout'",
        "pool.yml:5: pool 'p': key 'hassh': unknown directive; did you mean 'hash'?",
        "nothing was changed",
    ] {
        assert!(outcome.contains(fault), "{fault} is not in {outcome}");
    }
    client.converse(&[("GET k", "$1\r\n1\r\n")]);
    proxy.reload(&pool);
}

#[test]
fn unchangeable_directive_is_refused_with_the_way() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let proxy = Proxy::ringroad(&pool);
    for (option, value) in [("redis_db", "1"), ("reuseport", "true")] {
        let changed = pool.clone().with(option, value);
        let outcome = proxy.reload_text(&changed.yaml(proxy.address()));
        let expected = format!("pool 'p': '{option}' cannot change while the proxy runs: ");
        assert!(outcome.contains(&expected), "{outcome}");
    }
    let changed = pool.speaking_memcached();
    let outcome = proxy.reload_text(&changed.yaml(proxy.address()));
    assert!(outcome.contains("'redis' cannot change"), "{outcome}");
    assert_eq!(show(&proxy.ask("PING")), "+PONG\\r\\n");
}

#[test]
fn watched_file_is_reloaded_when_it_changes() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let launch = Launch {
        args: vec!["--watch".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let yaml = |option| pool.clone().with("timeout", option).yaml(proxy.address());
    std::fs::write(proxy.conf(), yaml("soon")).unwrap();
    proxy.process().await_output("the old configuration stays");
    std::fs::write(proxy.conf(), yaml("777")).unwrap();
    proxy.process().await_output("timeout: none -> 777");
}
