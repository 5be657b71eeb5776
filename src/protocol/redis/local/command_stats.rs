//! The counts by command and by error in Redis's forms: three sections of `INFO`, and `LATENCY HISTOGRAM`.
//!
//! The calls of a command are the requests of clients, whatever the proxy made of them: one call of MGET, not one for each
//! server. Their time is that from the acceptance of the request to the end of the reply.

use std::fmt::{Display, Formatter};

use crate::protocol::redis::command::Command;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::settings::Settings;
use crate::stats::{CommandCount, HistogramCounts, PoolDetails};

/// The percentiles of `INFO latencystats`, per thousand, with their names: Redis's default.
const PERCENTILES: [(u64, &str); 3] = [(500, "p50"), (990, "p99"), (999, "p99.9")];

/// The exponent of the first bound of `LATENCY HISTOGRAM`, in nanoseconds.
const FIRST_BOUND: u32 = 10;

/// The characters that would make a line of `INFO` ambiguous, as Redis replaces them.
const UNSAFE: [char; 4] = ['#', ':', '\n', '\r'];

/// The lines of `INFO commandstats`: names and values.
pub(crate) fn command_lines(counted: &PoolDetails) -> impl Iterator<Item = (String, String)> {
    let all = counted.commands.by_name().into_iter();
    all.filter(|(name, _)| !name.is_empty())
        .map(|(name, count)| {
            let (calls, usec) = (count.calls(), count.latency.sum_micros());
            let value = format!(
                "calls={calls},usec={usec},usec_per_call={},rejected_calls={},failed_calls={}",
                Mean(usec, count.latency.count()),
                count.rejected,
                count.failures(),
            );
            (format!("cmdstat_{}", name.to_ascii_lowercase()), value)
        })
}

/// The lines of `INFO errorstats`.
pub(crate) fn error_lines(counted: &PoolDetails) -> Vec<(String, String)> {
    let all = counted.errors.by_name().into_iter();
    let line = |(code, count): (&str, u64)| {
        let code = code.replace(UNSAFE, "_");
        (format!("errorstat_{code}"), format!("count={count}"))
    };
    all.map(line).collect()
}

/// The lines of `INFO latencystats`. A percentile is the upper bound of its bucket, or the last bound there is.
pub(crate) fn latency_lines(counted: &PoolDetails) -> impl Iterator<Item = (String, String)> {
    measured(counted).into_iter().map(|(name, count)| {
        let values = PERCENTILES.map(|(per_thousand, title)| {
            let bound = count.latency.quantile(per_thousand);
            let micros = bound.map_or(HistogramCounts::LAST_BOUND, |bound| bound.as_micros());
            format!("{title}={micros}.000")
        });
        let name = name.to_ascii_lowercase();
        (format!("latency_percentiles_usec_{name}"), values.join(","))
    })
}

/// `LATENCY HISTOGRAM [command ...]`: the latencies of these commands, or of all, cumulative in the buckets of Redis. Unknown
/// and unused ones are omitted; a command stands for its subcommands.
pub(crate) fn histogram(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let counted = counted(settings);
    let all = measured(&counted);
    let mut requested = args.skip(2).peekable();
    let shown: Vec<_> = if requested.peek().is_none() {
        all
    } else {
        requested.flat_map(|name| named(name, &all)).collect()
    };
    reply.map(shown.len());
    for (name, count) in shown {
        reply.bulk(name.to_ascii_lowercase());
        reply.map(2);
        reply.bulk("calls");
        reply.integer(count.latency.count());
        reply.bulk("histogram_usec");
        let steps = steps(&count.latency);
        reply.map(steps.len());
        for (bound, below) in steps {
            reply.integer(bound);
            reply.integer(below);
        }
    }
}

/// The counts of the pool since the last `CONFIG RESETSTAT`.
pub(crate) fn counted(settings: &Settings) -> PoolDetails {
    let mut details = settings.stats.of_pool().details;
    details.subtract(&settings.shared.reset().details);
    details
}

type Measured<'c> = (&'static str, &'c CommandCount);

/// The commands with latencies, by name.
fn measured(counted: &PoolDetails) -> Vec<Measured<'_>> {
    let all = counted.commands.by_name().into_iter();
    all.filter(|(name, count)| !name.is_empty() && count.latency.count() > 0)
        .collect()
}

/// Those that an argument names.
fn named<'c>(name: &[u8], all: &[Measured<'c>]) -> Vec<Measured<'c>> {
    let row = str::from_utf8(name).ok().and_then(Command::named);
    let rows = row
        .into_iter()
        .flat_map(|row| [row].into_iter().chain(row.subcommands));
    let find = |row: &Command| all.iter().find(|(name, _)| *name == row.name).copied();
    rows.filter_map(find).collect()
}

/// The bounds in whole microseconds below which there are more latencies than below the bound before, and their number.
///
/// Redis's bounds are powers of two of nanoseconds, and those of the proxy of microseconds, up to 3 % less.
fn steps(latency: &HistogramCounts) -> Vec<(u64, u64)> {
    let mut steps = Vec::new();
    let (mut below, mut shown) = (0, 0);
    let mut next = FIRST_BOUND;
    for (bound, count) in latency.buckets() {
        below += count;
        let is_bound = bound.is_none_or(|bound| bound == 1 << (next - FIRST_BOUND));
        if !is_bound {
            continue;
        }
        if below > shown {
            steps.push((redis_bound(next), below));
            shown = below;
        }
        next += 1;
    }
    steps
}

/// The highest value that Redis's histogram, of two significant digits, does not tell from a power of two of nanoseconds.
fn redis_bound(exponent: u32) -> u64 {
    ((1_u64 << exponent) + (1 << (exponent - 7)) - 1) / 1000
}

/// A mean with two decimals; 0 of nothing.
struct Mean(u64, u64);

impl Display for Mean {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let hundredths = u128::from(self.0) * 100;
        let rounded = (hundredths + u128::from(self.1 / 2)).checked_div(self.1.into());
        let rounded = rounded.unwrap_or(0);
        write!(f, "{}.{:02}", rounded / 100, rounded % 100)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::{Histogram, Latency};

    #[test]
    fn bounds_are_those_of_a_redis_server() {
        // As shown by redis-server 7.0.15.
        let shown = [1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113];
        let bounds: Vec<u64> = (0..12).map(|n| redis_bound(FIRST_BOUND + n)).collect();
        assert_eq!(bounds, shown);
    }

    #[test]
    fn steps_are_cumulative_and_only_where_they_rise() {
        let histogram = Histogram::default();
        for micros in [0, 0, 1, 31, 32, 40, 100_000_000] {
            histogram.record(Latency::of(Duration::from_micros(micros)));
        }
        let last = redis_bound(FIRST_BOUND + 27);
        assert_eq!(
            steps(&histogram.counts()),
            [(1, 2), (2, 3), (33, 4), (66, 6), (last, 7)]
        );
        assert!(steps(&HistogramCounts::default()).is_empty());
    }

    #[test]
    fn mean_is_rounded_as_in_redis() {
        for (sum, count, text) in [
            (0, 0, "0.00"),
            (15, 3, "5.00"),
            (23, 2, "11.50"),
            (2, 3, "0.67"),
        ] {
            assert_eq!(Mean(sum, count).to_string(), text);
        }
    }
}
