//! `SCAN` over many servers.

use std::collections::BTreeMap;

use super::{OK, fill, four};
use crate::support::{Client, Pool, Proxy, RedisServer, array_items, eventually, show};

const INVALID: &str = "-ERR invalid cursor\r\n";

/// What a cursor says of its servers lies below this.
const TAGS: u64 = 4096;

/// The cursor at which the scan of the server at `index`, which is not the first, begins.
fn start_of(client: &mut Client, index: u64) -> u64 {
    let reply = client.ask("SCAN 0 COUNT 100000");
    let second: u64 = String::from_utf8_lossy(&reply)
        .lines()
        .nth(2)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(second / TAGS, 1);
    second + (index - 1) * TAGS
}

/// Scans to the end. Returns the number of times that each key was returned.
fn scan(client: &mut Client, options: &str) -> BTreeMap<Vec<u8>, usize> {
    let mut seen = BTreeMap::new();
    let mut cursor = b"0".to_vec();
    loop {
        let request = format!("SCAN {} {options}", String::from_utf8_lossy(&cursor));
        let reply = client.ask(&request);
        assert!(reply.starts_with(b"*2\r\n$"), "{request}: {}", show(&reply));
        // The cursor, and behind it the keys as one item.
        let line = reply
            .iter()
            .skip(5)
            .position(|byte| *byte == b'\n')
            .unwrap()
            + 6;
        let end = line
            + reply
                .iter()
                .skip(line)
                .position(|byte| *byte == b'\r')
                .unwrap();
        cursor = reply[line..end].to_vec();
        for key in array_items(&reply[end + 2..]) {
            *seen.entry(key).or_insert(0) += 1;
        }
        if cursor == b"0" {
            return seen;
        }
    }
}

#[test]
fn scan_returns_every_key_once_for_any_count() {
    let (servers, proxy) = four();
    for version in ["2", "3"] {
        let mut client = proxy.client();
        client.ask(&format!("HELLO {version}"));
        assert!(scan(&mut client, "").is_empty());
        let keys = fill(&mut client, 1000);
        assert!(servers.iter().all(|server| !server.keys().is_empty()));
        for options in [
            "",
            "COUNT 1",
            "COUNT 7",
            "COUNT 100000",
            "MATCH *",
            "TYPE string",
        ] {
            let seen = scan(&mut client, options);
            assert!(seen.keys().eq(keys.iter()), "{options}: {}", seen.len());
            // No server grows or shrinks meanwhile, so none returns a key twice.
            assert!(seen.values().all(|times| *times == 1), "{options}");
        }
        client.converse(&[("SADD set m", ":1\r\n")]);
        assert_eq!(scan(&mut client, "TYPE set MATCH s*").len(), 1);
        assert_eq!(scan(&mut client, "MATCH key:77*").len(), 11);
        assert!(scan(&mut client, "TYPE list").is_empty());
        client.converse(&[("SELECT 3", OK)]);
        assert!(scan(&mut client, "").is_empty());
        client.converse(&[("FLUSHALL", OK)]);
    }
}

#[test]
fn scan_cursor_errors_match_redis() {
    let (_servers, proxy) = four();
    let mut client = proxy.client();
    for cursor in ["x", "1x", "0x10", "-", "18446744073709551616"] {
        client.converse(&[(&format!("SCAN {cursor}"), INVALID)]);
    }
    let third = start_of(&mut client, 2);
    for cursor in ["+0", &format!("+{third}"), &format!("{}", third + 4 * TAGS)] {
        let reply = client.ask(&format!("SCAN {cursor}"));
        assert!(reply.starts_with(b"*2\r\n"), "{cursor}: {}", show(&reply));
    }
}

#[test]
fn scan_cursor_of_other_servers_is_refused() {
    let (servers, proxy) = four();
    let cursor = start_of(&mut proxy.client(), 2);
    let scan = format!("SCAN {cursor}");
    let fewer = Proxy::ringroad(&Pool::of(&servers[..3]));
    fewer.client().converse(&[(
        &scan,
        "-ERR invalid cursor: the servers of the pool are not those that this scan began with; begin again with 0\r\n",
    )]);
    let same = Proxy::ringroad(&Pool::of(&servers));
    let reply = same.client().ask(&scan);
    assert!(reply.starts_with(b"*2\r\n"), "{}", show(&reply));
}

#[test]
fn scan_with_one_server_matches_that_server() {
    let [direct, behind] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of([&behind]));
    fill(&mut direct.client(), 1000);
    let (mut there, mut here) = (behind.client(), proxy.client());
    fill(&mut here, 1000);
    let mut cursor = "0".to_owned();
    loop {
        let request = format!("SCAN {cursor} COUNT 10");
        let reply = here.ask(&request);
        assert_eq!(show(&reply), show(&there.ask(&request)));
        cursor = String::from_utf8_lossy(&reply)
            .lines()
            .nth(2)
            .unwrap()
            .to_owned();
        if cursor == "0" {
            break;
        }
    }
}

#[test]
fn scan_never_skips_a_dead_server() {
    let (servers, _) = four();
    for ejects in [false, true] {
        let pool = Pool::of(&servers)
            .with("auto_eject_hosts", ejects)
            .with("server_failure_limit", 1)
            .with("server_retry_timeout", 600_000);
        let proxy = Proxy::ringroad(&pool);
        if !ejects {
            fill(&mut proxy.client(), 100);
            servers[2].kill();
        }
        let mut client = proxy.client();
        let scan = [1, 2, 3].map(|index| format!("SCAN {}", start_of(&mut client, index)));
        let gone = |reply: &[u8]| {
            reply.starts_with(b"-ERR SCAN continues on one server; server 's2' failed: ")
        };
        let reply = client.ask(&scan[1]);
        assert!(gone(&reply), "{}", show(&reply));
        if ejects {
            let ejected: &[u8] =
                b"-ERR SCAN continues on one server; server 's2' failed: ejected\r\n";
            eventually("the ejection", || {
                (client.ask(&scan[1]) == ejected).then_some(())
            });
        }
        let mut reply = client.ask(&format!("{} COUNT 1000", scan[0]));
        let third = scan[1].strip_prefix("SCAN ").unwrap();
        let head = format!("*2\r\n${}\r\n{third}\r\n", third.len());
        assert!(reply.starts_with(head.as_bytes()), "{}", show(&reply));
        reply = client.ask(&format!("{} COUNT 1000", scan[2]));
        assert!(reply.starts_with(b"*2\r\n$1\r\n0\r\n"), "{}", show(&reply));
    }
}
