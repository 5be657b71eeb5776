//! `ringroad ctl bigkeys`, `ringroad ctl slowlog` and `SLOWLOG`.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Watched;
use crate::support::{Client, Memcached, Pool, RedisServer, command, eventually, reply_len};

fn row(big: &Value) -> String {
    let word = |name: &str| big[name].as_str().unwrap();
    let (kind, command, key) = (word("kind"), word("command"), word("key"));
    format!("{kind} {command} {key} {} {}", big["bytes"], big["times"])
}

fn rows(watched: &Watched) -> Vec<String> {
    let answer = watched.json(&["bigkeys"]);
    answer["big"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn large_requests_and_replies_are_listed() {
    let server = RedisServer::start();
    let watched = Watched::start(&Pool::of([&server]));
    let mut client = watched.client();
    assert_eq!(
        watched.ctl(&["bigkeys"]),
        "no request and no reply had 32 KiB in the last minutes\n"
    );
    let value = "v".repeat(1_000_000);
    for (request, len) in [
        (vec!["SET", "large", &value], 5),
        (vec!["SET", "small", "v"], 5),
        (vec!["GET", "large"], 1_000_012),
        (vec!["GET", "small"], 7),
        (vec!["get", "large"], 1_000_012),
        (vec!["MGET", "small", "large"], 1_000_022 + 1),
        (vec!["ECHO", &value], 1_000_012),
    ] {
        client.send(&command(&request));
        assert_eq!(client.reply().len(), len, "{:?}", &request[..2]);
    }
    let expected = [
        "request SET large 1000036 1",
        "reply MGET small 1000023 1",
        "reply GET large 1000012 2",
    ];
    assert_eq!(rows(&watched), expected);
    let text = watched.ctl(&["bigkeys", "p"]);
    assert!(text.contains("976.5 KiB  GET      large "), "{text}");
    assert!(text.contains("small (and 1 more keys)"), "{text}");
}

#[test]
fn large_values_of_memcached_are_listed() {
    let server = Memcached::start();
    let watched = Watched::start(&Pool::memcached([&server]));
    let mut client = watched.client();
    client.send(format!("set large 0 0 40000\r\n{}\r\n", "v".repeat(40_000)).as_bytes());
    assert_eq!(client.answer(), b"STORED\r\n");
    client.send(b"get small large\r\n");
    client.answer();
    assert_eq!(
        rows(&watched),
        ["reply GET small 40028 1", "request SET large 40023 1"]
    );
}

/// The elements of an array.
fn elements(reply: &[u8]) -> Vec<&[u8]> {
    let header = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut rest = &reply[header..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (element, after) = rest.split_at(reply_len(rest).unwrap().unwrap());
        found.push(element);
        rest = after;
    }
    found
}

/// The arguments of the newest entries of a slow log, the oldest first.
fn logged(client: &mut Client, entries: usize) -> Vec<String> {
    let reply = client.ask(&format!("SLOWLOG GET {entries}"));
    let log = elements(&reply).into_iter();
    let args = log.map(|entry| elements(entry)[3].escape_ascii().to_string());
    let mut args: Vec<_> = args.collect();
    args.reverse();
    args
}

#[test]
fn slow_log_has_the_arguments_that_redis_has() {
    let servers = RedisServer::several::<2>();
    let alone = RedisServer::start();
    let watched = Watched::start(&Pool::of(&servers));
    let many: Vec<_> = (0..40).map(|n| format!("{{t}}:{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(5000);
    let huge = "y".repeat(200_000);
    let requests: Vec<Vec<&str>> = vec![
        vec!["set", "a", "1"],
        vec!["SET", "a", &long],
        vec!["SET", "a", &huge],
        vec!["APPEND", "\x01\"k\u{e9}", "b\r\nc"],
        [&["MGET"], &many[..31]].concat(),
        [&["MGET"], &many[..32]].concat(),
        [&["DEL"], &many[..]].concat(),
        vec!["EVAL", "return redis.call('GET', KEYS[1])", "1", "a"],
        vec!["OBJECT", "ENCODING", "a"],
    ];
    let mut logs = [watched.client(), alone.client()].map(|mut client| {
        client.ask("CONFIG SET slowlog-log-slower-than 0");
        client.ask("SLOWLOG RESET");
        let mut entries = Vec::new();
        for request in &requests {
            client.send(&command(request));
            client.reply();
            entries.push(
                logged(&mut client, 100)
                    .into_iter()
                    .rfind(|args| !args.contains("SLOWLOG") && !args.contains("CONFIG")),
            );
        }
        entries
    });
    let [ours, redis] = &mut logs;
    assert_eq!(ours, redis);
}

#[test]
fn arguments_behind_the_kept_start_are_counted() {
    let server = RedisServer::start();
    let watched = Watched::start(&Pool::of([&server]));
    let mut client = watched.client();
    client.ask("CONFIG SET slowlog-log-slower-than 0");
    let long = "x".repeat(5000);
    client.send(&command(&["HSET", "h", &long, "v"]));
    assert_eq!(client.reply(), b":1\r\n");
    let args = logged(&mut client, 1).pop().unwrap();
    assert!(
        args.starts_with(r"*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$149\r\nxxx"),
        "{args}"
    );
    assert!(args.ends_with(r"\r\n... (1 more arguments)\r\n"), "{args}");
}

#[test]
fn slow_log_tells_a_split_request_as_a_whole() {
    let servers = RedisServer::several::<2>();
    let watched = Watched::start(&Pool::of(&servers));
    let mut client = watched.client();
    client.ask("CONFIG SET slowlog-log-slower-than 0");
    client.ask("MGET a b c d e f");
    assert_eq!(
        logged(&mut client, 1),
        [r"*7\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n"]
    );
}

#[test]
fn slow_log_tells_where_the_time_was_spent() {
    let server = RedisServer::start();
    let watched = Watched::start(&Pool::of([&server]));
    let mut client = watched.client();
    client.ask("CLIENT SETNAME tester");
    assert_eq!(watched.ctl(&["slowlog"]), "no request was slow\n");
    let slow = &first_slow(&watched, || {
        hang(&|| server.stop(), &|| server.cont(), || {
            client.send(&command(&["SET", "k", "v"]));
        });
        assert_eq!(client.reply(), b"+OK\r\n");
    });
    assert_eq!(slow["args"], serde_json::json!(["SET", "k", "v"]));
    assert_eq!(
        (&slow["server"], &slow["client_name"]),
        (&"s0".into(), &"tester".into())
    );
    assert_parts(slow);
    let text = watched.ctl(&["slowlog", "p", "--count", "1"]);
    assert!(
        text.lines().nth(1).unwrap().ends_with("  SET k v"),
        "{text}"
    );
}

#[test]
fn slow_requests_of_memcached_are_logged() {
    let server = Memcached::start();
    let watched = Watched::start(&Pool::memcached([&server]));
    let mut client = watched.client();
    let slow = &first_slow(&watched, || {
        hang(&|| server.stop(), &|| server.cont(), || {
            client.send(b"set k 0 0 1\r\nv\r\n");
        });
        assert_eq!(client.answer(), b"STORED\r\n");
    });
    assert_eq!(
        slow["args"],
        serde_json::json!(["set", "k", "0", "0", "1", "v"])
    );
    assert!(
        slow["client"].as_str().unwrap().starts_with("127."),
        "{slow}"
    );
    assert_parts(slow);
}

/// An entry of the slow log whose server took long. A request is repeated that is slow unless the proxy reads it late.
fn first_slow(watched: &Watched, mut ask: impl FnMut()) -> Value {
    eventually("a request is slow", || {
        ask();
        let log = watched.json(&["slowlog", "p"]);
        let mut slow = log["requests"].as_array().unwrap().iter();
        slow.find(|slow| figure(slow, "server_us") > 10_000)
            .cloned()
    })
}

/// Has a server hang for a while after a request was sent.
fn hang(stop: &dyn Fn(), cont: &dyn Fn(), send: impl FnOnce()) {
    stop();
    send();
    let until = Instant::now() + Duration::from_millis(50);
    while Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    cont();
}

fn assert_parts(slow: &Value) {
    let parts = figure(slow, "waited_us") + figure(slow, "server_us");
    assert_eq!(figure(slow, "took_us"), parts);
}

fn figure(slow: &Value, name: &str) -> u64 {
    slow[name].as_u64().unwrap()
}
