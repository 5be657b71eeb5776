//! The command table against a real server, and the page of documentation that is written from it.

mod keys;
mod real;
mod value;

use std::{env, fs};

use bytes::BytesMut;
use ringroad::protocol::memcached;
use ringroad::protocol::redis::command::{Command, Local, docs};
use ringroad::protocol::redis::local::{self, Outcome};
use ringroad::protocol::redis::{Args, Client, Settings, error};

use crate::support::{RedisServer, show, words};

/// What the proxy answers to a request that does not fit the table.
fn refusal(request: &[u8], count: usize) -> Vec<u8> {
    let args = Args::new(request);
    let unfit = Command::resolve(&args, count).unwrap_err();
    let mut out = BytesMut::new();
    error::write_unfit(&unfit, args, &mut out);
    out.to_vec()
}

/// What the proxy answers to `COMMAND GETKEYS`.
fn keys(request: &str) -> Vec<u8> {
    let settings = Settings::new("alpha");
    let mut client = Client::new(&settings);
    let mut out = BytesMut::new();
    let request = words(request);
    let args = Args::new(&request);
    let outcome = local::answer(
        Local::CommandGetKeys,
        args,
        &mut client,
        &settings,
        &mut out,
    );
    assert_eq!(outcome, Outcome::Stay);
    out.to_vec()
}

#[test]
fn requests_that_fit_no_row_read_as_the_server_would_have_it() {
    let server = RedisServer::start();
    let mut client = server.client();
    let long = "x".repeat(200);
    let mut requests = vec![
        "FOO".to_owned(),
        "foo a b c".to_owned(),
        "fo'o".to_owned(),
        format!("{long} a"),
        format!("foo {long} b"),
        format!("foo {}", ["abcdefghijklmnopqrstuvwxyzabcd"; 9].join(" ")),
        "OBJECT FOO k".to_owned(),
        format!("OBJECT {long} k"),
        "MSET a 1 b".to_owned(),
        "MSETNX a 1 b".to_owned(),
    ];
    // One argument fewer than the least, and one more than the most, for every row that Redis 7.0 knows.
    let known = include_str!("../data/redis-7.0-commands.txt");
    for line in known.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(' ').next().unwrap();
        let mut parts = name.split('|').map(str::as_bytes);
        let parent = Command::lookup(parts.next().unwrap()).unwrap();
        let row = parts
            .next()
            .map_or(Some(parent), |own| parent.subcommand(own));
        let Some(row) = row.filter(|row| row.is_offered()) else {
            continue;
        };
        let given = name.split('|').count();
        let bound = usize::from(row.arity.unsigned_abs());
        let spoken = name.replace('|', " ");
        if bound > given {
            requests.push(format!("{spoken}{}", " a".repeat(bound - 1 - given)));
        }
        if row.arity > 0 && row.subcommands.is_empty() {
            requests.push(format!("{spoken}{}", " a".repeat(bound + 1 - given)));
        }
    }
    assert!(requests.len() > 200);
    for request in requests {
        let bytes = words(&request);
        let count = request.split(' ').count();
        let reply = client.ask(&request);
        assert_eq!(show(&refusal(&bytes, count)), show(&reply), "{request}");
    }
}

#[test]
fn keys_are_where_the_server_finds_them() {
    let server = RedisServer::start();
    let mut client = server.client();
    for request in [
        "GET a",
        "SET a b EX 1",
        "MGET a b a",
        "MSET a 1 b 2",
        "DEL a b c",
        "RENAME a b",
        "COPY a b DB 0",
        "BITOP AND d a b",
        "LCS a b LEN",
        "LMOVE a b LEFT RIGHT",
        "SMOVE a b m",
        "SDIFFSTORE d a b",
        "PFMERGE d a b",
        "SINTERCARD 2 a b LIMIT 1",
        "LMPOP 2 a b LEFT",
        "ZMPOP 1 a MIN",
        "ZUNION 2 a b WITHSCORES",
        "ZDIFFSTORE d 1 a",
        "ZRANGESTORE d a 0 1",
        "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m",
        "GEORADIUS a 1 2 3 m",
        "GEORADIUS a 1 2 3 m STORE d",
        "GEORADIUSBYMEMBER a m 3 m STOREDIST d",
        "SORT a",
        "SORT a LIMIT 0 1 DESC STORE d",
        "EVAL s 2 a b c",
        "FCALL f 1 a b",
        "XADD a * f v",
        "XREAD COUNT 1 STREAMS a b 0 0",
        "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b > >",
        "OBJECT ENCODING a",
        "MEMORY USAGE a SAMPLES 1",
        "XGROUP CREATE a g 0",
        "XINFO STREAM a",
        "RESTORE a 0 x",
    ] {
        let request = format!("COMMAND GETKEYS {request}");
        assert_eq!(
            show(&keys(&request)),
            show(&client.ask(&request)),
            "{request}"
        );
    }
}

#[test]
fn the_documentation_is_that_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
    let page = docs::markdown() + &memcached::command::docs::markdown();
    if env::var_os("RINGROAD_BLESS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == page,
        "docs/commands.md is stale: run this test with RINGROAD_BLESS=1"
    );
}
