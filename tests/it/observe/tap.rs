//! `ringroad ctl tap`.

use std::process::{Child, Output, Stdio};

use serde_json::Value;

use super::Watched;
use crate::support::{Memcached, Pool, RedisServer};

/// A tap that runs.
struct Tap(Child);

impl Tap {
    fn start(watched: &Watched, args: &[&str]) -> Self {
        let mut command =
            watched.command(&[&["--json", "tap", "p", "--for", "20s"], args].concat());
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn end(self) -> Value {
        let Output { stdout, stderr, .. } = self.0.wait_with_output().unwrap();
        serde_json::from_slice(&stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)))
    }
}

/// The texts of the requests that a tap shows while these are repeated, until it is full.
fn tapped(watched: &Watched, args: &[&str], requests: &[&str]) -> Vec<String> {
    let mut tap = Tap::start(watched, args);
    let mut client = watched.client();
    while !tap.is_over() {
        for request in requests {
            client.ask(request);
        }
    }
    let answer = tap.end();
    let shown = answer["requests"].as_array().unwrap().iter();
    let text = |request: &Value| {
        let args = request["args"].as_array().unwrap().iter();
        let words: Vec<_> = args.map(|arg| arg.as_str().unwrap()).collect();
        words.join(" ")
    };
    let mut texts: Vec<_> = shown.map(text).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

#[test]
fn tap_shows_what_fits_its_filter() {
    let servers = RedisServer::several::<2>();
    let watched = Watched::start(&Pool::of(&servers));
    let requests = [
        "SET user:1 a",
        "get user:1",
        "MGET user:1 other",
        "PING",
        "AUTH secret",
        "NOSUCH user:1",
    ];
    for (args, expected) in [
        (
            &["--count", "50"][..],
            &[
                "AUTH (redacted)",
                "MGET user:1 other",
                "PING",
                "SET user:1 a",
                "get user:1",
            ][..],
        ),
        (&["--count=5", "--command", "get"], &["get user:1"]),
        (&["--count=5", "--key", "oth*"], &["MGET user:1 other"]),
        (
            &["--count=9", "--key=user:?", "--client=127.0.0.1"],
            &["MGET user:1 other", "SET user:1 a", "get user:1"],
        ),
    ] {
        assert_eq!(tapped(&watched, args, &requests), expected, "{args:?}");
    }
}

#[test]
fn tap_by_server_shows_the_keys_of_that_server() {
    let servers = RedisServer::several::<2>();
    let watched = Watched::start(&Pool::of(&servers));
    let keys: Vec<_> = (0..20).map(|key| format!("GET k{key}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let of = |server: &str| tapped(&watched, &["--count=60", "--server", server], &keys);
    let (first, second) = (of("s0"), of("s1"));
    assert!(!first.is_empty() && !second.is_empty());
    assert!(first.iter().all(|key| !second.contains(key)));
    assert_eq!(first.len() + second.len(), keys.len());
}

#[test]
fn tap_samples_and_ends_after_its_time() {
    let server = RedisServer::start();
    let watched = Watched::start(&Pool::of([&server]));
    let mut tap = Tap::start(&watched, &["--count", "10", "--one-in", "7"]);
    let mut client = watched.client();
    while !tap.is_over() {
        client.ask("PING");
    }
    let answer = tap.end();
    assert_eq!(answer["matched"], 64);
    assert_eq!(answer["requests"].as_array().unwrap().len(), 10);
    assert_eq!(
        watched.ctl(&["tap", "p", "--for", "10ms"]),
        "0 of 0 requests that fit\n"
    );
}

#[test]
fn tap_works_in_memcached_pools() {
    let server = Memcached::start();
    let watched = Watched::start(&Pool::memcached([&server]));
    let mut tap = Tap::start(&watched, &["--count", "3", "--command", "SET"]);
    let mut client = watched.client();
    while !tap.is_over() {
        client.send(b"set k 0 0 5\r\nhello\r\n");
        assert_eq!(client.answer(), b"STORED\r\n");
        client.send(b"get k\r\n");
        client.answer();
    }
    let answer = tap.end();
    let last = &answer["requests"][2];
    assert_eq!(
        last["args"],
        serde_json::json!(["set", "k", "0", "0", "5", "hello"])
    );
}

#[test]
fn wrong_options_of_tap_are_refused() {
    let server = RedisServer::start();
    let watched = Watched::start(&Pool::of([&server]));
    for (args, message) in [
        (&["tap"][..], "tap requires the name of a pool"),
        (&["tap", "nope"], "no pool 'nope'"),
        (
            &["tap", "p", "--server", "nope"],
            "no server 'nope' in pool 'p'",
        ),
        (
            &["tap", "p", "--command", "GTE"],
            "no command is called 'GTE'",
        ),
        (
            &["tap", "p", "--for", "21s"],
            "'for_ms' (--for) is not 1 to 20000 ms",
        ),
        (&["tap", "p", "--count", "0"], "'count' is not 1 to 10000"),
        (&["tap", "p", "--one-in", "0"], "'one_in' is 0"),
        (
            &["tap", "p", "--one-in", "x"],
            "option --one-in requires a number",
        ),
    ] {
        let output = watched.command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(message),
            "{args:?}: {stderr}"
        );
    }
}
