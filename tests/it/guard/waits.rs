//! What waits for a connection, or is left by a client that is gone, when there is news of a move.

use super::coordinator::Move;
use super::{OK, waits};
use crate::support::{Client, Kind, Launch, Proxy, RedisServer, eventually, show, words};

fn one_worker(pool: &crate::support::Pool) -> Proxy {
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}

/// Connections to a server that its system has accepted.
fn connections_to(server: &RedisServer) -> usize {
    let address = server.address();
    let std::net::IpAddr::V4(ip) = address.ip() else {
        panic!("{address}");
    };
    let number = u32::from_ne_bytes(ip.octets());
    let remote = format!("{number:08X}:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_one = |line: &&str| {
        let mut words = line.split_whitespace().skip(2);
        words.next() == Some(remote.as_str()) && words.next() == Some("01")
    };
    table.lines().filter(is_one).count()
}

fn blocked(servers: &[RedisServer], server: usize, request: &str, proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(&words(request));
    eventually("the client is blocked", || {
        let info = show(&servers[server].ask("INFO clients"));
        info.contains("blocked_clients:1").then_some(())
    });
    client
}

#[test]
fn requests_that_wait_for_a_connection_outlive_news() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    let proxy = one_worker(&mv.pool_before());
    let key = mv.staying_key("k");
    let moved = mv.moving_key("m").1;
    proxy.client().converse(&[(&format!("SET {key} 0"), OK)]);
    mv.arm();
    // Each news of a move opens what is not open.
    mv.await_adoption(1);
    mv.end_guarded(0);
    servers[0].stop();
    let before = connections_to(&servers[0]);
    let requests = [
        vec![format!("INCR {key}")],
        vec![format!("MGET {key} {moved}")],
        vec![
            format!("WATCH {key}"),
            format!("INCR {key}"),
            "MULTI".to_owned(),
            format!("SET {key} 2"),
            "EXEC".to_owned(),
        ],
        vec!["WAIT 0 1".to_owned(), "WAIT 1 1".to_owned()],
        vec![format!("BLPOP {} 0.01", mv.staying_key("l"))],
    ];
    let mut clients: Vec<_> = requests
        .iter()
        .map(|requests| {
            let mut client = proxy.client();
            for request in requests {
                client.send(&words(request));
            }
            client
        })
        .collect();
    eventually("connections are opened", || {
        (connections_to(&servers[0]) > before + 1).then_some(())
    });
    mv.raise_term_at(1);
    mv.await_adoption(1);
    for client in &mut clients[..3] {
        assert!(waits(client));
    }
    servers[0].cont();
    for (requests, mut client) in requests.iter().zip(clients) {
        for request in requests {
            let reply = show(&client.reply());
            assert!(!reply.starts_with('-'), "{request}: {reply}");
        }
    }
}

#[test]
fn exec_with_a_select_goes_where_its_keys_are() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    let proxy = one_worker(&mv.pool_before().with("databases", 2));
    let (source, key) = mv.moving_key("k");
    let mut client = proxy.client();
    client.converse(&[
        ("MULTI", OK),
        ("SELECT 1", "+QUEUED\r\n"),
        (&format!("SET {key} v"), "+QUEUED\r\n"),
    ]);
    mv.arm();
    mv.await_adoption(source);
    servers[source].stop();
    let before = connections_to(&servers[source]);
    client.send(&words("EXEC"));
    eventually("it waits for a connection", || {
        (connections_to(&servers[source]) > before).then_some(())
    });
    mv.copy_moved(mv.destination(&key), source);
    assert_eq!(show(&client.reply()), show(b"*2\r\n+OK\r\n+OK\r\n"));
    let mut direct = servers[mv.destination(&key)].client();
    direct.converse(&[("SELECT 1", OK), (&format!("GET {key}"), "$1\r\nv\r\n")]);
    servers[source].cont();
}

#[test]
fn client_that_is_gone_does_not_wait_for_a_coordinator() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    let proxy = one_worker(&mv.pool_before());
    let (source, key) = mv.moving_key("q");
    let mut client = blocked(&servers, source, &format!("BLPOP {key} 0"), &proxy);
    mv.arm();
    mv.await_adoption(source);
    mv.forget(source);
    eventually("the source is in doubt", || {
        let info = mv.at_source(source, "INFO clients");
        info.contains("blocked_clients:0").then_some(())
    });
    assert!(waits(&mut client));
    assert_eq!(proxy.stat(&["client_connections"]), 1);
    drop(client);
    eventually("its session ends", || {
        (proxy.stat(&["client_connections"]) == 0).then_some(())
    });
}

#[test]
fn element_of_a_client_that_is_gone_follows_its_key() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    let proxy = one_worker(&mv.pool_before());
    let (source, key) = mv.moving_key("q");
    let to = mv.destination(&key);
    mv.arm();
    mv.await_adoption(source);
    let client = blocked(&servers, source, &format!("BLPOP {key} 0"), &proxy);
    let mut pushing = servers[source].client();
    pushing.converse(&[("PING", "+PONG\r\n")]);
    servers[source].stop();
    // The server pops it for the client before it is told to unblock it.
    pushing.send(&words(&format!("RPUSH {key} x")));
    drop(client);
    eventually("the proxy knows that the client is gone", || {
        (proxy.stat(&["s0", "in_queue"]) + proxy.stat(&["s0", "out_queue"]) > 1).then_some(())
    });
    mv.copy_moved(to, source);
    mv.end_guarded(to);
    servers[to].stop();
    let before = connections_to(&servers[to]);
    servers[source].cont();
    assert_eq!(pushing.reply(), b":1\r\n");
    eventually("the element waits for a connection", || {
        (connections_to(&servers[to]) > before).then_some(())
    });
    mv.raise_term_at(source);
    mv.await_adoption(source);
    servers[to].cont();
    eventually("the element is restored", || {
        let len = mv.at_destination(&key, &format!("LLEN {key}"));
        (len == ":1\r\n").then_some(())
    });
    assert_eq!(mv.at_source(source, &format!("EXISTS {key}")), ":0\r\n");
}
