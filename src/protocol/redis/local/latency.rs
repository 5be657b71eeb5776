//! `LATENCY`: samples of the durations of slow requests, in Redis's format.
//!
//! There are two events: `fast-command` for commands that take constant or logarithmic time, and `command` for the
//! others. As in Redis nothing is sampled unless `latency-monitor-threshold` is set.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::latency::{Event, Series};
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::tunables::Tunable;

/// Rows of a graph.
const ROWS: u64 = 4;

/// `LATENCY LATEST`: the last sample of each event, and the maximum.
pub(crate) fn latest(settings: &Settings, reply: &mut Reply<'_>) {
    let all = settings.shared.latency.lock();
    let known = all.iter().zip(Event::ALL);
    let known: Vec<_> = known
        .filter_map(|(series, event)| Some((event, series.samples.back()?, series.longest)))
        .collect();
    reply.array(known.len());
    for (event, last, longest) in known {
        reply.array(4);
        reply.bulk(event.name());
        reply.integer(last.at);
        reply.integer(last.millis);
        reply.integer(longest);
    }
}

/// `LATENCY HISTORY event`.
pub(crate) fn history(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let all = settings.shared.latency.lock();
    let samples = find_event(args, &*all).map(|(_, series)| &series.samples);
    reply.array(samples.map_or(0, VecDeque::len));
    for sample in samples.into_iter().flatten() {
        reply.array(2);
        reply.integer(sample.at);
        reply.integer(sample.millis);
    }
}

/// `LATENCY RESET [event ...]`.
pub(crate) fn reset(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let names: Vec<&[u8]> = args.skip(2).collect();
    let mut all = settings.shared.latency.lock();
    let mut count = 0;
    for (series, event) in all.iter_mut().zip(Event::ALL) {
        let is_named = names.is_empty() || names.contains(&event.name().as_bytes());
        if is_named && !series.samples.is_empty() {
            *series = Series::default();
            count += 1;
        }
    }
    reply.integer(count);
}

/// `LATENCY GRAPH event`: a column for each sample, the last one to the right.
pub(crate) fn graph(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let name = args.clone().nth(2).unwrap_or_default();
    let all = settings.shared.latency.lock();
    let Some((event, series)) =
        find_event(args, &*all).filter(|(_, series)| !series.samples.is_empty())
    else {
        return reply.error_line(&[b"ERR No samples available for event '", name, b"'"]);
    };
    reply.verbatim(&draw(event, series));
}

/// `LATENCY DOCTOR`: a summary of the samples.
pub(crate) fn doctor(settings: &Settings, reply: &mut Reply<'_>) {
    let mut text = String::new();
    let threshold = settings
        .shared
        .tunables
        .get(Tunable::LatencyMonitorThreshold);
    if threshold == 0 {
        text.push_str(
            "Latency monitoring is off: latency-monitor-threshold is 0. \"CONFIG SET latency-monitor-threshold \
             <milliseconds>\" samples the requests whose servers take that long or longer.\n",
        );
        return reply.verbatim(&text);
    }
    let all = settings.shared.latency.lock();
    for (series, event) in all.iter().zip(Event::ALL) {
        let count = series.samples.len() as u64;
        let sum: u64 = series.samples.iter().map(|sample| sample.millis).sum();
        if let Some(mean) = sum.checked_div(count) {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(
                text,
                "{}: {count} seconds with requests of {threshold} ms or more, average {mean} ms, \
                 maximum {} ms. SLOWLOG GET lists the latest of them; the stats port shows which servers \
                 are slow.",
                event.name(),
                series.longest,
            );
        }
    }
    if text.is_empty() {
        let _ = writeln!(text, "No request took {threshold} ms or more.");
    }
    reply.verbatim(&text);
}

/// The event that a request names.
fn find_event<'a>(mut args: Args<'_>, all: &'a [Series]) -> Option<(Event, &'a Series)> {
    let name = args.nth(2)?;
    let mut known = Event::ALL.into_iter().zip(all);
    known.find(|(event, _)| event.name().as_bytes() == name)
}

fn draw(event: Event, series: &Series) -> String {
    let millis = || series.samples.iter().map(|sample| sample.millis);
    let (high, low) = (millis().max().unwrap_or(0), millis().min().unwrap_or(0));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} - high {high} ms, low {low} ms (all time high {} ms)",
        event.name(),
        series.longest
    );
    text.push_str(&"-".repeat(80));
    text.push('\n');
    for row in (1..=ROWS).rev() {
        let columns = millis().map(|millis| {
            let height = (millis * ROWS).div_ceil(high.max(1)).max(1);
            if height >= row { '#' } else { ' ' }
        });
        text.push_str(columns.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::state::latency::Sample;

    #[test]
    fn latency_graph_has_one_column_per_sample() {
        let samples = [100, 50, 1, 75].map(|millis| Sample { at: 0, millis });
        let series = Series {
            samples: samples.into(),
            longest: 400,
        };
        let text = draw(Event::Command, &series);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "command - high 100 ms, low 1 ms (all time high 400 ms)"
        );
        assert_eq!(lines[2..], ["#", "#  #", "## #", "####"]);
    }
}
