//! Blocking commands behave as in one Redis; an element popped for a client that has disconnected is not lost.

use std::time::Instant;

use rustix::process::Signal;

use super::{OK, QUEUED, await_blocked, given_back, leases, send, two_keys_apart};
use crate::support::{FakeServer, Pool, Proxy, RedisServer, eventually, show, words};

/// Requests that are sent to a Redis, and to the proxy in front of it: none blocks for longer than its own timeout.
const REQUESTS: &[&str] = &[
    "BLPOP k 0.01",
    "BRPOP k 0.01",
    "RPUSH k a b c d e f",
    "BLPOP none k 0",
    "BRPOP k 0",
    "BLMOVE k other LEFT RIGHT 0",
    "BRPOPLPUSH k other 0",
    "BLMPOP 0 2 none k LEFT COUNT 2",
    "BLMPOP 0.01 1 k LEFT",
    "BLMOVE k other LEFT RIGHT 0.01",
    "BRPOPLPUSH k other 0.01",
    "LRANGE other 0 -1",
    "BZPOPMIN z 0.01",
    "ZADD z 1 a 2 b 3 c 4 d",
    "BZPOPMIN none z 0",
    "BZPOPMAX z 0",
    "BZMPOP 0 1 z MIN COUNT 10",
    "BZMPOP 0.01 1 z MAX",
    "XADD s 1-1 f v",
    "XREAD COUNT 1 BLOCK 10 STREAMS s 0",
    "XREAD BLOCK 10 STREAMS s 9",
    "XGROUP CREATE s g 0",
    "XREADGROUP GROUP g c BLOCK 10 STREAMS s >",
    "XREADGROUP GROUP g c BLOCK 10 STREAMS s >",
    "XREADGROUP GROUP nosuch c BLOCK 10 STREAMS s >",
    "BLPOP",
    "BLPOP k",
    "BLPOP k x",
    "BLPOP k -1",
    "BLPOP z 0.01",
    "ZADD z 1 a",
    "BLPOP z 0",
    "BLMPOP 0 0 k LEFT",
    "BLMPOP 0 x k LEFT",
    "BLMPOP 0 1 k",
    "BLMPOP 0 1 k MIDDLE",
    "BLMPOP x 1 k LEFT",
    "BZMPOP 0 5 k MIN",
    "BLMOVE k other UP LEFT 0",
    "XREAD BLOCK x STREAMS s 0",
    "XREAD BLOCK -1 STREAMS s 0",
    "XREAD BLOCK 0 STREAMS s",
    "XREAD BLOCK STREAMS s 0",
    "XREAD BLOCK 0 s 0",
    "MULTI",
    "BLPOP none 0",
    "BLMPOP 0 1 none LEFT",
    "XREAD BLOCK 0 STREAMS s $",
    "EXEC",
    "HELLO 3",
    "BLPOP k 0.01",
    "ZADD z 1.5 a",
    "BZPOPMIN z 0",
    "XREAD BLOCK 10 STREAMS s 0",
    "XREAD BLOCK 10 STREAMS s 9",
];

/// Requests that a server gets for a blocking one.
const WAITING: i64 = 4;

#[test]
fn blocking_commands_answer_as_in_redis() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for round in 0..2 {
        let (mut there, mut here) = (original.client(), proxy.client());
        there.ask("FLUSHALL");
        server.ask("FLUSHALL");
        if round == 1 {
            send(&mut there, REQUESTS);
            send(&mut here, REQUESTS);
        }
        for request in REQUESTS {
            if round == 0 {
                send(&mut there, &[request]);
                send(&mut here, &[request]);
            }
            let (expected, reply) = (there.reply(), here.reply());
            if request.starts_with("HELLO") {
                assert_eq!(expected.first(), reply.first(), "{request}");
            } else {
                assert_eq!(show(&expected), show(&reply), "{request}");
            }
        }
    }
}

#[test]
fn requests_behind_a_blocking_command_wait() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    send(
        &mut client,
        &[
            "SET n 1",
            "BLPOP k 0",
            "INCR n",
            "PING",
            "BLPOP k 0",
            "GET n",
        ],
    );
    await_blocked(&server, 1);
    let mut other = proxy.client();
    other.converse(&[("GET n", "$1\r\n1\r\n"), ("RPUSH k a", ":1\r\n")]);
    client.expect("SET", OK.as_bytes());
    for expected in ["*2\r\n$1\r\nk\r\n$1\r\na\r\n", ":2\r\n", "+PONG\r\n"] {
        client.expect("BLPOP", expected.as_bytes());
    }
    await_blocked(&server, 1);
    other.converse(&[("RPUSH k b", ":1\r\n")]);
    for expected in ["*2\r\n$1\r\nk\r\n$1\r\nb\r\n", "$1\r\n2\r\n"] {
        client.expect("BLPOP", expected.as_bytes());
    }
}

#[test]
fn reply_off_applies_to_blocking_commands() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    send(
        &mut client,
        &[
            "RPUSH k a b",
            "CLIENT REPLY OFF",
            "BLPOP k 0",
            "BLPOP none 0.01",
            "WATCH k",
            "MULTI",
            "LPOP k",
            "EXEC",
            "CLIENT REPLY ON",
            "LLEN k",
        ],
    );
    for expected in [":2\r\n", OK, ":0\r\n"] {
        client.expect("CLIENT REPLY", expected.as_bytes());
    }
}

#[test]
fn pool_timeout_does_not_end_a_blocking_command() {
    let server = RedisServer::start();
    let pool = Pool::of([&server])
        .with("timeout", 500)
        .with("auto_eject_hosts", true);
    let proxy = Proxy::ringroad(&pool.with("server_failure_limit", 1));
    let mut client = proxy.client();
    client.converse(&[("BLPOP k 1.2", "*-1\r\n")]);
    send(&mut client, &["WATCH w", "BLPOP k 1.2", "GET w"]);
    for expected in [OK, "*-1\r\n", "$-1\r\n"] {
        client.expect("BLPOP", expected.as_bytes());
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
}

#[test]
fn each_of_many_blocked_clients_gets_one_element() {
    const CLIENTS: usize = 60;
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        send(client, &[&format!("BLPOP queue-{} 0", n % 6)]);
    }
    let blocked = || leases(&proxy, 0) + leases(&proxy, 1) + leases(&proxy, 2);
    eventually("all wait", || (blocked() == 60).then_some(()));
    let mut pusher = proxy.client();
    for n in 0..CLIENTS {
        pusher.send(&words(&format!("RPUSH queue-{} element", n % 6)));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let expected = format!("*2\r\n$7\r\nqueue-{}\r\n$7\r\nelement\r\n", n % 6);
        client.expect("BLPOP", expected.as_bytes());
    }
    eventually("all leases are back", || (blocked() == 0).then_some(()));
}

#[test]
fn blocked_client_count_is_visible() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    let mut other = proxy.client();
    for (n, client) in clients.iter_mut().enumerate() {
        send(client, &[&format!("BLPOP queue-{n} 0")]);
    }
    let mut await_count = |count: usize| {
        let expected = format!("blocked_clients:{count}\r\n");
        eventually("they wait", || {
            let info = String::from_utf8(other.ask("INFO clients")).unwrap();
            let list = String::from_utf8(other.ask("CLIENT LIST")).unwrap();
            let flagged = list.matches("flags=b").count();
            (info.contains(&expected) && flagged == count).then_some(())
        });
    };
    await_count(6);
    proxy.client().converse(&[("RPUSH queue-0 a", ":1\r\n")]);
    clients[0].reply();
    await_count(5);
    clients.truncate(2);
    await_count(1);
}

#[test]
fn blocking_on_keys_of_two_servers_is_refused() {
    let servers: [_; 4] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let (a, b) = two_keys_apart(&servers, &proxy);
    let reply = proxy.ask(&format!("BLPOP {a} {b} 0"));
    let expected = format!("-ERR keys '{a}' and '{b}' are stored on different servers; ");
    assert!(reply.starts_with(expected.as_bytes()), "{}", show(&reply));
}

#[test]
fn disconnect_while_blocked_loses_no_element() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for request in [
        "BLPOP k 0",
        "BRPOP k 0",
        "BLMPOP 0 1 k LEFT COUNT 2",
        "BLMOVE k other LEFT LEFT 0",
        "XREAD BLOCK 0 STREAMS s $",
        "BZPOPMIN z 0",
    ] {
        let mut client = proxy.client();
        send(&mut client, &[request]);
        await_blocked(&server, 1);
        drop(client);
        await_blocked(&server, 0);
        server.client().converse(&[
            ("RPUSH k a b", ":2\r\n"),
            ("LRANGE k 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            ("DEL k", ":1\r\n"),
        ]);
    }
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
}

/// The server is stopped, an element is pushed, the client disconnects, and only then the server continues: it serves
/// the pop before it detects that the client is gone. If the proxy just closed its connection, the server would drop
/// the reply together with the connection.
#[test]
fn element_popped_for_a_gone_client_is_restored() {
    for (setup, wait, push, read, expected) in [
        (
            "PING",
            "BLPOP k 0",
            "RPUSH k a b c",
            "LRANGE k 0 -1",
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        ),
        (
            "PING",
            "BRPOP k 0",
            "RPUSH k a b c",
            "LRANGE k 0 -1",
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        ),
        (
            "PING",
            "BLMPOP 0 1 k LEFT COUNT 2",
            "RPUSH k a b c",
            "LRANGE k 0 -1",
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        ),
        (
            "PING",
            "BLMPOP 0 2 x k RIGHT COUNT 2",
            "RPUSH k a b c",
            "LRANGE k 0 -1",
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        ),
        (
            "PING",
            "BZPOPMIN k 0",
            "ZADD k 1 a 2 b",
            "ZRANGE k 0 -1 WITHSCORES",
            "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
        ),
        (
            "HELLO 3",
            "BZPOPMAX k 0",
            "ZADD k 1 a 2.5 b",
            "ZRANGE k 0 -1 WITHSCORES",
            "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n",
        ),
        (
            "HELLO 3",
            "BZMPOP 0 1 k MIN COUNT 2",
            "ZADD k 1 a 2 b",
            "ZRANGE k 0 -1 WITHSCORES",
            "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
        ),
        (
            "SELECT 3",
            "BLPOP k 0",
            "RPUSH k a",
            "LRANGE k 0 -1",
            "*1\r\n$1\r\na\r\n",
        ),
    ] {
        let server = RedisServer::start();
        let proxy = Proxy::ringroad(&Pool::of([&server]));
        let (mut client, mut pusher) = (proxy.client(), server.client());
        client.ask(setup);
        if setup.starts_with("SELECT") {
            pusher.ask(setup);
        }
        send(&mut client, &[wait]);
        await_blocked(&server, 1);
        let left = proxy.stat(&["client_eof"]);
        server.stop();
        pusher.send(&words(push));
        drop(client);
        eventually("the proxy has notified the server", || {
            (proxy.stat(&["s0", "requests"]) > WAITING).then_some(())
        });
        server.cont();
        pusher.reply();
        eventually(wait, || {
            (pusher.ask(read) == expected.as_bytes()).then_some(())
        });
        eventually("the client is counted out", || {
            (proxy.stat(&["client_eof"]) == left + 1).then_some(())
        });
        assert_eq!(given_back(&proxy), 1, "{wait}");
        assert_eq!(leases(&proxy, 0), 0);
    }
}

#[test]
fn stream_entries_stay_pending_for_the_group() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut client, mut writer) = (proxy.client(), server.client());
    writer.converse(&[("XGROUP CREATE s g $ MKSTREAM", OK)]);
    send(&mut client, &["XREADGROUP GROUP g one BLOCK 0 STREAMS s >"]);
    await_blocked(&server, 1);
    server.stop();
    writer.send(&words("XADD s 1-1 f v"));
    drop(client);
    eventually("the proxy has notified the server", || {
        (proxy.stat(&["s0", "requests"]) > WAITING).then_some(())
    });
    server.cont();
    writer.reply();
    eventually("the entry waits for an acknowledgement", || {
        writer
            .ask("XPENDING s g")
            .starts_with(b"*4\r\n:1\r\n")
            .then_some(())
    });
    eventually("the lease is back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
    assert_eq!(given_back(&proxy), 0);
}

#[test]
fn server_death_fails_its_blocked_clients() {
    let servers: [_; 1] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let mut client = proxy.client();
    send(&mut client, &["BLPOP k 0", "PING"]);
    await_blocked(&servers[0], 1);
    servers[0].kill();
    let reply = client.reply();
    assert!(reply.starts_with(b"-ERR "), "{}", show(&reply));
    client.expect("PING", b"+PONG\r\n");
    let reply = client.ask("BLPOP k 0");
    assert_eq!(show(&reply), "-ERR Connection refused\\r\\n");
}

#[test]
fn blocked_clients_are_unblocked_on_shutdown() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    server.ask("XGROUP CREATE x g $ MKSTREAM");
    let shutdown = "-UNBLOCKED the proxy is shutting down\r\n";
    let cases = [
        ("BLPOP k 0", shutdown),
        ("BZMPOP 0 1 z MIN", shutdown),
        ("XREAD BLOCK 0 STREAMS x $", shutdown),
        ("BLPOP k 100", "*-1\r\n"),
        ("BLMOVE k l LEFT LEFT 100", "*-1\r\n"),
        ("XREADGROUP GROUP g c BLOCK 100000 STREAMS x >", "*-1\r\n"),
    ];
    let mut clients: Vec<_> = cases.iter().map(|_| proxy.client()).collect();
    for (client, (request, _)) in clients.iter_mut().zip(cases) {
        send(client, &[request]);
    }
    await_blocked(&server, cases.len());
    let begun = Instant::now();
    proxy.process().signal(Signal::TERM);
    for (client, (request, expected)) in clients.iter_mut().zip(cases) {
        client.expect(request, expected.as_bytes());
        client.expect_close();
    }
    drop(clients);
    proxy.process().exit();
    assert!(begun.elapsed().as_secs() < 9, "it waited for its clients");
    server
        .client()
        .converse(&[("RPUSH k a", ":1\r\n"), ("LLEN k", ":1\r\n")]);
}

#[test]
fn blocked_client_follows_its_key_back() {
    let servers: [_; 2] = RedisServer::several();
    let pool = Pool::of(&servers)
        .with("hash", "murmur")
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 3000)
        .with("timeout", 1000);
    let proxy = Proxy::ringroad(&pool);
    let (a, b) = two_keys_apart(&servers, &proxy);
    let mut client = proxy.client();
    let server_of = |key: &str| {
        proxy.ask(&format!("SET {key} 1"));
        let found = servers.iter().position(|server| !server.keys().is_empty());
        proxy.ask(&format!("DEL {key}"));
        found.unwrap()
    };
    let (first, other) = (server_of(&a), server_of(&b));
    assert_ne!(first, other);
    // The server of `a` hangs until it is ejected; then `a` is stored on the other for a while.
    servers[first].stop();
    proxy.ask(&format!("GET {a}"));
    send(&mut client, &[&format!("BLPOP {a} 0")]);
    await_blocked(&servers[other], 1);
    servers[first].cont();
    await_blocked(&servers[first], 1);
    await_blocked(&servers[other], 0);
    proxy.ask(&format!("RPUSH {a} x"));
    client.expect(
        "BLPOP",
        format!("*2\r\n${}\r\n{a}\r\n$1\r\nx\r\n", a.len()).as_bytes(),
    );
}

#[test]
fn server_without_client_id_is_left_by_closing() {
    let server = FakeServer::start(|nth, mut peer| {
        // The shared connection is not used.
        assert_eq!(nth, 0);
        assert_eq!(peer.request(), Some(words("CLIENT ID")));
        peer.send(b"-ERR unknown command\r\n");
        for request in ["MULTI", "BLPOP k 0", "EXEC"] {
            assert_eq!(peer.request(), Some(words(request)));
        }
        peer.send(b"-ERR unknown command\r\n");
        assert_eq!(peer.request(), None);
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let mut client = proxy.client();
    send(&mut client, &["BLPOP k 0"]);
    eventually("it waits", || {
        (proxy.stat(&["s0", "out_queue"]) == 2).then_some(())
    });
    drop(client);
    eventually("the lease is closed", || {
        (leases(&proxy, 0) == 0 && proxy.stat(&["s0", "server_connections"]) == 0).then_some(())
    });
}

#[test]
fn blocking_command_in_a_transaction_does_not_block() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    proxy.client().converse(&[
        ("RPUSH k a", ":1\r\n"),
        ("MULTI", OK),
        ("BLPOP k 0", QUEUED),
        ("BLPOP k 0", QUEUED),
        ("EXEC", "*2\r\n*2\r\n$1\r\nk\r\n$1\r\na\r\n*-1\r\n"),
    ]);
}
