//! Commands about all keys, and key events: a key is seen at its owner, and a mark is never seen.

use std::collections::BTreeMap;

use ringroad::topology::{BucketSet, Decision, State};

use super::coordinator::Move;
use super::{OK, waits};
use crate::support::{
    Client, Kind, Launch, Proxy, RedisServer, array_items, eventually, show, words,
};

/// All keys, and how often each was returned.
fn scan(client: &mut Client, options: &str) -> BTreeMap<String, usize> {
    let (mut cursor, mut seen) = ("0".to_owned(), BTreeMap::new());
    loop {
        let (next, keys) = page(&client.ask(&format!("SCAN {cursor} {options}")));
        for key in keys {
            *seen.entry(key).or_insert(0) += 1;
        }
        if next == "0" {
            return seen;
        }
        cursor = next;
    }
}

/// The cursor and the keys of a page.
pub(crate) fn page(reply: &[u8]) -> (String, Vec<String>) {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let rest = text
        .strip_prefix("*2\r\n")
        .unwrap_or_else(|| panic!("{text}"));
    let mut lines = rest.splitn(3, "\r\n");
    let cursor = lines.nth(1).unwrap().to_owned();
    (cursor, strings(lines.next().unwrap().as_bytes()))
}

fn strings(array: &[u8]) -> Vec<String> {
    let items = array_items(array).into_iter();
    items.map(|item| String::from_utf8(item).unwrap()).collect()
}

fn keys(client: &mut Client) -> Vec<String> {
    let mut keys = strings(&client.ask("KEYS *"));
    keys.sort();
    keys
}

#[test]
fn marks_are_no_keys_of_a_guarded_pool() {
    for (before, count) in [(1, 1), (2, 3)] {
        let servers: [_; 3] = RedisServer::several();
        let mut mv = Move::of(&servers[..before], &servers[..count]);
        mv.arm();
        mv.finish(State::Aborted);
        let proxy = Proxy::ringroad(&mv.pool_before());
        for version in ["2", "3"] {
            let mut client = proxy.client();
            client.ask(&format!("HELLO {version}"));
            let nil = if version == "2" { "$-1\r\n" } else { "_\r\n" };
            client.converse(&[
                ("DBSIZE", ":0\r\n"),
                ("RANDOMKEY", nil),
                ("KEYS *", "*0\r\n"),
            ]);
            assert!(scan(&mut client, "").is_empty());
            client.converse(&[("SET only v", OK), ("DBSIZE", ":1\r\n")]);
            for _ in 0..20 {
                client.converse(&[("RANDOMKEY", "$4\r\nonly\r\n")]);
            }
            assert_eq!(keys(&mut client), ["only"]);
            assert_eq!(
                scan(&mut client, "COUNT 1").into_keys().collect::<Vec<_>>(),
                ["only"]
            );
            client.converse(&[("SELECT 1", OK), ("DBSIZE", ":0\r\n"), ("SELECT 0", OK)]);
            client.converse(&[("DEL only", ":1\r\n")]);
        }
    }
}

/// The fields of a mark, in order.
fn mark(server: &RedisServer) -> Vec<String> {
    let fields = strings(&server.ask("HGETALL ringroad:mark:p:0"));
    let (pairs, []) = fields.as_chunks::<2>() else {
        panic!("{fields:?}");
    };
    let mut pairs: Vec<_> = pairs.iter().map(|pair| pair.join("=")).collect();
    pairs.sort();
    pairs
}

#[test]
fn flush_keeps_the_marks() {
    let servers: [_; 2] = RedisServer::several();
    let mut mv = Move::of(&servers[..1], &servers);
    mv.arm();
    mv.finish(State::Aborted);
    let expected = mark(&servers[0]);
    assert!(!expected.is_empty());
    let proxy = Proxy::ringroad(&mv.pool_before());
    let mut client = proxy.client();
    for (flush, left) in [
        ("FLUSHALL", ":0\r\n"),
        ("flushall async", ":0\r\n"),
        ("FLUSHDB SYNC", ":1\r\n"),
    ] {
        client.converse(&[("SET k v", OK), ("SELECT 2", OK), ("SET other v", OK)]);
        if flush == "FLUSHALL" {
            // From any database.
            client.converse(&[(flush, OK), ("SELECT 0", OK)]);
        } else {
            client.converse(&[("SELECT 0", OK), (flush, OK)]);
        }
        client.converse(&[("DBSIZE", ":0\r\n"), ("SELECT 2", OK), ("DBSIZE", left)]);
        client.converse(&[("FLUSHDB", OK), ("DBSIZE", ":0\r\n"), ("SELECT 0", OK)]);
        assert_eq!(mark(&servers[0]), expected, "{flush}");
    }
    for wrong in ["FLUSHALL now", "FLUSHDB ASYNC SYNC"] {
        let refusal = show(&servers[1].ask(wrong));
        assert_eq!(show(&client.ask(wrong)), refusal);
    }
    client.converse(&[("MULTI", OK)]);
    assert!(show(&client.ask("FLUSHALL")).starts_with("-ERR"));
    assert!(show(&client.ask("EXEC")).starts_with("-EXECABORT"));
    assert_eq!(mark(&servers[0]), expected);
}

#[test]
fn keys_are_seen_at_their_owners_during_a_move() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let mut client = proxy.client();
    let (source, moving) = mv.moving_key("m");
    let (other, deleted) = mv.moving_key("d");
    let stays = mv.staying_key("s");
    for key in [&moving, &deleted, &stays] {
        client.converse(&[(&format!("SET {key} v"), OK)]);
    }
    mv.arm();
    mv.copy(source, &moving);
    mv.copy(other, &deleted);
    client.converse(&[(&format!("DEL {deleted}"), ":1\r\n")]);
    let check = |client: &mut Client, expected: &[&String]| {
        let mut expected: Vec<_> = expected.iter().map(|key| (*key).clone()).collect();
        expected.sort();
        // The proxy may not have read the last decision yet.
        eventually("KEYS", || (keys(client) == expected).then_some(()));
        for options in ["COUNT 1", "COUNT 1000", "TYPE string"] {
            assert!(scan(client, options).keys().eq(&expected), "{options}");
        }
        for _ in 0..30 {
            let drawn = show(&client.ask("RANDOMKEY"));
            let is_there = |key: &String| drawn == format!("${}\\r\\n{key}\\r\\n", key.len());
            assert!(expected.iter().any(is_there), "{drawn}");
        }
    };
    check(&mut client, &[&moving, &stays]);
    let count = show(&client.ask("DBSIZE"));
    assert!(
        count.contains("count the keys that SCAN returns"),
        "{count}"
    );
    // It has moved, and is deleted at the new server: its original is left.
    for from in [0, 1] {
        let hold = mv.hold(from, &BucketSet::ALL);
        mv.acks(from, hold, 1);
        mv.decide(from, hold, Decision::Commit);
    }
    eventually("the commit is known", || {
        (client.ask(&format!("EXISTS {moving}")) == b":1\r\n").then_some(())
    });
    mv.at_destination(&deleted, &format!("DEL {deleted}"));
    check(&mut client, &[&moving, &stays]);
    client.converse(&[(&format!("DEL {moving}"), ":1\r\n")]);
    assert_eq!(mv.at_source(source, &format!("EXISTS {moving}")), ":1\r\n");
    check(&mut client, &[&stays]);
    client.converse(&[(&format!("DEL {stays}"), ":1\r\n"), ("KEYS *", "*0\r\n")]);
    assert!(scan(&mut client, "").is_empty());
}

#[test]
fn survey_waits_for_the_decision_about_its_keys() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let (source, key) = mv.moving_key("k");
    proxy.client().converse(&[(&format!("SET {key} v"), OK)]);
    mv.arm();
    mv.copy(source, &key);
    let encoded = format!("${}\r\n{key}\r\n", key.len());
    let listed = format!("*1\r\n{encoded}");
    for decision in [Decision::Abort, Decision::Commit] {
        let hold = mv.hold(source, &BucketSet::ALL);
        mv.acks(source, hold, 1);
        let mut lists: Vec<_> = ["KEYS *", "RANDOMKEY", "SCAN 0 COUNT 100"]
            .into_iter()
            .map(|request| {
                let mut client = proxy.client();
                client.send(&words(request));
                client
            })
            .collect();
        assert!(waits(&mut lists[0]) && waits(&mut lists[1]));
        mv.decide(source, hold, decision);
        assert_eq!(show(&lists[0].reply()), show(listed.as_bytes()));
        assert_eq!(show(&lists[1].reply()), show(encoded.as_bytes()));
        page(&lists[2].reply());
    }
    assert_eq!(
        scan(&mut proxy.client(), "")
            .into_keys()
            .collect::<Vec<_>>(),
        [key]
    );
}

#[test]
fn scan_goes_on_over_the_beginning_and_the_end_of_a_move() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxies = [(); 2].map(|()| Proxy::ringroad(&mv.pool_before()));
    let mut clients = proxies.each_ref().map(Proxy::client);
    let names: Vec<_> = (0..300).map(|number| format!("key-{number}")).collect();
    for name in &names {
        clients[0].converse(&[(&format!("SET {name} v"), OK)]);
    }
    let (mut cursor, mut seen, mut pages) = ("0".to_owned(), BTreeMap::new(), 0);
    loop {
        let client = &mut clients[pages % 2];
        let (next, keys) = page(&client.ask(&format!("SCAN {cursor} COUNT 20")));
        for key in keys {
            *seen.entry(key).or_insert(0) += 1;
        }
        (cursor, pages) = (next, pages + 1);
        if cursor == "0" {
            break;
        }
        match pages {
            5 => {
                mv.arm();
                for name in &names {
                    mv.copy_if_moving(name);
                }
            }
            12 | 20 => {
                let source = usize::from(pages == 20);
                let hold = mv.hold(source, &BucketSet::ALL);
                mv.acks(source, hold, 2);
                mv.decide(source, hold, Decision::Commit);
            }
            24 => {
                for name in &names {
                    mv.clean(name);
                }
                mv.finish(State::Done);
            }
            _ => {}
        }
    }
    assert!(pages > 24, "{pages}");
    let mut expected = names;
    expected.sort();
    assert!(seen.keys().eq(&expected), "{} of 300", seen.len());
}

/// What a client that has subscribed to all key events was told, by key.
fn events(client: &mut Client, until: &str) -> BTreeMap<String, Vec<String>> {
    let mut told = BTreeMap::new();
    loop {
        let words = strings(&client.reply());
        let [_, _, channel, event] = &words[..] else {
            panic!("{words:?}");
        };
        let key = channel.split_once("__:").unwrap().1.to_owned();
        if key == until {
            return told;
        }
        told.entry(key).or_insert_with(Vec::new).push(event.clone());
    }
}

#[test]
fn key_events_are_those_of_one_server() {
    let servers: [_; 3] = RedisServer::several();
    for server in &servers {
        server.ask("CONFIG SET notify-keyspace-events KEA");
    }
    let mut mv = Move::of(&servers[..2], &servers);
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &mv.pool_before(), &launch);
    let mut client = proxy.client();
    let mut hearing = proxy.client();
    hearing.ask("PSUBSCRIBE __keyspace@*");
    let (source, key) = mv.moving_key("k");
    let (from, timed) = mv.moving_key("t");
    let stays = mv.staying_key("s");
    mv.arm();
    // A proxy that knows of the move is asked something first.
    eventually("the move is known", || {
        show(&client.ask("DBSIZE"))
            .starts_with("-ERR")
            .then_some(())
    });
    client.converse(&[
        (&format!("SET {key} v"), OK),
        (&format!("SET {timed} v"), OK),
    ]);
    mv.copy(source, &key);
    mv.copy(from, &timed);
    client.converse(&[(&format!("APPEND {key} w"), ":2\r\n")]);
    let end = mv.staying_key("end");
    let end_of_part = |hearing: &mut Client| {
        let mut told = BTreeMap::new();
        // At each server, since what they tell may overtake each other.
        for server in &servers {
            server.ask(&format!("PUBLISH __keyspace@0__:{end} x"));
            for (key, events) in events(hearing, &end) {
                told.entry(key).or_insert_with(Vec::new).extend(events);
            }
        }
        told
    };
    let told = end_of_part(&mut hearing);
    let of = |key: &String, events: &[&str]| {
        (
            key.clone(),
            events
                .iter()
                .map(|event| (*event).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let expected = [of(&key, &["set", "append"]), of(&timed, &["set"])];
    assert_eq!(told, expected.into_iter().collect());
    for source in [0, 1] {
        let hold = mv.hold(source, &BucketSet::ALL);
        mv.acks(source, hold, 1);
        mv.decide(source, hold, Decision::Commit);
    }
    client.converse(&[
        (&format!("SET {key} x"), OK),
        (&format!("PEXPIRE {timed} 20"), ":1\r\n"),
        (&format!("SET {stays} v"), OK),
    ]);
    mv.clean(&key);
    eventually("it has expired", || {
        (mv.at_destination(&timed, &format!("EXISTS {timed}")) == ":0\r\n").then_some(())
    });
    mv.clean(&timed);
    let told = end_of_part(&mut hearing);
    let expected = [
        of(&key, &["set"]),
        of(&timed, &["expire", "expired"]),
        of(&stays, &["set"]),
    ];
    assert_eq!(told, expected.into_iter().collect());
}
