//! Clients that disconnect and servers that die while all features are used at once: transactions, watched keys,
//! blocking commands, subscriptions, other databases, RESP3, requests to all servers. Nothing leaks.

use std::fs;
use std::net::SocketAddr;
use std::thread;

use crate::support::{Client, Pool, Proxy, RedisServer, eventually, words};

const CLIENTS_AT_ONCE: u64 = 8;
const LIVES: usize = 30;
/// Clients that open the connections which stay: one for each worker and server.
const CROWD: usize = 32;

/// The requests of clients until they disconnect; each begins at a random one.
const LIFE: &[&str] = &[
    "SET {a}k 1",
    "MULTI",
    "INCR {b}n",
    "LPUSH {b}l x",
    "EXEC",
    "WATCH {c}k",
    "GET {c}k",
    "MULTI",
    "SET {c}k 2",
    "EXEC",
    "BLPOP {d}none 0.01",
    "MGET {a}k {b}k {c}k {d}k",
    "SELECT 3",
    "WATCH {a}k",
    "BZPOPMIN {a}none 0.01",
    "SELECT 0",
    "HELLO 3",
    "SUBSCRIBE one",
    "PSUBSCRIBE t*",
    "SSUBSCRIBE {s}hard",
    "PUBLISH two x",
    "KEYS none*",
    "XREAD BLOCK 10 STREAMS {e}none 0",
    "UNSUBSCRIBE one",
    "CLIENT REPLY SKIP",
    "EVAL return(1) 1 {f}k",
    "SCAN 0",
    "RESET",
    "WATCH {b}k",
    "MULTI",
    "BLPOP {b}none 0",
    "DISCARD",
    "SUBSCRIBE two",
    "PUNSUBSCRIBE",
    "UNSUBSCRIBE",
    "WATCH {d}k",
    "BLMOVE {d}none {d}other LEFT LEFT 0",
];

#[test]
fn disconnects_under_mixed_load_leak_nothing() {
    let servers = RedisServer::several::<4>();
    let proxy = Proxy::ringroad(&pool(&servers));
    gather(&proxy);
    let before = Left::now(&servers, &proxy);
    for round in 0..2 {
        live_and_vanish(proxy.address(), round);
        await_nothing_left(&servers, &proxy, &before);
    }
}

#[test]
fn server_deaths_under_mixed_load_leak_nothing() {
    let mut servers = RedisServer::several::<4>();
    let proxy = Proxy::ringroad(&pool(&servers));
    gather(&proxy);
    let before = Left::now(&servers, &proxy);
    for round in 0..2 {
        let address = proxy.address();
        thread::scope(|scope| {
            let living = scope.spawn(move || live_and_vanish(address, round));
            for server in &mut servers {
                server.kill();
                server.restart();
            }
            living.join().unwrap();
        });
        gather(&proxy);
        await_nothing_left(&servers, &proxy, &before);
    }
}

#[test]
fn disconnect_before_blocking_starts_is_noticed() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for before in ["WATCH k", "GET k", "PING", "SUBSCRIBE c\nUNSUBSCRIBE c"] {
        let life = before.lines().chain(["BLPOP none 0"]).flat_map(words);
        let mut client = proxy.client();
        client.send(&life.collect::<Vec<u8>>());
        drop(client);
    }
    await_nobody(&proxy);
}

/// The resources that may leak.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    /// Connections to each server.
    connections: Vec<usize>,
    /// File descriptors of the proxy.
    descriptors: usize,
}

impl Left {
    fn now(servers: &[RedisServer], proxy: &Proxy) -> Self {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", proxy.process().pid())).unwrap();
        Self {
            connections: servers.iter().map(connections).collect(),
            descriptors: descriptors.count(),
        }
    }
}

fn await_nothing_left(servers: &[RedisServer], proxy: &Proxy, before: &Left) {
    await_nobody(proxy);
    let mut left = before.clone();
    let mut asked = 0;
    eventually("nothing is left behind", || {
        left = Left::now(servers, proxy);
        asked += 1;
        assert!(asked < 6000, "{left:?} of {before:?}");
        (left == *before).then_some(())
    });
    let mut client = proxy.client();
    client.converse(&[
        ("WATCH {a}k", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("PING", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n+PONG\r\n"),
    ]);
    drop(client);
}

/// Makes every worker open each connection that stays.
fn gather(proxy: &Proxy) {
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| proxy.client()).collect();
    for client in &mut crowd {
        eventually("all servers answer", || {
            client.ask("DBSIZE").starts_with(b":").then_some(())
        });
    }
    drop(crowd);
    await_nobody(proxy);
}

fn await_nobody(proxy: &Proxy) {
    eventually("no client is left", || {
        (proxy.stat(&["client_connections"]) == 0).then_some(())
    });
}

fn live_and_vanish(address: SocketAddr, round: u64) {
    thread::scope(|scope| {
        for nth in 0..CLIENTS_AT_ONCE {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(round * CLIENTS_AT_ONCE + nth);
                for _ in 0..LIVES {
                    live(Client::connect(address), &mut random);
                }
            });
        }
    });
}

/// Sends a part of the requests and reads a part of the replies.
fn live(mut client: Client, random: &mut fastrand::Rng) {
    let life: Vec<u8> = LIFE
        .iter()
        .cycle()
        .skip(random.usize(..LIFE.len()))
        .take(LIFE.len())
        .flat_map(|request| words(request))
        .collect();
    client.send(&life[..random.usize(..=life.len())]);
    client.set_patience(std::time::Duration::from_millis(30));
    for _ in 0..random.usize(..20) {
        if client.try_reply().is_err() {
            break;
        }
    }
}

/// The number of connections of a server, without the one of this call.
fn connections(server: &RedisServer) -> usize {
    let list = String::from_utf8(server.ask("CLIENT LIST")).unwrap();
    list.lines()
        .filter(|line| line.contains("addr=") && !line.contains("cmd=client|list"))
        .count()
}

fn pool(servers: &[RedisServer]) -> Pool {
    Pool::of(servers).with("hash_tag", "\"{}\"")
}
