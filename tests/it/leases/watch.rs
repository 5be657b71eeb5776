//! `WATCH`: a transaction fails if a watched key changes before it, and never runs unwatched.

use super::{OK, QUEUED, connections, leases, metric, send, two_keys_apart};
use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show};

/// Requests that are sent to a Redis, and to the proxy in front of it.
const REQUESTS: &[&str] = &[
    "WATCH k",
    "WATCH k other",
    "SET k 1",
    "MULTI",
    "SET k 2",
    "EXEC",
    "GET k",
    "MULTI",
    "SET k 3",
    "EXEC",
    "WATCH k",
    "GET k",
    "MULTI",
    "INCR k",
    "EXEC",
    "WATCH k",
    "SET k 7",
    "UNWATCH",
    "MULTI",
    "INCR k",
    "EXEC",
    "WATCH k",
    "SET k 9",
    "MULTI",
    "INCR k",
    "DISCARD",
    "MULTI",
    "INCR k",
    "EXEC",
    "WATCH k",
    "SET k 11",
    "MULTI",
    "EXEC",
    "WATCH k",
    "MULTI",
    "EXEC",
    "WATCH k",
    "SET k 12",
    "MULTI",
    "NOSUCH",
    "EXEC",
    "MULTI",
    "GET k",
    "EXEC",
    "WATCH",
    "WATCH k",
    "LPUSH k x",
    "SET k 13",
    "RESET",
    "MULTI",
    "GET k",
    "EXEC",
    "HELLO 3",
    "WATCH k",
    "SET k 14",
    "MULTI",
    "GET k",
    "EXEC",
    "GET k",
];

#[test]
fn watch_behaves_as_in_redis() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut there, mut here) = (original.client(), proxy.client());
    for request in REQUESTS {
        let (expected, reply) = (there.ask(request), here.ask(request));
        assert_same(request, &expected, &reply);
    }
    there.ask("FLUSHALL");
    server.ask("FLUSHALL");
    let (mut there, mut here) = (original.client(), proxy.client());
    send(&mut there, REQUESTS);
    send(&mut here, REQUESTS);
    for request in REQUESTS {
        let (expected, reply) = (there.reply(), here.reply());
        assert_same(request, &expected, &reply);
    }
}

/// Compares two replies, except for the client ID.
fn assert_same(request: &str, expected: &[u8], reply: &[u8]) {
    if request.starts_with("HELLO") {
        assert_eq!(expected.first(), reply.first(), "{request}");
    } else {
        assert_eq!(show(expected), show(reply), "{request}");
    }
}

#[test]
fn write_by_another_client_aborts_the_transaction() {
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let (mut watcher, mut writer) = (proxy.client(), proxy.client());
    for key in ["a", "b", "c", "d"] {
        watcher.converse(&[(&format!("WATCH {key}"), OK)]);
        writer.converse(&[(&format!("SET {key} 1"), OK)]);
        watcher.converse(&[
            ("MULTI", OK),
            (&format!("SET {key} 2"), QUEUED),
            ("EXEC", "*-1\r\n"),
            (&format!("GET {key}"), "$1\r\n1\r\n"),
            (&format!("WATCH {key}"), OK),
            ("MULTI", OK),
            (&format!("INCR {key}"), QUEUED),
            ("EXEC", "*1\r\n:2\r\n"),
        ]);
    }
}

#[test]
fn concurrent_check_and_set_loses_no_update() {
    const CLIENTS: usize = 6;
    const EACH: usize = 40;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let address = proxy.address();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for _ in 0..EACH {
                    while !raised(&mut client) {}
                }
            });
        }
    });
    let total = CLIENTS * EACH;
    proxy
        .client()
        .converse(&[("GET n", &format!("$3\r\n{total}\r\n"))]);
}

/// Adds one to `n` by reading and writing it. Returns true if no other client was faster.
fn raised(client: &mut Client) -> bool {
    client.converse(&[("WATCH n", OK)]);
    let reply = String::from_utf8(client.ask("GET n")).unwrap();
    let number: u64 = reply.lines().nth(1).map_or(0, |n| n.parse().unwrap());
    client.converse(&[("MULTI", OK), (&format!("SET n {}", number + 1), QUEUED)]);
    client.ask("EXEC") == b"*1\r\n+OK\r\n"
}

#[test]
fn watching_keys_of_two_servers_is_refused() {
    let servers: [_; 4] = RedisServer::several();
    let pool = Pool::of(&servers)
        .with("hash", "murmur")
        .with("hash_tag", "\"{}\"");
    let proxy = Proxy::ringroad(&pool);
    let (a, b) = two_keys_apart(&servers, &proxy);
    let apart = format!(
        "-ERR keys '{a}' and '{b}' are stored on different servers; give them a common hash tag, such as '{{{a}}}'\r\n"
    );
    proxy.client().converse(&[
        (&format!("WATCH {a} {b}"), &apart),
        (&format!("WATCH {a}"), OK),
        (&format!("WATCH {b}"), &apart),
        (&format!("SET {b} 1"), OK),
        ("MULTI", OK),
        (&format!("SET {b} 2"), &apart),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
        ),
        (&format!("WATCH {b}"), OK),
        ("MULTI", OK),
        (&format!("INCR {b}"), QUEUED),
        ("EXEC", "*1\r\n:2\r\n"),
    ]);
}

#[test]
fn lost_watch_connection_aborts_the_transaction() {
    let mut server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("WATCH k", OK)]);
    server.kill();
    server.restart();
    let lost = "-EXECABORT Transaction discarded because the connection that watched its keys was lost.\r\n";
    eventually("the disconnect is detected", || {
        (proxy.stat(&["s0", "server_connections"]) == 0).then_some(())
    });
    client.converse(&[("MULTI", OK), ("SET k 1", QUEUED), ("EXEC", lost)]);
    client.converse(&[
        ("WATCH k", OK),
        ("MULTI", OK),
        ("SET k 1", QUEUED),
        ("EXEC", "*1\r\n+OK\r\n"),
    ]);
}

#[test]
fn client_can_watch_again_after_a_lost_watch() {
    let mut server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("WATCH k", OK)]);
    server.kill();
    server.restart();
    eventually("the disconnect is detected", || {
        (proxy.stat(&["s0", "server_connections"]) == 0).then_some(())
    });
    let lost = "-EXECABORT Transaction discarded because the connection that watched its keys was lost.\r\n";
    client.converse(&[
        ("GET k", "$-1\r\n"),
        ("WATCH k", lost),
        ("WATCH k", OK),
        ("GET k", "$-1\r\n"),
        ("MULTI", OK),
        ("SET k 1", QUEUED),
        ("EXEC", "*1\r\n+OK\r\n"),
    ]);
}

#[test]
fn lease_limit_gives_an_error_and_leases_are_returned() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("server_leases", 2);
    let proxy = Proxy::ringroad(&pool);
    let denied = "-ERR too many blocked or watching clients on this server (server_leases = 2)\r\n";
    // One worker has all of them.
    let mut holders: Vec<Client> = Vec::new();
    let mut refused = 0;
    while refused == 0 {
        let mut client = proxy.client();
        match client.ask("WATCH k").as_slice() {
            b"+OK\r\n" => holders.push(client),
            reply => {
                assert_eq!(show(reply), show(denied.as_bytes()));
                refused += 1;
            }
        }
    }
    assert_eq!(leases(&proxy, 0), i64::try_from(holders.len()).unwrap());
    assert_eq!(
        metric(
            &proxy,
            "ringroad_server_leases_refused_total{pool=\"p\",server=\"s0\"}"
        ),
        1
    );
    for client in &mut holders {
        client.converse(&[("UNWATCH", OK)]);
    }
    assert_eq!(leases(&proxy, 0), 0);
    for client in &mut holders {
        client.converse(&[("WATCH k", OK)]);
    }
    drop(holders);
    eventually("leases of clients that have left are given back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
}

#[test]
fn lease_is_reused_and_closed_when_idle() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("SET k 1", OK)]);
    let before = connections(&server);
    for _ in 0..50 {
        client.converse(&[("WATCH k", OK), ("MULTI", OK), ("INCR k", QUEUED)]);
        client.ask("EXEC");
        client.converse(&[("WATCH k", OK), ("UNWATCH", OK)]);
    }
    // One more, if the server had not yet confirmed that the first was free.
    assert!(connections(&server) <= before + 2);
    eventually("the lease is closed", || {
        (connections(&server) == before).then_some(())
    });
}

#[test]
fn pool_without_leases_refuses_watch_and_blocking() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("server_leases", 0));
    for request in ["WATCH k", "BLPOP k 0"] {
        let reply = proxy.ask(request);
        assert!(
            reply.starts_with(b"-ERR too many blocked or watching clients"),
            "{}",
            show(&reply)
        );
    }
}
