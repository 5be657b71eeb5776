//! Counts by command and by error, as clients read them: `INFO`, and `LATENCY HISTOGRAM`, next to a redis-server's.

use std::collections::BTreeSet;

use crate::support::{Client, Kind, Launch, Memcached, Pool, Proxy, RedisServer, command};

/// Requests that a server and the proxy count alike.
const CONVERSATION: [&str; 19] = [
    "SET k v",
    "GET k",
    "get k",
    "GET nosuch",
    "GET",
    "LPUSH k x",
    "LPUSH list x y",
    "MGET k list",
    "DEL nosuch",
    "NOSUCH a b",
    "OBJECT ENCODING k",
    "OBJECT ENCODING",
    "CLIENT NOSUCH",
    "CLIENT GETNAME",
    "CONFIG GET port",
    "PING",
    "PING a b c",
    "BLPOP nolist 0.01",
    "BLPOP k 0.01",
];

/// A transaction, of whose commands servers measure each, and the proxy the whole.
const TRANSACTION: [&str; 5] = ["MULTI", "SET k w", "GET k", "EXEC", "EXEC"];

/// A proxy with one worker, which therefore knows all counts at once.
fn single(pool: &Pool) -> Proxy {
    let launch = Launch {
        args: ["--workers", "1"].map(str::to_owned).to_vec(),
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}

fn converse(client: &mut Client) {
    client.ask("CONFIG RESETSTAT");
    for request in CONVERSATION {
        client.ask(request);
    }
}

/// The lines of a section, without what depends on time.
fn section(client: &mut Client, name: &str) -> BTreeSet<String> {
    let text = String::from_utf8(client.ask(&format!("INFO {name}"))).unwrap();
    let lines = text.lines().filter(|line| line.contains(':'));
    let untimed = |line: &str| {
        let (title, values) = line.split_once(':').unwrap();
        let values = values.split(',').map(|value| match value.split_once('=') {
            Some((key, _)) if key.starts_with("usec") || key.starts_with('p') => format!("{key}="),
            _ => value.to_owned(),
        });
        format!("{title}:{}", values.collect::<Vec<_>>().join(","))
    };
    lines.map(untimed).collect()
}

#[test]
fn info_counts_commands_and_errors_as_redis_does() {
    let [alone, server] = [RedisServer::start(), RedisServer::start()];
    let proxy = single(&Pool::of([&server]));
    let (mut direct, mut client) = (alone.client(), proxy.client());
    for one in [&mut direct, &mut client] {
        converse(one);
        for request in TRANSACTION {
            one.ask(request);
        }
    }
    for name in ["commandstats", "errorstats", "latencystats"] {
        let (theirs, ours) = (section(&mut direct, name), section(&mut client, name));
        let ours_only: Vec<_> = ours.difference(&theirs).collect();
        let theirs_only: Vec<_> = theirs.difference(&ours).collect();
        assert!(
            ours_only.is_empty() && theirs_only.is_empty() && !ours.is_empty(),
            "{name}: ours {ours_only:?}, theirs {theirs_only:?}"
        );
    }
    client.ask("CONFIG RESETSTAT");
    assert_eq!(
        section(&mut client, "commandstats")
            .into_iter()
            .collect::<Vec<_>>(),
        ["cmdstat_config|resetstat:calls=1,usec=,usec_per_call=,rejected_calls=0,failed_calls=0"]
    );
    assert!(section(&mut client, "errorstats").is_empty());
}

/// The lines of a reply, numbers of times and counts in place of themselves.
fn shape(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    // The buckets depend on time; that they are pairs of rising numbers is checked elsewhere.
    while let Some(at) = lines.iter().position(|line| line == "histogram_usec") {
        let end = lines[at + 2..]
            .iter()
            .position(|line| !line.starts_with(':'))
            .map_or(lines.len(), |end| at + 2 + end);
        assert!((end - at - 2).is_multiple_of(2), "{text}");
        lines.splice(at..end, ["(buckets)".to_owned()]);
    }
    lines
}

/// The buckets of the first command of a reply.
fn buckets(reply: &[u8]) -> Vec<(u64, u64)> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let (_, rest) = text.split_once("histogram_usec\r\n").unwrap();
    let numbers = rest
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix(':'));
    let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
    numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

#[test]
fn latency_histogram_has_the_form_of_redis() {
    let [alone, server] = [RedisServer::start(), RedisServer::start()];
    let proxy = single(&Pool::of([&server]));
    let (mut direct, mut client) = (alone.client(), proxy.client());
    for version in [2, 3] {
        for one in [&mut direct, &mut client] {
            one.ask(&format!("HELLO {version}"));
            converse(one);
        }
        for request in [
            "LATENCY HISTOGRAM get",
            "LATENCY HISTOGRAM GET nosuch set",
            "LATENCY HISTOGRAM object|encoding",
            "LATENCY HISTOGRAM object",
            "LATENCY HISTOGRAM hset",
            "LATENCY HISTOGRAM nosuch",
        ] {
            let (theirs, ours) = (direct.ask(request), client.ask(request));
            assert_eq!(shape(&ours), shape(&theirs), "{request} in RESP{version}");
        }
        // In what order commands come is not defined.
        let [theirs, ours] = [&mut direct, &mut client].map(|one| {
            let all = shape(&one.ask("LATENCY HISTOGRAM"));
            all.into_iter().collect::<BTreeSet<_>>()
        });
        assert_eq!(ours, theirs, "RESP{version}");
        let gets = buckets(&client.ask("LATENCY HISTOGRAM get"));
        assert_eq!(gets.last().map(|(_, below)| *below), Some(3), "{gets:?}");
        assert!(gets.is_sorted_by(|one, next| one.0 < next.0 && one.1 < next.1));
    }
}

/// The count of a line of a section that begins so.
fn count(lines: &BTreeSet<String>, start: &str) -> Option<u64> {
    let line = lines.iter().find_map(|line| line.strip_prefix(start))?;
    line.trim_start_matches(":count=").parse().ok()
}

#[test]
fn codes_of_errors_are_bounded_in_number() {
    let server = RedisServer::start();
    let proxy = single(&Pool::of([&server]));
    let mut client = proxy.client();
    for n in 0..140 {
        let script = format!("return redis.error_reply('E{n} #:invented')");
        client.send(&command(&["EVAL", &script, "1", "k"]));
        let reply = client.reply();
        assert!(
            reply.starts_with(format!("-E{n} ").as_bytes()),
            "{}",
            reply.escape_ascii()
        );
    }
    client.ask("GET");
    let lines = section(&mut client, "errorstats");
    // Those of Redis itself come on top.
    assert_eq!(lines.len(), 128 + 2);
    assert_eq!(count(&lines, "errorstat_ERR"), Some(1));
    assert_eq!(
        count(&lines, "errorstat_ERRORSTATS_OVERFLOW"),
        Some(140 - 128)
    );
    assert_eq!(count(&lines, "errorstat_E0"), Some(1));
}

#[test]
fn split_request_is_one_call_of_its_command() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let proxy = single(&Pool::of(&servers));
    let mut client = proxy.client();
    let keys: Vec<_> = (0..20).map(|n| format!("k{n}")).collect();
    client.ask(&format!("MGET {}", keys.join(" ")));
    client.ask("KEYS *");
    let lines = section(&mut client, "commandstats");
    let titles: Vec<_> = lines
        .iter()
        .map(|line| line.split(",usec").next().unwrap())
        .collect();
    assert_eq!(titles, ["cmdstat_keys:calls=1", "cmdstat_mget:calls=1"]);
    // Those that the proxy answers are no part of the latency of the pool.
    assert_eq!(
        proxy.metric("ringroad_pool_latency_seconds_count{pool=\"p\"}"),
        2
    );
}

#[test]
fn requests_without_an_answer_are_failed_calls() {
    let server = RedisServer::start();
    let proxy = single(&Pool::of([&server]).with("server_retry_timeout", 1));
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k v"), b"+OK\r\n");
    drop(server);
    for request in ["GET k", "MGET k l"] {
        let reply = client.ask(request);
        assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii());
    }
    let lines = section(&mut client, "commandstats");
    for start in [
        "cmdstat_get:calls=1,usec=,usec_per_call=,rejected_calls=0,failed_calls=1",
        "cmdstat_mget:calls=1,usec=,usec_per_call=,rejected_calls=0,failed_calls=1",
        "cmdstat_set:calls=1,usec=,usec_per_call=,rejected_calls=0,failed_calls=0",
    ] {
        assert!(lines.contains(start), "{start} in {lines:?}");
    }
    let errors = section(&mut client, "errorstats");
    assert_eq!(count(&errors, "errorstat_ERR"), Some(2));
}

#[test]
fn memcached_commands_are_counted_too() {
    let server = Memcached::start();
    let proxy = single(&Pool::memcached([&server]));
    let mut client = proxy.client();
    client.send(b"set k 0 0 1\r\nv\r\nget k\r\nget k l m\r\nincr k 1\r\nfoo\r\n");
    client.read_until(b"ERROR\r\n");
    for (class, calls) in [("read", 2), ("write", 2)] {
        let series =
            format!("ringroad_pool_command_latency_seconds_count{{pool=\"p\",class=\"{class}\"}}");
        assert_eq!(proxy.metric(&series), calls, "{class}");
    }
    assert_eq!(
        proxy.metric("ringroad_pool_refusals_total{pool=\"p\",reason=\"unknown_command\"}"),
        1
    );
}
