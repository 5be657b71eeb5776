//! `CLIENT UNBLOCK` behaves as in one Redis, whichever worker serves the blocked client, and on whichever server it
//! blocks.

use super::{OK, leases, send};
use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show};

fn number(client: &mut Client) -> u64 {
    let reply = String::from_utf8(client.ask("CLIENT ID")).unwrap();
    reply.trim().trim_start_matches(':').parse().unwrap()
}

/// Waits until `INFO` of a server, or of the proxy, shows so many blocked clients.
fn await_count(asker: &mut Client, count: usize) {
    let expected = format!("blocked_clients:{count}\r\n");
    eventually("clients wait", || {
        let info = asker.ask("INFO clients");
        String::from_utf8_lossy(&info)
            .contains(&expected)
            .then_some(())
    });
}

#[test]
fn client_unblock_replies_match_redis() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let waits = [
        "BLPOP k 0",
        "BLMOVE k other LEFT LEFT 0",
        "BRPOPLPUSH k other 0",
        "BLMPOP 0 2 k l LEFT",
        "BZPOPMIN z 0",
        "BZMPOP 0 1 z MAX",
        "XREAD BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    ];
    let talk = |server: &RedisServer, proxy: Option<&Proxy>| {
        let connect = || proxy.map_or_else(|| server.client(), Proxy::client);
        server
            .client()
            .converse(&[("XGROUP CREATE s g $ MKSTREAM", OK)]);
        let (mut waiter, mut asker) = (connect(), connect());
        let id = number(&mut waiter);
        let mut found = Vec::new();
        for version in [2, 3] {
            waiter.ask(&format!("HELLO {version}"));
            for wait in waits {
                for how in ["", " TIMEOUT", " error"] {
                    send(&mut waiter, &[wait, "PING"]);
                    // The server may block a moment before the proxy shows it.
                    await_count(&mut asker, 1);
                    let unblocked = asker.ask(&format!("CLIENT UNBLOCK {id}{how}"));
                    let replies = [unblocked, waiter.reply(), waiter.reply()];
                    found.push((format!("{wait}{how}"), replies.map(|reply| show(&reply))));
                    let again = asker.ask(&format!("CLIENT UNBLOCK {id}{how}"));
                    assert_eq!(show(&again), ":0\\r\\n", "{wait}");
                }
            }
        }
        found
    };
    let (expected, found) = (talk(&original, None), talk(&server, Some(&proxy)));
    assert_eq!(found, expected);
    assert_eq!(found[0].1[0], ":1\\r\\n");
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
}

#[test]
fn client_unblock_errors_match_redis() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut there, mut here) = (original.client(), proxy.client());
    for request in [
        "CLIENT UNBLOCK",
        "CLIENT UNBLOCK 1000000",
        "CLIENT UNBLOCK -1",
        "CLIENT UNBLOCK 0 ERROR",
        "CLIENT UNBLOCK x",
        "CLIENT UNBLOCK x SOON",
        "CLIENT UNBLOCK 5 SOON",
        "CLIENT UNBLOCK 5 TIMEOUT ERROR",
        "CLIENT UNBLOCK 99999999999999999999",
    ] {
        assert_eq!(
            show(&there.ask(request)),
            show(&here.ask(request)),
            "{request}"
        );
    }
}

#[test]
fn client_unblock_of_a_running_client_returns_zero() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut idle, mut subscriber, mut asker) = (proxy.client(), proxy.client(), proxy.client());
    let ids = [&mut idle, &mut subscriber, &mut asker].map(number);
    subscriber.ask("SUBSCRIBE channel");
    for id in ids {
        asker.converse(&[(&format!("CLIENT UNBLOCK {id}"), ":0\r\n")]);
    }
    idle.converse(&[("BLPOP k 0.01", "*-1\r\n")]);
    asker.converse(&[(&format!("CLIENT UNBLOCK {}", ids[0]), ":0\r\n")]);
}

#[test]
fn client_unblock_reaches_all_workers_and_servers() {
    const CLIENTS: usize = 24;
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let mut asker = proxy.client();
    for _ in 0..3 {
        let mut waiters: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
        let ids: Vec<_> = waiters.iter_mut().map(number).collect();
        for (n, waiter) in waiters.iter_mut().enumerate() {
            send(waiter, &[&format!("BLPOP queue-{} 0", n % 6)]);
        }
        await_count(&mut asker, CLIENTS);
        for (id, waiter) in ids.iter().zip(&mut waiters) {
            asker.converse(&[(&format!("CLIENT UNBLOCK {id} ERROR"), ":1\r\n")]);
            waiter.expect(
                "BLPOP",
                b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
            );
        }
        for (n, waiter) in waiters.iter_mut().enumerate().take(6) {
            let push = format!("RPUSH queue-{n} a");
            let pop = format!("BLPOP queue-{n} 0");
            let popped = format!("*2\r\n$7\r\nqueue-{n}\r\n$1\r\na\r\n");
            asker.converse(&[(&push, ":1\r\n")]);
            waiter.converse(&[(&pop, &popped)]);
        }
    }
    let in_use = || (0..3).map(|server| leases(&proxy, server)).sum::<i64>();
    eventually("all leases are back", || (in_use() == 0).then_some(()));
}
