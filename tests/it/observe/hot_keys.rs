//! `ringroad ctl hotkeys`.

use std::fmt::Write as _;

use super::Watched;
use crate::support::{Pool, RedisServer};

const KEYS: u32 = 1_000_000;

/// Numbers of keys by Zipf's law with exponent 1, spread evenly: however many follow each other, each number is among them
/// as often as its share, give or take two.
struct EvenZipf {
    /// The sum of the weights up to each number.
    sums: Vec<f64>,
    turn: f64,
}

impl EvenZipf {
    fn new() -> Self {
        let mut sum = 0.0;
        let sums = (1..=KEYS).map(|number| {
            sum += 1.0 / f64::from(number);
            sum
        });
        Self {
            sums: sums.collect(),
            turn: 0.0,
        }
    }

    /// A pipeline of so many GETs.
    fn pipeline(&mut self, requests: usize) -> String {
        // The fractions of the multiples of the golden ratio are the most even of all.
        let golden = (5_f64.sqrt() - 1.0) / 2.0;
        let mut out = String::new();
        for _ in 0..requests {
            self.turn = (self.turn + golden).fract();
            let at = self.turn * self.sums.last().unwrap();
            let number = self.sums.partition_point(|sum| *sum < at) + 1;
            let key = format!("user:{number}");
            write!(out, "*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).unwrap();
        }
        out
    }
}

fn names(report: &serde_json::Value) -> Vec<&str> {
    let keys = report["pools"][0]["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["key"].as_str().unwrap())
        .collect()
}

#[test]
fn top_ten_of_a_million_keys_are_named() {
    let servers = RedisServer::several::<2>();
    let watched = Watched::start(&Pool::of(&servers));
    let mut zipf = EvenZipf::new();
    let mut client = watched.client();
    let mut send = |requests: usize| {
        for _ in 0..requests / 1000 {
            client.send(zipf.pipeline(1000).as_bytes());
            for _ in 0..1000 {
                assert_eq!(client.reply(), b"$-1\r\n");
            }
        }
    };
    let mut command = watched.command(&["--json", "hotkeys", "--for", "4s"]);
    let exact = std::thread::spawn(move || command.output().unwrap());
    while !exact.is_finished() {
        send(2000);
    }
    let output = exact.join().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    let expected: Vec<_> = (1..=10).map(|number| format!("user:{number}")).collect();
    assert_eq!(names(&report)[..10], expected, "{report}");
    assert_eq!(report["pools"][0]["sampled_one_in"], 1);
    let share = report["pools"][0]["keys"][0]["share"].as_f64().unwrap();
    assert!((share - 1.0 / 14.39).abs() < 0.005, "{report}");

    send(200_000);
    let report = watched.json(&["hotkeys", "p"]);
    assert_eq!(report["pools"][0]["sampled_one_in"], 256);
    let found = names(&report);
    assert_eq!(found.len(), 20);
    for key in &expected[..4] {
        assert!(
            found.contains(&key.as_str()),
            "{key} is not among {found:?}"
        );
    }
}

#[test]
fn all_keys_of_a_request_count() {
    let servers = RedisServer::several::<2>();
    let watched = Watched::start(&Pool::of(&servers));
    let mut client = watched.client();
    let long = "l".repeat(1000);
    for _ in 0..4000 {
        client.ask(&format!("MGET a b {long}"));
        client.ask("PING");
    }
    let report = watched.json(&["hotkeys"]);
    let mut found = names(&report);
    found.sort_unstable();
    assert_eq!(found, ["a", "b", &long[..128]], "{report}");
    for key in report["pools"][0]["keys"].as_array().unwrap() {
        assert_eq!(key["truncated"], key["key"].as_str().unwrap().len() == 128);
    }
    let text = watched.ctl(&["hotkeys", "p", "--count", "1"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("pool p: "), "{text}");
    assert!(lines[0].ends_with("one in 256 of them looked at"), "{text}");
}

#[test]
fn wrong_options_of_hotkeys_are_refused() {
    let server = RedisServer::start();
    let watched = Watched::start(&Pool::of([&server]));
    for (args, message) in [
        (&["hotkeys", "nope"][..], "no pool 'nope'"),
        (
            &["hotkeys", "--for", "21s"],
            "'for_ms' (--for) is not 1 to 20000 ms",
        ),
        (
            &["hotkeys", "--for", "0s"],
            "'for_ms' (--for) is not 1 to 20000 ms",
        ),
        (&["hotkeys", "--for", "5"], "option --for requires a time"),
        (&["hotkeys", "--for=5x"], "option --for requires a time"),
        (
            &["hotkeys", "--count", "x"],
            "option --count requires a number",
        ),
        (&["hotkeys", "p", "q"], "unexpected argument 'q'"),
    ] {
        let output = watched.command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(message),
            "{args:?}: {stderr}"
        );
    }
}
