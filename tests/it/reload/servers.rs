//! Servers come, leave and move. What is in flight is answered, and order is kept.

use super::{OK, cache, clients};
use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show, words};

#[test]
fn new_address_of_a_server_is_followed() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    new.client().converse(&[("SET k new", OK)]);
    let proxy = Proxy::ringroad(&Pool::of([&old]));
    let mut client = proxy.client();
    client.converse(&[("SET k old", OK), ("GET k", "$3\r\nold\r\n")]);
    proxy.reload(&Pool::of([&new]));
    client.converse(&[("GET k", "$3\r\nnew\r\n")]);
    eventually("the old server has no connection", || {
        let list = old.ask("CLIENT LIST");
        (String::from_utf8_lossy(&list).matches(" addr=").count() == 1).then_some(())
    });
    assert_eq!(clients(&proxy), 1);
}

#[test]
fn request_in_flight_to_a_removed_server_is_answered() {
    let [stays, leaves] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache([&stays, &leaves]));
    let mut client = proxy.client();
    let key = key_at(&leaves, &mut client);
    leaves.stop();
    client.send(&[words(&format!("INCR {key}")), words("SET after 1")].concat());
    proxy.reload(&cache([&stays]));
    leaves.cont();
    client.expect("INCR", b":2\r\n");
    client.expect("SET", b"+OK\r\n");
    client.converse(&[
        (&format!("GET {key}"), "$-1\r\n"),
        ("GET after", "$1\r\n1\r\n"),
    ]);
}

/// A key that is stored on `server`, with the value 1.
fn key_at(server: &RedisServer, client: &mut Client) -> String {
    let mut keys = (0..1000).map(|number| format!("key-{number}"));
    let found = keys.find(|key| {
        client.converse(&[(&format!("SET {key} 1"), OK)]);
        server.ask(&format!("EXISTS {key}")) == b":1\r\n"
    });
    found.unwrap()
}

#[test]
fn writes_of_one_client_keep_their_order() {
    let server = RedisServer::start();
    let pool = |connections| Pool::of([&server]).with("server_connections", connections);
    let proxy = Proxy::ringroad(&pool(1));
    let mut client = proxy.client();
    let mut expected = 0;
    for round in 0..20 {
        client.send(&words("APPEND log a"));
        let pipeline: Vec<u8> = (0..50).flat_map(|_| words("INCR n")).collect();
        client.send(&pipeline);
        proxy.reload(&pool(1 + round % 3));
        client.send(&pipeline);
        client.reply();
        for _ in 0..100 {
            expected += 1;
            client.expect("INCR", format!(":{expected}\r\n").as_bytes());
        }
    }
}

#[test]
fn change_that_would_lose_keys_is_refused_with_its_share() {
    let servers: [_; 3] = RedisServer::several();
    let store = |count: usize| Pool::of(&servers[..count]).with("hash", "murmur");
    let proxy = Proxy::ringroad(&store(2));
    let outcome = proxy.reload_text(&store(3).yaml(proxy.address()));
    assert!(
        outcome.contains("% of the keys would be looked for elsewhere"),
        "{outcome}"
    );
    assert_eq!(show(&proxy.ask("INFO server")).matches("s2").count(), 0);
    proxy.reload(&store(3).with("on_placement_change", "swap"));
    for key in 0..50 {
        proxy.client().converse(&[(&format!("SET {key} 1"), OK)]);
    }
    assert!(!servers[2].keys().is_empty());
}

#[test]
fn one_added_server_is_logged_as_one_change() {
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers[..2]));
    let outcome = proxy.reload_text(&cache(&servers).yaml(proxy.address()));
    assert!(outcome.contains("server 's2': added"), "{outcome}");
    assert!(outcome.contains("are looked for elsewhere"), "{outcome}");
    assert!(outcome.contains("is in use changes=1\n"), "{outcome}");
}

#[test]
fn transaction_survives_a_change_of_other_servers() {
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers));
    let mut client = proxy.client();
    client.converse(&[("MULTI", OK), ("SET {a}1 x", "+QUEUED\r\n")]);
    proxy.reload(&cache(&servers).with("timeout", 5000));
    client.converse(&[
        ("GET {a}1", "+QUEUED\r\n"),
        ("EXEC", "*2\r\n+OK\r\n$1\r\nx\r\n"),
    ]);
}

#[test]
fn watched_keys_that_move_fail_exec_as_if_changed() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers));
    let mut client = proxy.client();
    let key = key_at(&servers[1], &mut client);
    let set = format!("SET {key} 2");
    client.converse(&[
        (&format!("WATCH {key}"), OK),
        ("MULTI", OK),
        (&set, "+QUEUED\r\n"),
    ]);
    proxy.reload(&cache(&servers[..1]));
    client.converse(&[("EXEC", "*-1\r\n"), (&set, OK)]);
    client.converse(&[
        (&format!("WATCH {key}"), OK),
        ("MULTI", OK),
        (&set, "+QUEUED\r\n"),
    ]);
    proxy.reload(&cache(&servers[..1]).with("timeout", 5000));
    client.converse(&[("EXEC", "*1\r\n+OK\r\n")]);
}

#[test]
fn scan_cursor_of_another_ring_is_refused() {
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers));
    let mut client = proxy.client();
    for key in 0..200 {
        client.converse(&[(&format!("SET {key} 1"), OK)]);
    }
    let reply = String::from_utf8(client.ask("SCAN 0 COUNT 10")).unwrap();
    let cursor = reply.lines().nth(2).unwrap().to_owned();
    proxy.reload(&cache(&servers).with("timeout", 5000));
    assert!(client.ask(&format!("SCAN {cursor}")).starts_with(b"*2"));
    proxy.reload(&cache(&servers[..2]));
    let refused = client.ask(&format!("SCAN {cursor}"));
    assert!(refused.starts_with(b"-ERR"), "{}", show(&refused));
}

#[test]
fn subscriber_follows_its_channel_to_another_server() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers));
    let mut subscriber = proxy.client();
    subscriber.ask("SUBSCRIBE news");
    let mut publisher = proxy.client();
    for count in [1, 2, 1, 2] {
        proxy.reload(&cache(&servers[..count]));
        eventually("the channel is subscribed to", || {
            (publisher.ask("PUBLISH news hello") == b":1\r\n").then_some(())
        });
        subscriber.expect(
            "message",
            b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n",
        );
    }
}

#[test]
fn blocked_client_waits_on_where_its_key_moves() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers));
    let mut client = proxy.client();
    let key = key_at(&servers[1], &mut client);
    client.converse(&[(&format!("DEL {key}"), ":1\r\n")]);
    let waits = [
        (format!("BLPOP {key} 0"), format!("RPUSH {key} x")),
        (format!("BLMPOP 60 1 {key} LEFT"), format!("RPUSH {key} x")),
        (format!("BZPOPMIN {key} 60"), format!("ZADD {key} 1 x")),
        (
            format!("XREAD BLOCK 60000 STREAMS {key} 0"),
            format!("XADD {key} 1-1 f x"),
        ),
    ];
    for (wait, add) in waits {
        let mut blocked = proxy.client();
        blocked.send(&words(&wait));
        await_blocked(&servers[1], 1);
        proxy.reload(&cache(&servers[..1]));
        await_blocked(&servers[0], 1);
        await_blocked(&servers[1], 0);
        client.ask(&add);
        let reply = show(&blocked.reply());
        assert!(reply.contains('x'), "{wait}: {reply}");
        client.converse(&[(
            &format!("DEL {key}"),
            if wait.starts_with('X') {
                ":1\r\n"
            } else {
                ":0\r\n"
            },
        )]);
        proxy.reload(&cache(&servers));
    }
}

#[test]
fn blocked_client_keeps_its_time_limit_when_its_key_moves() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers));
    let mut client = proxy.client();
    let key = key_at(&servers[1], &mut client);
    client.converse(&[(&format!("DEL {key}"), ":1\r\n")]);
    let mut blocked = proxy.client();
    blocked.send(&words(&format!("BLPOP {key} 1")));
    await_blocked(&servers[1], 1);
    proxy.reload(&cache(&servers[..1]));
    blocked.expect("BLPOP", b"*-1\r\n");
    // What `$` means at one server is not known at another.
    let mut reader = proxy.client();
    reader.send(&words("XREAD BLOCK 0 STREAMS s $"));
    await_blocked(&servers[0], 1);
    proxy.reload(&cache(&servers[1..]));
    reader.expect(
        "XREAD",
        b"-UNBLOCKED another server stores the keys by now\r\n",
    );
}

/// Waits until a server has so many blocked clients.
fn await_blocked(server: &RedisServer, count: usize) {
    eventually("clients are blocked", || {
        let info = show(&server.ask("INFO clients"));
        info.contains(&format!("blocked_clients:{count}\\r"))
            .then_some(())
    });
}

#[test]
fn counts_of_a_server_survive_reloads() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers[..1]));
    let mut client = proxy.client();
    for _ in 0..10 {
        client.converse(&[("SET k 1", OK)]);
    }
    proxy.reload(&Pool::of(&servers[1..]));
    client.converse(&[("SET k 1", OK)]);
    assert_eq!(proxy.stat(&["s0", "requests"]), 11);
    eventually("the old connection is closed", || {
        (proxy.stat(&["s0", "server_connections"]) == 1).then_some(())
    });
}

#[test]
fn hung_server_that_leaves_keeps_no_client_waiting() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&cache(&servers));
    let mut client = proxy.client();
    let key = key_at(&servers[1], &mut client);
    client.converse(&[(&format!("DEL {key}"), ":1\r\n")]);
    let [mut blocked, mut watcher, mut subscriber] = [0; 3].map(|_| proxy.client());
    blocked.send(&words(&format!("BLPOP {key} 0")));
    await_blocked(&servers[1], 1);
    servers[1].stop();
    watcher.send(&words(&format!("WATCH {key}")));
    subscriber.send(&words(&format!("SUBSCRIBE {key}")));
    proxy.reload(&cache(&servers[..1]));
    let confirmed = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{key}\r\n:1\r\n", key.len());
    subscriber.expect("SUBSCRIBE", confirmed.as_bytes());
    for waiting in [&mut blocked, &mut watcher] {
        let reply = show(&waiting.reply());
        assert!(reply.starts_with('-'), "{reply}");
    }
    servers[1].cont();
}
