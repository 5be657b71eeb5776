//! `WAIT`: the number of replicas that have the client's writes, over whichever connections they were sent.

use std::mem;

use super::{OK, await_blocked, connections, leases, send, two_keys_apart};
use crate::support::{
    Client, FakeServer, Kind, Launch, Pool, Proxy, RedisServer, eventually, show, words,
};

/// A server, and so many replicas that are connected to it.
fn with_replicas(count: usize) -> (RedisServer, Vec<RedisServer>) {
    let master = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let address = master.address();
    let of = format!("{} {}", address.ip(), address.port());
    let replicas: Vec<_> = (0..count)
        .map(|_| RedisServer::start_with(&["--replicaof", &of]))
        .collect();
    eventually("all replicas are online", || {
        let info = String::from_utf8(master.ask("INFO replication")).unwrap();
        (info.matches("state=online").count() == count).then_some(())
    });
    (master, replicas)
}

/// Waits until so many clients are blocked at each server.
fn all_blocked(servers: &[RedisServer], count: usize) {
    for server in servers {
        await_blocked(server, count);
    }
}

#[test]
fn wait_does_not_count_a_hung_replica() {
    let (master, replicas) = with_replicas(1);
    let proxy = Proxy::ringroad(&Pool::of([&master]));
    let (mut client, mut direct) = (proxy.client(), master.client());
    for round in 0..3 {
        client.converse(&[("SET k 1", OK), ("WAIT 1 0", ":1\r\n")]);
        eventually("the replica has acknowledged all", || {
            master.ask("WAIT 1 100");
            let info = String::from_utf8(master.ask("INFO replication")).unwrap();
            let end = info.split("master_repl_offset:").nth(1)?.lines().next()?;
            info.contains(&format!(",offset={end},")).then_some(())
        });
        // A connection with a known replication offset, such as a lease that was used before.
        direct.converse(&[("PING", "+PONG\r\n")]);
        replicas[0].stop();
        client.converse(&[(&format!("SET k {round}"), OK)]);
        // Without the marker the proxy would return the reply of this connection, which wrote nothing.
        direct.converse(&[("WAIT 1 50", ":1\r\n")]);
        client.converse(&[("WAIT 1 50", ":0\r\n")]);
        send(&mut client, &["WAIT 1 0", "GET k"]);
        await_blocked(&master, 1);
        replicas[0].cont();
        client.expect("WAIT", b":1\r\n");
        client.expect("GET", format!("$1\r\n{round}\r\n").as_bytes());
    }
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
    assert_eq!(replicas[0].keys(), [b"k"]);
}

/// It needs no connection of its own, and nothing of the client waits for it.
#[test]
fn wait_for_no_replicas_delays_nothing() {
    let servers: [RedisServer; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let (one, other) = two_keys_apart(&servers, &proxy);
    let mut client = proxy.client();
    client.ask(&format!("SET {one} 1"));
    let (here, there) = if servers[0].keys() == [one.as_bytes()] {
        (one, other)
    } else {
        (other, one)
    };
    client.converse(&[
        (&format!("SET {here} 1"), OK),
        (&format!("SET {there} 1"), OK),
    ]);
    servers[1].stop();
    send(
        &mut client,
        &["WAIT 0 0", &format!("SET {here} 2"), "WAIT 0 5", "PING"],
    );
    eventually("the write behind it is executed", || {
        (servers[0].ask(&format!("GET {here}")) == b"$1\r\n2\r\n").then_some(())
    });
    assert_eq!(leases(&proxy, 0), 0);
    servers[1].cont();
    client.expect("WAIT", b":0\r\n");
    client.expect("SET", OK.as_bytes());
    client.expect("WAIT", b":0\r\n");
    client.expect("PING", b"+PONG\r\n");
}

#[test]
fn wait_across_servers_returns_the_minimum() {
    let (first, two) = with_replicas(2);
    let (second, one) = with_replicas(1);
    let proxy = Proxy::ringroad(&Pool::of([&first, &second]).with("hash", "murmur"));
    let mut client = proxy.client();
    for version in [2, 3] {
        client.ask(&format!("HELLO {version}"));
        for n in 0..20 {
            client.converse(&[(&format!("SET key-{n} 1"), OK)]);
        }
        client.converse(&[("WAIT 1 0", ":1\r\n"), ("WAIT 2 50", ":1\r\n")]);
        two[0].stop();
        for n in 0..20 {
            client.converse(&[(&format!("SET key-{n} 2"), OK)]);
        }
        client.converse(&[("WAIT 1 0", ":1\r\n")]);
        one[0].stop();
        for n in 0..20 {
            client.converse(&[(&format!("SET key-{n} 3"), OK)]);
        }
        client.converse(&[("WAIT 1 50", ":0\r\n")]);
        send(&mut client, &["WAIT 1 0", "PING"]);
        await_blocked(&second, 1);
        one[0].cont();
        client.expect("WAIT", b":1\r\n");
        client.expect("PING", b"+PONG\r\n");
        two[0].cont();
    }
}

#[test]
fn wait_errors_match_redis() {
    let (original, _replica) = with_replicas(1);
    let (master, replicas) = with_replicas(1);
    let one = Proxy::ringroad(&Pool::of([&master]));
    let replica = Proxy::ringroad(&Pool::of([&replicas[0]]));
    let (mut there, mut here) = (original.client(), one.client());
    for request in [
        "WAIT",
        "WAIT 1",
        "WAIT x 0",
        "WAIT 1 x",
        "WAIT 1 -1",
        "WAITAOF 1 1 0",
    ] {
        assert_eq!(
            show(&there.ask(request)),
            show(&here.ask(request)),
            "{request}"
        );
    }
    let expected = replicas[0].ask("WAIT 1 0");
    assert_eq!(show(&replica.ask("WAIT 1 0")), show(&expected));
    let servers: [_; 4] = RedisServer::several();
    let four = Proxy::ringroad(&Pool::of(&servers));
    let mut client = four.client();
    for request in ["WAIT x 0", "WAIT 1 -1", "WAIT 0 0", "WAIT 1 10"] {
        assert_eq!(
            show(&servers[0].ask(request)),
            show(&client.ask(request)),
            "{request}"
        );
    }
}

#[test]
fn disconnect_during_wait_leaks_nothing() {
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    proxy.client().converse(&[("WAIT 0 0", ":0\r\n")]);
    for _ in 0..3 {
        let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
        for client in &mut clients {
            send(client, &["WAIT 1 0", "SET k 1"]);
        }
        all_blocked(&servers, 5);
        drop(clients);
        all_blocked(&servers, 0);
    }
    let in_use = || (0..3).map(|server| leases(&proxy, server)).sum::<i64>();
    eventually("all leases are back", || (in_use() == 0).then_some(()));
    eventually("their connections are closed", || {
        servers
            .iter()
            .all(|server| connections(server) <= 2)
            .then_some(())
    });
    assert_eq!(proxy.ask("EXISTS k"), b":0\r\n");
}

#[test]
fn wait_ends_by_client_unblock_and_on_shutdown() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let (mut client, mut asker) = (proxy.client(), proxy.client());
    let id = String::from_utf8(client.ask("CLIENT ID")).unwrap();
    let unblock = format!("CLIENT UNBLOCK {}", id.trim().trim_start_matches(':'));
    for (how, expected) in [
        ("", ":0\r\n"),
        (
            " ERROR",
            "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
        ),
    ] {
        send(&mut client, &["WAIT 1 0"]);
        all_blocked(&servers, 1);
        asker.converse(&[(&format!("{unblock}{how}"), ":1\r\n")]);
        client.expect("WAIT", expected.as_bytes());
        asker.converse(&[(&unblock, ":0\r\n")]);
    }
    send(&mut client, &["WAIT 1 0"]);
    all_blocked(&servers, 1);
    proxy.terminate();
    client.expect("WAIT", b":0\r\n");
    client.expect_close();
}

#[test]
fn wait_fails_with_a_dead_server() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let (mut client, mut late) = (proxy.client(), proxy.client());
    send(&mut client, &["WAIT 1 0"]);
    all_blocked(&servers, 1);
    servers[1].kill();
    let reply = String::from_utf8(client.reply()).unwrap();
    let expected = "-ERR WAIT needs all servers; server 's1' failed: ";
    assert!(reply.starts_with(expected), "{reply}");
    late.converse(&[(
        "WAIT 1 0",
        "-ERR WAIT needs all servers; server 's1' failed: Connection refused\r\n",
    )]);
    await_blocked(&servers[0], 0);
}

#[test]
fn wait_in_a_transaction_needs_a_single_server() {
    let servers: [_; 2] = RedisServer::several();
    let several = Proxy::ringroad(&Pool::of(&servers));
    let mut client = several.client();
    let [server, _] = &servers;
    let proxy = Proxy::ringroad(&Pool::of([server]));
    proxy.client().converse(&[
        ("MULTI", OK),
        ("WAIT 1 0", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n:0\r\n"),
    ]);
    client.converse(&[("MULTI", OK)]);
    let reply = String::from_utf8(client.ask("WAIT 0 0")).unwrap();
    assert!(
        reply.starts_with("-ERR unsupported command 'WAIT' in a transaction"),
        "{reply}"
    );
    assert!(client.ask("EXEC").starts_with(b"-EXECABORT"));
    let (mut direct, mut client) = (server.client(), proxy.client());
    let script = [&b"EVAL"[..], b"return redis.call('WAIT', 1, 0)", b"1", b"k"];
    let ask = |client: &mut Client| {
        client.send(&crate::support::command(&script));
        show(&client.reply())
    };
    assert_eq!(ask(&mut client), ask(&mut direct));
}

/// Before Redis 7 there is no `SPUBLISH`; a server may also forbid both, and then none of its replies would be true.
#[test]
fn wait_skips_servers_that_refuse_offset_markers() {
    let swap = words("SWAPDB 0 0");
    for (request, refused, answer) in [
        ("WAIT 1 0", 1, ":1\r\n"),
        ("WAIT 1 0", 2, "-NOPERM no\r\n"),
        ("WAITAOF 1 0 0", 0, "*2\r\n:1\r\n:0\r\n"),
        ("WAITAOF 1 0 0", 1, "-NOPERM no\r\n"),
    ] {
        let swap = swap.clone();
        let server = FakeServer::start(move |_, mut peer| {
            assert_eq!(peer.request(), Some(words("CLIENT ID")));
            peer.send(b":7\r\n");
            for n in 0..refused {
                let mark = peer.request().unwrap();
                assert_eq!(mark == swap, n == 1 || request.starts_with("WAITAOF"));
                peer.send(b"-NOPERM no\r\n");
            }
            if !answer.starts_with('-') {
                assert_eq!(peer.request(), Some(swap.clone()));
                peer.send(b"+OK\r\n");
                assert_eq!(peer.request(), Some(words(request)));
                peer.send(answer.as_bytes());
            }
            peer.request();
        });
        let proxy = Proxy::ringroad(&Pool::at([server.address()]));
        proxy.client().converse(&[(request, answer)]);
    }
}

/// The IDs of a server's connections, without that of the test itself.
fn connection_ids(server: &RedisServer) -> Vec<String> {
    let list = String::from_utf8(server.ask("CLIENT LIST")).unwrap();
    list.lines()
        .filter(|line| line.contains("addr=") && !line.contains("cmd=client|list"))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn wait_that_is_denied_closes_no_idle_lease() {
    let servers: [_; 2] = RedisServer::several();
    let pool = Pool::of(&servers)
        .with("hash", "murmur")
        .with("server_leases", 1);
    let launch = Launch {
        args: vec!["--workers=1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let (mut first, mut second) = two_keys_apart(&servers, &proxy);
    let (mut client, mut blocked) = (proxy.client(), proxy.client());
    client.converse(&[(&format!("SET {first} 1"), OK)]);
    let is_swapped = servers[0].keys().is_empty();
    client.converse(&[(&format!("DEL {first}"), ":1\r\n")]);
    if is_swapped {
        mem::swap(&mut first, &mut second);
    }
    let pop = format!("BLPOP {first} 0.01");
    client.converse(&[(&pop, "*-1\r\n"), ("PING", "+PONG\r\n")]);
    let before = connection_ids(&servers[0]);
    send(&mut blocked, &[&format!("BLPOP {second} 0")]);
    await_blocked(&servers[1], 1);
    let denied = client.ask("WAIT 1 0");
    assert!(show(&denied).contains("server_leases"), "{}", show(&denied));
    client.converse(&[(&pop, "*-1\r\n")]);
    assert_eq!(connection_ids(&servers[0]), before);
}
