//! Support for the integration tests: real servers and proxies on their own addresses, a raw client, scripted faults.
//!
//! Every wait is bounded: one that takes longer than [`PATIENCE`] fails its test and names what was awaited. Every
//! process is killed when its value is dropped.

mod address;
mod client;
mod fake;
mod memcached;
mod network;
mod pool;
mod process;
mod program;
mod proxy;
mod redis;
mod resp;
mod sentinel;
mod terminal;
mod text;

use std::time::{Duration, Instant};

pub(crate) use address::fresh_ip;
pub(crate) use client::{Client, Ended};
pub(crate) use fake::{FakeServer, Gate, Peer};
pub(crate) use memcached::Memcached;
pub(crate) use network::Network;
pub(crate) use pool::Pool;
pub(crate) use process::Process;
pub(crate) use program::{run_client, run_client_with};
pub(crate) use proxy::{Kind, Launch, Proxy};
pub(crate) use redis::{Place, RedisServer};
pub(crate) use resp::{array_items, command, reply_len, words};
pub(crate) use sentinel::{Sentinels, Shard, role};
pub(crate) use terminal::Terminal;
pub(crate) use text::answer_len;

/// The longest wait of a test for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until there is an answer; fails after [`PATIENCE`], naming `what` was missing.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The 90th percentile of waits. A busy machine delays one wait now and then, a proxy that is busy with others all.
pub(crate) fn usual_wait(mut waits: Vec<Duration>) -> Duration {
    waits.sort();
    waits[waits.len() * 9 / 10]
}

/// Formats bytes for a test failure.
pub(crate) fn show(bytes: &[u8]) -> String {
    const SHOWN: usize = 300;
    let head = bytes.get(..SHOWN).unwrap_or(bytes).escape_ascii();
    if bytes.len() > SHOWN {
        format!("{head}... ({} bytes)", bytes.len())
    } else {
        head.to_string()
    }
}
