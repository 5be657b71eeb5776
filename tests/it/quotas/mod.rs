//! Quotas of pools and of users.
//!
//! A request of 64 KiB in a pool of 1 KiB per second makes it refuse what follows for a minute, however slow a test is.

mod connections;
mod memory;
mod pools;
mod users;
mod workers;

use std::time::Instant;

use crate::support::{Client, Kind, Launch, Pool, Proxy, show};

const OK: &str = "+OK\r\n";

/// A request that is worth a minute of a kilobyte per second.
fn spend_a_minute(client: &mut Client) {
    let large = "x".repeat(64 << 10);
    client.converse(&[(&format!("SET large {large}"), OK)]);
}

fn proxy_with_workers(pool: &Pool, workers: usize) -> Proxy {
    let launch = Launch {
        args: vec!["--workers".to_owned(), workers.to_string()],
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}

/// The error of a quota, with its text.
fn over(text: &str) -> String {
    format!("-ERR {text}\r\n")
}

/// Sends requests in pipelines for a while. Returns the number that passed, and the seconds that it took; fails if any
/// is refused for another reason.
fn flood(client: &mut Client, request: &str, pipelines: usize) -> (u32, f64) {
    const PIPELINE: usize = 50;
    let began = Instant::now();
    let (mut passed, bytes) = (0, format!("{request}\r\n").repeat(PIPELINE));
    for _ in 0..pipelines {
        client.send(bytes.as_bytes());
        for _ in 0..PIPELINE {
            let reply = client.reply();
            let is_refused = reply.starts_with(b"-");
            passed += u32::from(!is_refused);
            let reply = show(&reply);
            assert!(!is_refused || reply.contains("over its quota"), "{reply}");
        }
    }
    (passed, began.elapsed().as_secs_f64())
}
