//! After the commit: the old server is gone, and what asks all servers works at the new one.

use std::collections::BTreeSet;

use super::{RUN, WATCHED, counting, files, is_primary, servers};
use crate::mover::keys::{ask, assert_same, contents};
use crate::reshard::{Files, guarded};
use crate::support::{Client, Process, Proxy, RedisServer, array_items, eventually};

/// Starts a replacement, and returns when it is committed: the coordinator waits for proxies then, before it ends it.
fn committed(files: &Files, taker: &RedisServer) -> Process {
    let process = files.start(WATCHED);
    eventually("it is committed", || {
        let moved = taker.ask("HGET ringroad:mark:p:0 moved@s1");
        let all = format!("$256\r\n{}\r\n", "f".repeat(256));
        (moved == all.as_bytes()).then_some(())
    });
    process
}

/// The next page of a scan: its cursor, and its keys.
fn scan_page(client: &mut Client, cursor: &str) -> (String, Vec<Vec<u8>>) {
    let reply = client.ask(&format!("SCAN {cursor} COUNT 20"));
    let keys_at = reply[1..].iter().position(|byte| *byte == b'*').unwrap() + 1;
    let head = str::from_utf8(&reply[..keys_at]).unwrap();
    let next = head.split("\r\n").nth(2).unwrap();
    (next.to_owned(), array_items(&reply[keys_at..]))
}

/// The keys of a scan from a cursor to its end, in its order.
fn scan_from(client: &mut Client, mut cursor: String) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let (next, keys) = scan_page(client, &cursor);
        all.extend(keys);
        if next == "0" {
            return all;
        }
        cursor = next;
    }
}

/// Scans all keys; each comes once.
fn scan(client: &mut Client) -> BTreeSet<Vec<u8>> {
    let all = scan_from(client, "0".to_owned());
    let keys: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(keys.len(), all.len(), "a key comes twice");
    keys
}

#[test]
fn replacement_ends_without_the_old_server() {
    // A running coordinator, the next one, and one with the new file.
    for next in [None, Some(RUN), Some("reshard finish -c new.yml --yes")] {
        let mut servers = servers();
        let [first, second, third] = servers.each_ref();
        let files = files([first, second, third]);
        let proxy = Proxy::ringroad(&guarded([first, second]));
        let mut client = proxy.client();
        let keys = scan(&mut client);
        let expected = contents(second, 0);
        let process = committed(&files, third);
        if next.is_some() {
            process.kill();
        }
        assert_eq!(second.ask("SAVE"), b"+OK\r\n");
        second.kill();
        let text = match next {
            None => {
                assert_eq!(process.exit().code(), Some(0), "{}", process.output());
                process.output()
            }
            Some(words) => {
                assert_eq!(files.status()["state"], "armed");
                assert_eq!(scan(&mut client), keys);
                // Its keys are at the other one only.
                let (code, text) = files.run("reshard abort -c old.yml");
                assert_eq!(code, Some(2), "{text}");
                assert!(text.contains("have moved already"), "{text}");
                assert_same(&contents(third, 0), &expected);
                files.succeed(words)
            }
        };
        assert!(text.contains("the move ends without it"), "{text}");
        files.succeed("verify -c new.yml");
        assert_same(&contents(third, 0), &expected);
        assert_eq!(files.run("reshard status -c old.yml").0, Some(0));
        eventually("what asks all servers works", || {
            let all = client.ask("DBSIZE");
            (all == format!(":{}\r\n", keys.len()).as_bytes()).then_some(())
        });
        assert_eq!(scan(&mut client), keys);

        // It comes back, and knows of no end: nobody asks it, also with the old file.
        servers[1].restart();
        let [first, second, third] = servers.each_ref();
        let state = second.ask("HGET ringroad:mark:p:0 state");
        assert_eq!(state, b"$5\r\narmed\r\n");
        let late = Proxy::ringroad(&guarded([first, second]));
        assert_eq!(scan(&mut late.client()), keys);
        let counts = counting(&late, || {});
        for (key, count) in counts.iter().enumerate() {
            let value = count.to_string();
            let reply = format!("${}\r\n{value}\r\n", value.len());
            client.converse(&[(&format!("GET n{key}"), &reply)]);
        }
        assert_same(&contents(second, 0), &expected);
        assert!(is_primary(third));
        files.succeed("reshard finish -c new.yml");
        let state = second.ask("HGET ringroad:mark:p:0 state");
        assert_eq!(state, b"$4\r\ndone\r\n");
    }
}

#[test]
fn scan_over_the_end_of_a_replacement_is_complete() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let files = files([first, second, third]);
    let proxy = Proxy::ringroad(&guarded([first, second]));
    let mut client = proxy.client();
    let keys = scan(&mut client);
    assert_eq!(
        client.ask("DBSIZE"),
        format!(":{}\r\n", keys.len()).as_bytes()
    );
    let (early, mut seen_early) = scan_page(&mut client, "0");
    committed(&files, third).kill();
    assert_eq!(scan(&mut client), keys);
    // One of each lap.
    let (mut late, mut seen_late) = scan_page(&mut client, "0");
    let half = keys.len() / 2;
    while seen_late.len() < half {
        let (next, keys) = scan_page(&mut client, &late);
        seen_late.extend(keys);
        late = next;
    }
    files.succeed(RUN);
    eventually("the proxy knows of the end", || {
        client.ask("DBSIZE").starts_with(b":").then_some(())
    });
    for (cursor, seen) in [(early, &mut seen_early), (late, &mut seen_late)] {
        seen.extend(scan_from(&mut client, cursor));
        let seen: BTreeSet<_> = seen.iter().cloned().collect();
        assert_eq!(seen, keys);
    }
    assert_eq!(scan(&mut client), keys);
    assert_eq!(
        client.ask("DBSIZE"),
        format!(":{}\r\n", keys.len()).as_bytes()
    );
}

/// The value of a field of the mark of a server.
fn field(server: &RedisServer, name: &str) -> String {
    let reply = server.ask(&format!("HGET ringroad:mark:p:0 {name}"));
    let text = String::from_utf8(reply).unwrap();
    text.split("\r\n").nth(1).unwrap().to_owned()
}

#[test]
fn commit_that_is_lost_with_its_server_is_made_again() {
    let mut servers = servers();
    let files = files(servers.each_ref());
    let expected = contents(&servers[1], 0);
    committed(&files, &servers[2]).kill();
    let [hold, run] = ["hold", "run"].map(|name| field(&servers[1], name));
    // As if it had died before anybody else heard of the commit.
    for server in [&servers[0], &servers[2]] {
        server.ask("HDEL ringroad:mark:p:0 moved@s1");
    }
    let intent = format!("{hold} {} {run}", "f".repeat(256));
    let words = ["HSET", "ringroad:mark:p:0", "intent@s1", &intent];
    ask(&mut servers[2].client(), &words);
    servers[1].kill();
    let (code, text) = files.run(RUN);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("server 's1'"), "{text}");
    assert_eq!(files.status()["sources"][0]["intent"], true);
    assert!(is_primary(&servers[2]));
    // An empty one in its place.
    servers[1].restart();
    files.succeed(RUN);
    files.succeed("verify -c new.yml");
    assert_same(&contents(&servers[2], 0), &expected);
    assert_eq!(files.status()["state"], "done");
}
