//! The system calls of requests, as strace counts them on the worker's thread.
//!
//! They are most of the cost of a request, and no clock is needed to count them.

use crate::support::{Memcached, Pool, Proxy, RedisServer, words};

use super::strace::{calls_during, proxy};

const ROUNDS: usize = 100;
const DEPTH: usize = 100;
const SERVERS: usize = 4;

/// Requests that memcached reads from one connection before it writes its replies and turns to the next (`-R`).
const MEMCACHED_TURN: usize = 20;

/// Calls in [`ROUNDS`] that are not due to requests: a timer, strace itself.
const STRAY: usize = ROUNDS / 10;

/// Requests that are sent together, and their replies.
struct Exchange {
    requests: Vec<u8>,
    replies: Vec<u8>,
}

/// The calls that one exchange may make.
#[derive(Debug, Clone, Copy)]
struct Price {
    reads: usize,
    writes: usize,
    waits: usize,
}

/// Reads from the client, writes to the server; reads from the server, writes to the client; waits for both. With
/// several clients, it polls once more without waiting, for requests that share the same write.
const ALONE: Price = Price {
    reads: 2,
    writes: 2,
    waits: 2,
};

/// One more read and write for each further server. If the servers answer one by one, each has its wait.
const SPLIT: Price = Price {
    reads: 1 + SERVERS,
    writes: 1 + SERVERS,
    waits: 1 + SERVERS,
};

#[test]
fn redis_request_costs_two_reads_writes_and_waits() {
    let server = RedisServer::start();
    let get = Exchange {
        requests: words("GET key"),
        replies: b"$-1\r\n".to_vec(),
    };
    assert_exact(&proxy(Pool::of([&server])), &get, ALONE);
}

#[test]
fn memcached_request_costs_two_reads_writes_and_waits() {
    let server = Memcached::start();
    for (request, reply) in [
        ("get key\r\n", "END\r\n"),
        ("set key 0 0 5\r\nhello\r\n", "STORED\r\n"),
        ("mg key v\r\n", "VA 5\r\nhello\r\n"),
    ] {
        let exchange = Exchange {
            requests: request.into(),
            replies: reply.into(),
        };
        // One for each: a recently closed client still counts as another.
        assert_exact(&proxy(Pool::memcached([&server])), &exchange, ALONE);
    }
}

#[test]
fn redis_pipeline_costs_as_many_calls_as_one_request() {
    let server = RedisServer::start();
    let gets = Exchange {
        requests: words("GET key").repeat(DEPTH),
        replies: b"$-1\r\n".repeat(DEPTH),
    };
    assert_exact(&proxy(Pool::of([&server])), &gets, ALONE);
}

#[test]
fn memcached_pipeline_calls_follow_server_writes() {
    let server = Memcached::start();
    let proxy = || proxy(Pool::memcached([&server]));
    // memcached begins a new turn with the requests that it finds, so there may be one more turn.
    let turns = DEPTH / MEMCACHED_TURN + 1;
    let gets = Exchange {
        requests: b"get key\r\n".repeat(DEPTH),
        replies: b"END\r\n".repeat(DEPTH),
    };
    let most = Price {
        reads: 1 + turns,
        writes: 1 + turns,
        waits: 1 + turns,
    };
    assert_within(&proxy(), &gets, most);
    // Servers reply to silent writes too; the client gets a write for the last one alone.
    let mut requests = b"set key 0 0 1 noreply\r\n1\r\n".repeat(DEPTH - 1);
    requests.extend(b"set key 0 0 1\r\n1\r\n");
    let sets = Exchange {
        requests,
        replies: b"STORED\r\n".to_vec(),
    };
    let most = Price { writes: 2, ..most };
    assert_within(&proxy(), &sets, most);
}

#[test]
fn redis_split_request_costs_one_read_and_write_per_server() {
    let servers: [RedisServer; SERVERS] = RedisServer::several();
    let mget = Exchange {
        requests: words(&format!("MGET {}", keys())),
        replies: [b"*100\r\n".to_vec(), b"$-1\r\n".repeat(DEPTH)].concat(),
    };
    assert_within(&proxy(Pool::of(&servers)), &mget, SPLIT);
}

#[test]
fn memcached_split_costs_one_read_and_write_per_server() {
    let servers: [Memcached; SERVERS] = Memcached::several();
    let get = Exchange {
        requests: format!("get {}\r\n", keys()).into(),
        replies: b"END\r\n".to_vec(),
    };
    assert_within(&proxy(Pool::memcached(&servers)), &get, SPLIT);
}

/// A hundred keys, some on every server.
fn keys() -> String {
    let keys: Vec<_> = (0..DEPTH).map(|n| format!("key-{n}")).collect();
    keys.join(" ")
}

fn assert_exact(proxy: &Proxy, exchange: &Exchange, price: Price) {
    let paid = paid(proxy, exchange);
    let what = exchange.requests.get(..30).unwrap_or(&exchange.requests);
    assert_eq!(
        (paid.reads, paid.writes),
        (price.reads * ROUNDS, price.writes * ROUNDS),
        "{paid:?} for {ROUNDS} of {}",
        what.escape_ascii()
    );
    assert_waits(paid, price);
}

fn assert_within(proxy: &Proxy, exchange: &Exchange, price: Price) {
    let paid = paid(proxy, exchange);
    assert!(
        paid.reads <= price.reads * ROUNDS && paid.writes <= price.writes * ROUNDS,
        "{paid:?} for {ROUNDS}, each at most {price:?}"
    );
    assert_waits(paid, price);
}

fn assert_waits(paid: Price, price: Price) {
    assert!(
        paid.waits <= price.waits * ROUNDS + STRAY,
        "{paid:?} for {ROUNDS}, each at most {price:?}"
    );
}

/// The calls of all rounds together. Any other call than these three kinds is a failure.
fn paid(proxy: &Proxy, exchange: &Exchange) -> Price {
    let mut client = proxy.client();
    let mut round = || {
        client.send(&exchange.requests);
        client.expect("a round", &exchange.replies);
    };
    // Connects to the servers; and a client has little in flight before its first reply.
    round();
    round();
    let calls = calls_during(proxy, || (0..ROUNDS).for_each(|_| round()));
    // The other threads write to no socket.
    let worker = calls.iter().find(|call| call.name == "sendto").unwrap();
    let (mut reads, mut writes, mut waits) = (0, 0, 0);
    let mut others = Vec::new();
    for call in calls.iter().filter(|call| call.thread == worker.thread) {
        match &*call.name {
            _ if call.is_read() => reads += 1,
            _ if call.is_write() => writes += 1,
            "epoll_wait" => waits += 1,
            _ => others.push(call),
        }
    }
    assert!(others.len() <= STRAY, "{others:#?}");
    Price {
        reads,
        writes,
        waits,
    }
}
