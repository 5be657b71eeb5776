//! The tools that come with Redis, through the proxy, as people use them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::{Pool, Proxy, RedisServer, command};

/// The tests that `redis-benchmark` runs by default.
const BENCHMARKS: [&str; 20] = [
    "PING_INLINE",
    "PING_MBULK",
    "SET",
    "GET",
    "INCR",
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "SADD",
    "HSET",
    "SPOP",
    "ZADD",
    "ZPOPMIN",
    "LPUSH (needed to benchmark LRANGE)",
    "LRANGE_100",
    "LRANGE_300",
    "LRANGE_500",
    "LRANGE_600",
    "MSET",
];

#[test]
fn redis_benchmark_runs_its_default_set() {
    let (_servers, proxy) = four();
    for pipeline in ["1", "16"] {
        let args = [
            "-n", "2000", "-c", "20", "-r", "500", "-P", pipeline, "--csv",
        ];
        let output = run(&proxy, "redis-benchmark", &args, "");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        for name in BENCHMARKS {
            let row = text
                .lines()
                .find(|line| line.starts_with(&format!("\"{name}")));
            let row =
                row.unwrap_or_else(|| panic!("{name} is missing with -P {pipeline}:\n{text}"));
            let rate = row
                .split("\",\"")
                .nth(1)
                .and_then(|rate| rate.parse::<f64>().ok());
            assert!(rate.is_some_and(|rate| rate > 0.0), "{row}");
        }
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("WARNING: Could not fetch"),
            "{output:?}"
        );
    }
}

#[test]
fn redis_cli_runs_one_command() {
    let (_servers, proxy) = four();
    for (args, expected) in [
        (&["SET", "a", "hello world"][..], "OK\n"),
        (&["GET", "a"], "hello world\n"),
        (&["MGET", "a", "none"], "hello world\n\n"),
        (&["DEL", "a", "b", "c"], "1\n"),
        (&["PING"], "PONG\n"),
    ] {
        let output = run(&proxy, "redis-cli", args, "");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "redis-cli {args:?}"
        );
    }
}

#[test]
fn redis_cli_reads_commands_from_its_input() {
    let (_servers, proxy) = four();
    let output = run(&proxy, "redis-cli", &[], "set a 1\nincr a\nkeys *\nget a\n");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines, ["OK", "2", "a", "2"], "{text}");
}

#[test]
fn redis_cli_scans_all_servers() {
    let (_servers, proxy) = four();
    for n in 0..100 {
        proxy.ask(&format!("SET key:{n} v"));
    }
    for args in [&["--scan"][..], &["--scan", "--pattern", "key:*"]] {
        let output = run(&proxy, "redis-cli", args, "");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut keys: Vec<_> = text.lines().collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((keys.len(), text.lines().count()), (100, 100), "{args:?}");
    }
}

#[test]
fn redis_cli_is_usable_at_a_terminal() {
    let (_servers, proxy) = four();
    let address = proxy.address();
    let line = format!("redis-cli -h {} -p {}", address.ip(), address.port());
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "dumb");
    let typed = "set greeting hello\nget greeting\nmset a 1 b 2\nmget a b greeting\nquit\n";
    let output = feed(script, typed);
    let text = String::from_utf8_lossy(&output.stdout);
    for expected in ["\"hello\"", "1) \"1\"", "2) \"2\"", "3) \"hello\""] {
        assert!(text.contains(expected), "{expected} is missing in: {text}");
    }
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn redis_cli_pipe_inserts_in_bulk() {
    const KEYS: usize = 20_000;
    let (servers, proxy) = four();
    let requests =
        (0..KEYS).map(|n| command(&["SET".to_owned(), format!("bulk-{n}"), n.to_string()]));
    let requests = String::from_utf8(requests.flatten().collect()).unwrap();
    let output = run(&proxy, "redis-cli", &["--pipe"], &requests);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&format!("errors: 0, replies: {KEYS}")),
        "{output:?}"
    );
    let held: Vec<usize> = servers.iter().map(|server| server.keys().len()).collect();
    assert_eq!(held.iter().sum::<usize>(), KEYS, "{held:?}");
    assert!(held.iter().all(|keys| *keys > KEYS / 20), "{held:?}");
}

fn four() -> ([RedisServer; 4], Proxy) {
    let servers: [RedisServer; 4] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    (servers, proxy)
}

fn run(proxy: &Proxy, program: &str, args: &[&str], input: &str) -> Output {
    let address = proxy.address();
    let mut command = Command::new("timeout");
    command.args([
        "120",
        program,
        "-h",
        &address.ip().to_string(),
        "-p",
        &address.port().to_string(),
    ]);
    command.args(args);
    feed(command, input)
}

fn feed(mut command: Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run `make setup`"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_ne!(
        output.status.code(),
        Some(124),
        "{command:?} hangs: {output:?}"
    );
    output
}
