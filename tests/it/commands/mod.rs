//! The command table compared with a real server, and the generated page of documentation.

mod keys;
mod real;
mod value;

use std::{env, fs};

use ringroad::protocol::memcached;
use ringroad::protocol::redis::command::{Command, docs};

use crate::support::{Pool, Proxy, RedisServer, show};

#[test]
fn command_errors_match_redis() {
    let [one, servers @ ..] = RedisServer::several::<5>();
    let ringroad = Proxy::ringroad(&Pool::of(&servers));
    let (mut here, mut direct) = (ringroad.client(), one.client());
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
    let known = include_str!("../../data/redis-7.0-commands.txt");
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
        assert_eq!(
            show(&here.ask(&request)),
            show(&direct.ask(&request)),
            "{request}"
        );
    }
}

#[test]
fn generated_documentation_is_up_to_date() {
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
