//! Each socket is written to once per turn, however many requests the turn has, as strace shows.

use crate::support::{Pool, Proxy, RedisServer, show, words};

use super::strace::{calls_during, proxy};

const NIL: &[u8] = b"$-1\r\n";

/// System calls that carry requests to servers, and replies to the client.
#[derive(Debug, PartialEq, Eq)]
struct Writes {
    to_servers: usize,
    to_client: usize,
}

#[test]
fn pipeline_costs_one_write_per_server() {
    const SERVERS: usize = 4;
    const DEPTH: usize = 100;
    const ROUNDS: usize = 20;
    let servers: [RedisServer; SERVERS] = RedisServer::several();
    let proxy = proxy(Pool::of(&servers));
    let keys: Vec<_> = (0..DEPTH).map(|n| format!("GET key-{n}")).collect();
    let pipeline: Vec<u8> = keys.iter().flat_map(|get| words(get)).collect();
    let writes = writes_of(&proxy, ROUNDS, &pipeline, DEPTH);
    // A pipeline arrives in one read, is scanned in one turn, and so each server needs one write.
    assert_eq!(writes.to_servers, ROUNDS * SERVERS, "{writes:?}");
    // Each server answers its share in one write. If each arrived in a separate turn, the client would get as many
    // writes; those that arrive together are written together.
    assert!(
        (ROUNDS..=ROUNDS * SERVERS).contains(&writes.to_client),
        "{writes:?} for {ROUNDS} pipelines of {DEPTH} requests"
    );
}

#[test]
fn single_request_costs_two_writes() {
    const ROUNDS: usize = 100;
    let server = RedisServer::start();
    let proxy = proxy(Pool::of([&server]));
    let writes = writes_of(&proxy, ROUNDS, &words("GET key"), 1);
    let expected = Writes {
        to_servers: ROUNDS,
        to_client: ROUNDS,
    };
    assert_eq!(writes, expected);
}

/// Sends this pipeline of GETs `rounds` times, and counts the writes that it takes to answer them.
fn writes_of(proxy: &Proxy, rounds: usize, pipeline: &[u8], depth: usize) -> Writes {
    let mut client = proxy.client();
    let mut round = || {
        client.send(pipeline);
        for _ in 0..depth {
            assert_eq!(show(&client.reply()), show(NIL));
        }
    };
    // Connects to the servers.
    round();
    let calls = calls_during(proxy, || (0..rounds).for_each(|_| round()));
    let writes = || calls.iter().filter(|call| call.is_write());
    let count = |start: &str| writes().filter(|call| call.text.contains(start)).count();
    Writes {
        to_servers: count(r#""*2\r\n$3\r\nGET"#),
        to_client: count(r#""$-1\r\n"#),
    }
}
