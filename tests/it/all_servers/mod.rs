//! Commands that concern all servers of a pool: the reply is that of one Redis with all the keys.

mod functions;
mod kill;
mod partial;
mod scan;
mod scripts;
mod sets;

use crate::support::{Client, Pool, Proxy, RedisServer, array_items, show, words};

const OK: &str = "+OK\r\n";
const NIL: &str = "$-1\r\n";
const KEYS: usize = 200;

/// A proxy with four servers.
fn four() -> ([RedisServer; 4], Proxy) {
    let servers = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "md5"));
    (servers, proxy)
}

/// Sets so many keys in a new pool, some on every server. Returns them in order.
fn fill(client: &mut Client, keys: usize) -> Vec<Vec<u8>> {
    let mut names: Vec<String> = (0..keys).map(|n| format!("key:{n}")).collect();
    for name in &names {
        client.send(&words(&format!("SET {name} v")));
    }
    for _ in &names {
        assert_eq!(show(&client.reply()), show(OK.as_bytes()));
    }
    names.sort();
    names.into_iter().map(String::into_bytes).collect()
}

#[test]
fn keyspace_commands_cover_all_servers() {
    let (servers, proxy) = four();
    for version in ["2", "3"] {
        let mut client = proxy.client();
        client.ask(&format!("HELLO {version}"));
        let nil = if version == "3" { "_\r\n" } else { NIL };
        client.converse(&[
            ("DBSIZE", ":0\r\n"),
            ("KEYS *", "*0\r\n"),
            ("RANDOMKEY", nil),
        ]);
        let keys = fill(&mut client, KEYS);
        assert!(servers.iter().all(|server| !server.keys().is_empty()));
        client.converse(&[
            ("DBSIZE", &format!(":{KEYS}\r\n")),
            ("KEYS none*", "*0\r\n"),
        ]);
        let mut listed = array_items(&client.ask("KEYS *"));
        listed.sort();
        assert_eq!(listed, keys);
        for _ in 0..20 {
            let drawn = client.ask("RANDOMKEY");
            let drawn = array_items(&[b"*1\r\n", &drawn[..]].concat());
            assert!(keys.contains(&drawn[0]), "{drawn:?}");
        }
        client.converse(&[
            ("SELECT 1", OK),
            ("SET other v", OK),
            ("DBSIZE", ":1\r\n"),
            ("SELECT 0", OK),
            ("FLUSHDB", OK),
            ("DBSIZE", ":0\r\n"),
            ("SELECT 1", OK),
            ("DBSIZE", ":1\r\n"),
            ("FLUSHALL ASYNC", OK),
            ("DBSIZE", ":0\r\n"),
        ]);
        assert!(
            servers
                .iter()
                .all(|server| server.ask("DBSIZE") == b":0\r\n")
        );
    }
}

#[test]
fn randomkey_finds_the_only_key_on_any_server() {
    let (_servers, proxy) = four();
    let mut client = proxy.client();
    for n in 0..20 {
        client.converse(&[(&format!("SET k{n} v"), OK)]);
        let drawn = format!("${}\r\nk{n}\r\n", format!("k{n}").len());
        client.converse(&[("RANDOMKEY", &drawn), ("FLUSHDB SYNC", OK)]);
    }
}

#[test]
fn error_from_every_server_reads_as_in_redis() {
    let (_servers, proxy) = four();
    let original = RedisServer::start();
    let (mut there, mut here) = (original.client(), proxy.client());
    for request in [
        "FLUSHALL FOO",
        "FLUSHDB ASYNC SYNC",
        "DBSIZE 1",
        "KEYS",
        "RANDOMKEY 1",
        "LASTSAVE 1",
        "TIME 1",
        "SCRIPT EXISTS",
        "SCRIPT LOAD",
        "SCRIPT LOAD return(",
        "SCRIPT FLUSH FOO",
        "SCRIPT FOO",
        "FUNCTION LOAD x",
        "FUNCTION DELETE x",
        "FUNCTION LIST FOO",
        "FUNCTION RESTORE x",
        "FUNCTION RESTORE x FOO",
        "FUNCTION FLUSH FOO",
        "FUNCTION FOO",
        "SCAN",
        "SCAN x",
        "SCAN x FOO",
        "SCAN 0 FOO",
        "SCAN 0 COUNT x",
        "SCAN 0 COUNT 0",
        "SCAN 0 TYPE",
        "MEMORY PURGE 1",
    ] {
        assert_eq!(
            show(&here.ask(request)),
            show(&there.ask(request)),
            "{request}"
        );
    }
}

#[test]
fn remaining_all_server_commands_are_answered() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let number = |reply: Vec<u8>| {
        let text = String::from_utf8(reply).unwrap();
        text.trim()[1..].parse::<i64>().unwrap()
    };
    let least = servers.iter().map(|server| number(server.ask("LASTSAVE")));
    assert_eq!(number(client.ask("LASTSAVE")), least.min().unwrap());
    assert_eq!(array_items(&client.ask("TIME")).len(), 2);
    client.converse(&[("MEMORY PURGE", OK), ("SET k v", OK)]);
    for request in ["MEMORY USAGE k", "OBJECT REFCOUNT k"] {
        assert!(number(client.ask(request)) > 0, "{request}");
    }
    for request in ["SCRIPT DEBUG YES", "MEMORY STATS"] {
        let reply = client.ask(request);
        assert!(
            reply.starts_with(b"-ERR unsupported command"),
            "{}",
            show(&reply)
        );
    }
}

#[test]
fn pipeline_keeps_order_around_all_server_commands() {
    let (_servers, proxy) = four();
    let mut client = proxy.client();
    let mut expected = Vec::new();
    for n in 1..=100 {
        client.send(&words(&format!("SET k{n} v")));
        client.send(&words("DBSIZE"));
        expected.push(format!("{OK}:{n}\r\n"));
    }
    client.expect("the pipeline", expected.concat().as_bytes());
}
