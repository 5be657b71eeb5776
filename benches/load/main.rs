//! A load generator for Redis and memcached, cheap enough to share a core with the servers: one thread, requests
//! formatted once, one read and one write for each pipeline. `cargo bench --bench load -- --help`.
//!
//! It prints one line of JSON. Error replies and misses are counted; a malformed reply ends the run with a failure.

mod client;
mod engine;
mod latency;
mod reply;
mod request;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use crate::engine::{Engine, Failure, Outcome, Pace};
use crate::latency::Latencies;
use crate::request::{Keys, Protocol, Template, Workload};

#[derive(Debug, Parser)]
#[command(about = "Load generator for Redis and memcached; prints one line of JSON")]
struct Arguments {
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    #[arg(long)]
    port: u16,
    #[arg(long, value_enum)]
    protocol: Protocol,
    #[arg(long, value_enum)]
    workload: Workload,
    /// Connections
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Requests that a connection may have in flight
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pipeline: u32,
    /// Number of keys of an mget
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    keys: u32,
    /// Number of different keys
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=999_999_999_999))]
    key_space: u64,
    /// Prefix of all keys; twelve digits follow
    #[arg(long, default_value = "key:")]
    prefix: String,
    /// Use the keys in sequence instead of randomly
    #[arg(long)]
    in_turn: bool,
    /// Size of a value in bytes, for set
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Number of requests
    #[arg(long, required_unless_present = "seconds", conflicts_with = "seconds")]
    requests: Option<u64>,
    /// Duration of the run in seconds
    #[arg(long)]
    seconds: Option<f64>,
    /// Open loop: as many requests a second, whether or not the earlier ones are answered
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// Cargo passes this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // A plain `cargo bench` starts this too, without a target.
    if std::env::args()
        .skip(1)
        .all(|argument| argument == "--bench")
    {
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let result = run(&arguments).and_then(|outcome| report(&outcome, arguments.rate.is_some()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nowhere to report a closed standard error.
            let _ = writeln!(io::stderr(), "load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let keys_per_request = match arguments.workload {
        Workload::Get | Workload::Set => 1,
        Workload::Mget => arguments.keys,
    };
    let template = Template::new(
        arguments.protocol,
        arguments.workload,
        &arguments.prefix,
        keys_per_request as usize,
        arguments.value_bytes,
    )?;
    let keys = if arguments.in_turn {
        Keys::InTurn {
            next: 0,
            of: arguments.key_space,
        }
    } else {
        Keys::Drawn(arguments.key_space)
    };
    let engine = Engine::connect(
        SocketAddr::new(arguments.host, arguments.port),
        arguments.protocol,
        keys_per_request.into(),
        arguments.clients as usize,
        arguments.pipeline as usize,
        (template, keys),
    )?;
    let time = Duration::try_from_secs_f64(arguments.seconds.unwrap_or_default())
        .map_err(io::Error::other)?;
    engine.run(|started| match (arguments.rate, arguments.requests) {
        (Some(rate), requests) => {
            let interval = Duration::from_nanos(1_000_000_000 / rate);
            let in_time =
                u64::try_from(time.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX);
            Pace::Open {
                requests: requests.unwrap_or(in_time),
                interval,
            }
        }
        (None, Some(requests)) => Pace::Closed {
            requests,
            until: None,
        },
        (None, None) => Pace::Closed {
            requests: u64::MAX,
            until: Some(started + time),
        },
    })
}

fn report(outcome: &Outcome, open: bool) -> Result<(), Failure> {
    let seconds = outcome.elapsed.as_secs_f64();
    let tally = outcome.tally;
    let mut report = json!({
        "requests": tally.replies,
        "seconds": round(seconds, 1e6),
        "rps": rate(tally.replies, seconds),
        "errors": tally.errors,
        "misses": tally.misses,
        "latency_us": percentiles(&outcome.latencies),
    });
    if open && let Some(fields) = report.as_object_mut() {
        fields.insert("delay_us".to_owned(), percentiles(&outcome.delays));
    }
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}

fn percentiles(latencies: &Latencies) -> serde_json::Value {
    let micros = |time: Duration| round(time.as_secs_f64() * 1e6, 10.0);
    json!({
        "p50": micros(latencies.quantile(500)),
        "p99": micros(latencies.quantile(990)),
        "p99.9": micros(latencies.quantile(999)),
        "max": micros(latencies.longest()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2^53 requests")]
fn rate(requests: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        round(requests as f64 / seconds, 10.0)
    } else {
        0.0
    }
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
