//! Clients that half-close their connection and still read. This ends a blocked command, as in Redis, but not one that
//! is answered at once, and the requests behind that are executed.

use super::{await_blocked, leases, send};
use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show, words};

/// Requests of a client that half-closes after the last. Each is sent to a Redis, and to the proxy of another.
const PIPELINES: &[&[&str]] = &[
    &["RPUSH l a", "BLPOP l 1", "SET flag 1"],
    &["RPUSH l a", "BLPOP l 1"],
    &["RPUSH l a", "BLPOP l 0", "BLPOP l 0", "SET flag 1"],
    &["RPUSH l a", "BLPOP none l 0", "BLPOP none 0", "SET flag 1"],
    &["GET x", "BLPOP none 0", "SET flag 1"],
    &["SET l x", "BLPOP l 0", "SET flag 1"],
    &["BLPOP l x", "SET flag 1"],
    &["RPUSH l a b", "BLMPOP 0 1 l LEFT COUNT 2", "SET flag 1"],
    &[
        "RPUSH l a",
        "BLMOVE l other LEFT LEFT 0",
        "BRPOPLPUSH none other 0",
        "SET flag 1",
    ],
    &["ZADD z 1.5 a", "BZPOPMIN z 0", "BZPOPMAX z 0", "SET flag 1"],
    &[
        "XADD s 1-1 f v",
        "XREAD BLOCK 0 STREAMS s 0",
        "XREAD BLOCK 0 STREAMS s $",
        "SET flag 1",
    ],
    &[
        "HELLO 3",
        "ZADD z 1.5 a",
        "BZPOPMIN z 0",
        "BZPOPMAX z 0",
        "SET flag 1",
    ],
    &[
        "RPUSH l a",
        "WATCH l",
        "BLPOP l 0",
        "MULTI",
        "SET flag 1",
        "EXEC",
        "SET end 1",
    ],
    &[
        "RPUSH l a",
        "MULTI",
        "BLPOP l 0",
        "BLPOP l 0",
        "EXEC",
        "SET flag 1",
    ],
    &[
        "SELECT 3",
        "RPUSH l a",
        "BLPOP l 0",
        "SELECT 0",
        "SET flag 1",
    ],
    &["SET k v", "WAIT 0 0", "SET flag 1"],
    &["WAIT x 0", "SET flag 1"],
    &["RPUSH l a", "BLPOP l 0", "WAIT 0 0", "SET flag 1"],
];

#[test]
fn half_closed_pipeline_runs_as_far_as_in_redis() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut random = fastrand::Rng::with_seed(7);
    for (round, most_bytes) in [1 << 20, 1 << 20, 30, 5].into_iter().enumerate() {
        for pipeline in PIPELINES {
            let batch: Vec<u8> = pipeline.iter().flat_map(|request| words(request)).collect();
            let mut replies_of = |mut client: Client, server: &RedisServer| {
                server.ask("FLUSHALL");
                client.send_in_pieces(&batch, most_bytes, &mut random);
                client.half_close();
                let replies = client.read_to_close();
                // A client whose connection the proxy has closed may still be unblocked.
                await_blocked(server, 0);
                let found = [
                    "GET flag",
                    "GET end",
                    "LRANGE l 0 -1",
                    "LRANGE other 0 -1",
                    "ZCARD z",
                ];
                (
                    without_id(&replies),
                    found.map(|request| show(&server.ask(request))),
                )
            };
            let expected = replies_of(original.client(), &original);
            let found = replies_of(proxy.client(), &server);
            assert_eq!(expected, found, "round {round}: {pipeline:?}");
        }
    }
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
}

/// The replies, without the client ID in that of `HELLO`.
fn without_id(replies: &[u8]) -> String {
    let shown = show(replies);
    match shown.split_once("id\\r\\n:") {
        Some((before, after)) => {
            let (_, rest) = after.split_once("\\r\\n").unwrap();
            format!("{before}{rest}")
        }
        None => shown,
    }
}

#[test]
fn blocking_command_refused_by_the_server_does_not_block() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for of in [&original, &server] {
        of.ask("CONFIG SET maxmemory 1");
    }
    for request in ["BLMOVE l other LEFT LEFT 0", "BRPOPLPUSH l other 0"] {
        let replies_of = |mut client: Client| {
            send(&mut client, &[request, "ECHO behind"]);
            client.half_close();
            show(&client.read_to_close())
        };
        let expected = replies_of(original.client());
        assert!(expected.contains("OOM"), "{expected}");
        for _ in 0..20 {
            assert_eq!(replies_of(proxy.client()), expected, "{request}");
        }
    }
}

#[test]
fn half_close_after_the_reply_continues_the_pipeline() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    send(&mut client, &["BLPOP l 0", "SET flag 1"]);
    await_blocked(&server, 1);
    server.client().converse(&[("RPUSH l a", ":1\r\n")]);
    client.expect("BLPOP", b"*2\r\n$1\r\nl\r\n$1\r\na\r\n");
    client.half_close();
    client.expect("SET", b"+OK\r\n");
    client.expect_close();
}

#[test]
fn half_close_ends_a_blocked_client_without_a_pop() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    send(&mut client, &["SET k v", "BLPOP l 0", "SET flag 1"]);
    await_blocked(&server, 1);
    client.half_close();
    client.expect("SET", b"+OK\r\n");
    client.expect_close();
    server.client().converse(&[
        ("RPUSH l a", ":1\r\n"),
        ("LLEN l", ":1\r\n"),
        ("EXISTS flag", ":0\r\n"),
    ]);
}

#[test]
fn input_behind_a_blocking_command_is_not_parsed() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for nonsense in ["*2x\r\n", "\"unbalanced\r\n"] {
        let (mut client, mut other) = (proxy.client(), proxy.client());
        for waiting in [&mut client, &mut other] {
            waiting.send(&[&words("BLPOP l 0")[..], nonsense.as_bytes()].concat());
        }
        await_blocked(&server, 2);
        // This disconnect is detected although its next bytes are invalid.
        drop(client);
        await_blocked(&server, 1);
        server.client().converse(&[("RPUSH l a", ":1\r\n")]);
        other.expect("BLPOP", b"*2\r\n$1\r\nl\r\n$1\r\na\r\n");
        assert!(other.reply().starts_with(b"-ERR Protocol error: "));
        other.expect_close();
    }
}
