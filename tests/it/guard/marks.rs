//! Marks are not the clients' keys, and a transaction about all keys is not executed while some are being moved.

use std::collections::BTreeMap;

use ringroad::topology::{BucketSet, Decision, State};

use super::coordinator::{self, Move};
use super::{OK, waits};
use crate::support::{Proxy, RedisServer, array_items, eventually, show, words};

const MARK: &str = "ringroad:mark:other:0";

/// Requests that name the mark in every place where a key may be.
const REQUESTS: [&str; 26] = [
    "GET {}",
    "SET {} v",
    "DEL {}",
    "DEL k {}",
    "UNLINK {}",
    "MSET k v {} v",
    "MGET k {}",
    "HSET {} term 9",
    "EXPIRE {} 1",
    "PERSIST {}",
    "OBJECT ENCODING {}",
    "MEMORY USAGE {}",
    "RENAME k {}",
    "RENAME {} k",
    "COPY k {} REPLACE",
    "MOVE {} 1",
    "RESTORE {} 0 x REPLACE",
    "SORT list STORE {}",
    "ZRANGESTORE {} z 0 -1",
    "GEORADIUS g 1 1 1 km STORE {}",
    "SUNIONSTORE {} set",
    "LMOVE list {} LEFT LEFT",
    "EVAL return{} 1 {}",
    "XREAD STREAMS {} 0",
    "BITOP NOT {} k",
    "PFMERGE {} k",
];

fn request(text: &str) -> String {
    text.replace("return{}", "return").replace("{}", MARK)
}

#[test]
fn clients_cannot_name_a_mark() {
    let servers: [_; 1] = RedisServer::several();
    let proxy = Proxy::ringroad(&coordinator::pool(&servers).with("databases", 2));
    let mut direct = servers[0].client();
    direct.converse(&[
        (&format!("HSET {MARK} term 1"), ":1\r\n"),
        ("SET k v", OK),
        ("RPUSH list a", ":1\r\n"),
    ]);
    let mut client = proxy.client();
    let others = [
        "BLPOP {} 0",
        "BLMOVE list {} LEFT LEFT 0",
        "XREAD BLOCK 0 STREAMS {} $",
        "WATCH {}",
        "PUBLISH {}:acks x",
    ];
    for text in REQUESTS.iter().chain(&others) {
        let reply = show(&client.ask(&request(text)));
        assert!(
            reply.starts_with("-ERR keys that begin with"),
            "{text}: {reply}"
        );
    }
    for text in REQUESTS {
        client.converse(&[("MULTI", OK), ("SET k w", "+QUEUED\r\n")]);
        let reply = show(&client.ask(&request(text)));
        assert!(
            reply.starts_with("-ERR keys that begin with"),
            "{text}: {reply}"
        );
        let reply = show(&client.ask("EXEC"));
        assert!(reply.starts_with("-EXECABORT "), "{text}: {reply}");
    }
    client.converse(&[("SELECT 1", OK)]);
    let reply = show(&client.ask(&format!("SET {MARK} v")));
    assert!(reply.starts_with("-ERR keys that begin with"), "{reply}");
    direct.converse(&[
        (
            &format!("HGETALL {MARK}"),
            "*2\r\n$4\r\nterm\r\n$1\r\n1\r\n",
        ),
        (&format!("TTL {MARK}"), ":-1\r\n"),
        ("GET k", "$1\r\nv\r\n"),
        ("LLEN list", ":1\r\n"),
        ("DBSIZE", ":3\r\n"),
    ]);
}

#[test]
fn mark_cannot_be_named_in_a_move() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    mv.arm();
    mv.await_adoption(0);
    let mut client = proxy.client();
    let key = mv.staying_key("k");
    client.converse(&[("MULTI", OK), (&format!("SET {key} v"), "+QUEUED\r\n")]);
    for request in ["DEL ringroad:mark:p:0", "FLUSHALL"] {
        assert!(show(&client.ask(request)).starts_with("-ERR "));
    }
    assert!(show(&client.ask("EXEC")).starts_with("-EXECABORT "));
    client.converse(&[(&format!("GET {key}"), "$-1\r\n")]);
    assert_eq!(mv.at_source(0, "EXISTS ringroad:mark:p:0"), ":1\r\n");
}

#[test]
fn queued_request_about_all_keys_is_not_executed_in_a_move() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    // It refuses none before it has a guard.
    let proxy = Proxy::ringroad(&mv.pool_before().without("placement_guard"));
    let (source, key) = mv.moving_key("k");
    proxy.client().converse(&[(&format!("SET {key} v"), OK)]);
    let commands = ["FLUSHALL", "FLUSHDB", "KEYS *", "DBSIZE", "SCAN 0"];
    let queue = |command: &str| {
        let mut client = proxy.client();
        client.converse(&[
            ("MULTI", OK),
            ("PING", "+QUEUED\r\n"),
            (command, "+QUEUED\r\n"),
        ]);
        client
    };
    let queued = commands.map(|command| (command, queue(command)));
    let mut later = queue("FLUSHALL");
    proxy.reload(&mv.pool_before());
    mv.arm();
    let hold = mv.hold(source, &BucketSet::ALL);
    mv.acks(source, hold, 1);
    for (command, mut client) in queued {
        let reply = show(&client.ask("EXEC"));
        let name = command.split(' ').next().unwrap();
        let cause = format!("-EXECABORT Transaction discarded because of: {name} is refused");
        assert!(reply.starts_with(&cause), "{reply}");
        client.converse(&[("PING", "+PONG\r\n")]);
    }
    mv.copy(source, &key);
    mv.decide(source, hold, Decision::Commit);
    proxy
        .client()
        .converse(&[(&format!("GET {key}"), "$1\r\nv\r\n")]);
    mv.finish(State::Done);
    // The request for all keys would reach one of two servers.
    let reply = show(&later.ask("EXEC"));
    assert!(reply.starts_with("-EXECABORT "), "{reply}");
    assert_eq!(
        mv.at_destination(&key, &format!("GET {key}")),
        "$1\r\nv\r\n"
    );
}

#[test]
fn exec_that_waits_for_too_long_ends_its_transaction() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let (source, key) = mv.moving_key("k");
    let mut client = proxy.client();
    client.converse(&[("MULTI", OK), (&format!("SET {key} v"), "+QUEUED\r\n")]);
    mv.arm();
    mv.await_adoption(source);
    mv.forget(source);
    eventually("keys that move wait", || {
        let mut client = proxy.client();
        client.send(&words(&format!("GET {key}")));
        waits(&mut client).then_some(())
    });
    client.send(&words("EXEC"));
    let reply = show(&client.reply());
    assert!(reply.starts_with("-TRYAGAIN "), "{reply}");
    client.converse(&[("PING", "+PONG\r\n")]);
    assert_eq!(mv.at_source(source, &format!("EXISTS {key}")), ":0\r\n");
}

#[test]
fn flushed_servers_get_their_marks_again() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    mv.arm();
    for source in 0..2 {
        let hold = mv.hold(source, &BucketSet::ALL);
        mv.acks(source, hold, 1);
        mv.decide(source, hold, Decision::Commit);
    }
    mv.finish(State::Done);
    let mark = |server: usize| {
        let fields = array_items(&servers[server].ask("HGETALL ringroad:mark:p:0"));
        let pairs = fields.chunks_exact(2);
        let lasting = ["move", "state", "term", "before", "after", "hold", "run"];
        pairs
            .map(|pair| (show(&pair[0]), show(&pair[1])))
            .filter(|(name, _)| lasting.contains(&name.as_str()))
            .collect::<BTreeMap<_, _>>()
    };
    let before = [0, 1, 2].map(mark);
    eventually("the proxy knows of the end", || {
        (proxy.ask("FLUSHALL") == OK.as_bytes()).then_some(())
    });
    for (server, before) in before.iter().enumerate() {
        assert_eq!(before.len(), 7);
        eventually("the mark is there again", || {
            (mark(server) == *before).then_some(())
        });
    }
    let proxy = Proxy::ringroad(&mv.pool_before());
    for number in 0..50 {
        let key = format!("n{number}");
        proxy.client().converse(&[(&format!("SET {key} v"), OK)]);
        let found = mv.at_owner_after(&key, &format!("GET {key}"));
        assert_eq!(found, "$1\r\nv\r\n");
    }
}
