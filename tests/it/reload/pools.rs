//! Pools come and leave, and their listeners change.

use std::net::SocketAddr;

use super::OK;
use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show, words};

/// The configuration of `pool` under another name.
fn named(name: &str, pool: &Pool, listen: SocketAddr) -> String {
    pool.yaml(listen).replacen("p:", &format!("{name}:"), 1)
}

/// The address of another port of the proxy.
fn other_port(proxy: &Proxy) -> SocketAddr {
    let mut address = proxy.address();
    address.set_port(address.port() + 1);
    address
}

#[test]
fn pool_is_added_and_removed() {
    let [first, second] = RedisServer::several();
    let pool = Pool::of([&first]);
    let proxy = Proxy::ringroad(&pool);
    let mut stays = proxy.client();
    stays.converse(&[("SET k first", OK)]);
    let address = other_port(&proxy);
    let one = pool.yaml(proxy.address());
    let two = one.clone() + &named("q", &Pool::of([&second]), address);
    let outcome = proxy.reload_text(&two);
    assert!(outcome.contains("pool 'q': added"), "{outcome}");
    let mut leaves = Client::connect(address);
    leaves.converse(&[("SET k second", OK)]);
    let mut blocked = Client::connect(address);
    blocked.send(&words("BLPOP list 0"));
    assert_eq!(proxy.stats()["q"]["client_connections"], 2);

    let outcome = proxy.reload_text(&one);
    assert!(outcome.contains("pool 'q': removed"), "{outcome}");
    leaves.expect_close();
    blocked.expect("BLPOP", b"-UNBLOCKED the proxy is shutting down\r\n");
    blocked.expect_close();
    assert!(Client::try_connect(address).is_err());
    assert!(proxy.stats()["q"].is_null());
    stays.converse(&[("GET k", "$5\r\nfirst\r\n")]);
    eventually("its connections are closed", || {
        let list = second.ask("CLIENT LIST");
        (String::from_utf8_lossy(&list).matches(" addr=").count() == 1).then_some(())
    });
}

#[test]
fn clients_stay_when_their_pool_listens_elsewhere() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    client.converse(&[("SET k 1", OK)]);
    let address = other_port(&proxy);
    proxy.reload_text(&pool.yaml(address));
    client.converse(&[("GET k", "$1\r\n1\r\n")]);
    Client::connect(address).converse(&[("GET k", "$1\r\n1\r\n")]);
    assert!(Client::try_connect(proxy.address()).is_err());
}

#[test]
fn listener_is_handed_to_another_pool() {
    let [first, second] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of([&first]));
    let mut old = proxy.client();
    old.converse(&[("SET k first", OK)]);
    second.client().converse(&[("SET k second", OK)]);
    let outcome = proxy.reload_text(&named("q", &Pool::of([&second]), proxy.address()));
    assert!(outcome.contains("is in use"), "{outcome}");
    old.expect_close();
    proxy.client().converse(&[("GET k", "$6\r\nsecond\r\n")]);
}

#[test]
fn pools_swap_their_listeners() {
    let [first, second] = RedisServer::several();
    for (server, value) in [(&first, "first"), (&second, "second")] {
        server.client().converse(&[(&format!("SET k {value}"), OK)]);
    }
    let (here, there) = (Pool::of([&first]), Pool::of([&second]));
    let proxy = Proxy::ringroad(&here);
    let other = other_port(&proxy);
    proxy.reload_text(&(here.yaml(proxy.address()) + &named("q", &there, other)));
    proxy.reload_text(&(here.yaml(other) + &named("q", &there, proxy.address())));
    proxy.client().converse(&[("GET k", "$6\r\nsecond\r\n")]);
    Client::connect(other).converse(&[("GET k", "$5\r\nfirst\r\n")]);
}

#[test]
fn address_in_use_changes_nothing() {
    let [first, second] = RedisServer::several();
    let pool = Pool::of([&first]);
    let proxy = Proxy::ringroad(&pool);
    proxy.client().converse(&[("SET k 1", OK)]);
    let free = other_port(&proxy);
    let text = pool.clone().with("timeout", 1234).yaml(proxy.address())
        + &named("a", &pool, free)
        + &named("q", &Pool::of([&second]), second.address());
    let outcome = proxy.reload_text(&text);
    assert!(
        outcome.contains("pool 'q': listening on") && outcome.contains("nothing was changed"),
        "{outcome}"
    );
    assert!(Client::try_connect(free).is_err());
    assert_eq!(show(&proxy.ask("GET k")), "$1\\r\\n1\\r\\n");
}

#[test]
fn pool_under_a_new_name_may_not_lose_keys_either() {
    let servers: [_; 3] = RedisServer::several();
    let store = |count: usize| Pool::of(&servers[..count]).with("hash", "murmur");
    let proxy = Proxy::ringroad(&store(2));
    let outcome = proxy.reload_text(&named("q", &store(3), proxy.address()));
    let expected = "pool 'q', in the place of 'p': ";
    assert!(
        outcome.contains(expected) && outcome.contains("nothing was changed"),
        "{outcome}"
    );
    let outcome = proxy.reload_text(&named("q", &store(2), proxy.address()));
    assert!(outcome.contains("is in use"), "{outcome}");
}

#[test]
fn overlap_with_an_own_listener_is_named() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let proxy = Proxy::ringroad(&pool);
    let port = proxy.address().port();
    let outcome = proxy.reload_text(&pool.yaml(([0, 0, 0, 0], port).into()));
    let expected = format!(
        "'0.0.0.0:{port}' overlaps with '{}', on which pool 'p' listens",
        proxy.address()
    );
    assert!(outcome.contains(&expected), "{outcome}");
    assert_eq!(show(&proxy.ask("PING")), "+PONG\\r\\n");
}
