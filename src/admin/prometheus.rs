//! Prometheus text, format 0.0.4, written from a snapshot with the formatter of `metrics-exporter-prometheus`.
//!
//! The recorder of that crate is not used: it keeps its own copies of values that are already summed, prints them in
//! the order of a hash map, and needs every latency one by one to build a histogram with a rounded sum. The snapshot
//! has exact counts and sums, in the order of the table.

use std::time::Duration;

use metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{
    write_help_line, write_metric_line, write_type_line,
};

use super::process::Process;
use crate::stats::{
    Descriptor, HistogramCounts, Kind, Metric, PoolMetric, ProcessMetric, ServerMetric, Snapshot,
    Values,
};

/// The range of the exported bounds, two per octave. Four, and those outside, would double the text and show nothing
/// that an operator would act on.
const SHOWN_MICROS: std::ops::RangeInclusive<u64> = 32..=1 << 24;

/// Renders all metrics.
pub(super) fn render(snapshot: &Snapshot, process: &Process) -> String {
    let mut out = String::new();
    for row in ProcessMetric::TABLE {
        if let Some(value) = process.value(row.metric) {
            let name = head(&mut out, row);
            let labels = match row.metric {
                ProcessMetric::BuildInfo => labels([("version", env!("CARGO_PKG_VERSION"))]),
                _ => labels([]),
            };
            write_metric_line(&mut out, &name, None, &labels, NO_LABEL, value, None);
        }
    }
    let pools = snapshot
        .pools()
        .map(|(pool, values)| (labels([("pool", pool)]), &values.values));
    family::<PoolMetric, _>(
        &mut out,
        &pools.collect::<Vec<_>>(),
        "Time from accepting a request to the end of its reply.",
    );
    let servers = snapshot
        .servers()
        .map(|(pool, server, values)| (labels([("pool", pool), ("server", server)]), values));
    family::<ServerMetric, _>(
        &mut out,
        &servers.collect::<Vec<_>>(),
        "Time from queueing a request for the server to the end of its reply.",
    );
    out
}

const NO_LABEL: Option<(&str, &str)> = None;

#[expect(
    clippy::default_trait_access,
    reason = "the type belongs to a dependency of that crate"
)]
fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> LabelSet {
    let labels = labels.map(|(key, value)| Label::new(key, value.to_owned()));
    LabelSet::from_key_and_global(&Key::from_parts("", labels.to_vec()), &Default::default())
}

/// Writes the HELP and TYPE lines of a metric, and returns its name.
fn head<M: Metric>(out: &mut String, row: &Descriptor<M>) -> String {
    let name = row.prometheus_name(M::PREFIX);
    let kind = match row.kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Timestamp => "gauge",
    };
    write_help_line(out, &name, None, None, row.help);
    write_type_line(out, &name, None, None, kind);
    name
}

fn family<M: Metric, const N: usize>(
    out: &mut String,
    members: &[(LabelSet, &Values<M, N>)],
    latency_help: &str,
) {
    for row in M::TABLE {
        let name = head(out, row);
        for (labels, values) in members {
            let value = values.get(row.metric);
            match row.kind {
                Kind::Counter => write_metric_line(out, &name, None, labels, NO_LABEL, value, None),
                Kind::Gauge => {
                    let value = value.cast_signed();
                    write_metric_line(out, &name, None, labels, NO_LABEL, value, None);
                }
                Kind::Timestamp => {
                    write_metric_line(out, &name, None, labels, NO_LABEL, seconds(value), None);
                }
            }
        }
    }
    let name = format!("{}latency_seconds", M::PREFIX);
    write_help_line(out, &name, None, None, latency_help);
    write_type_line(out, &name, None, None, "histogram");
    for (labels, values) in members {
        histogram(out, &name, labels, &values.latency);
    }
}

fn histogram(out: &mut String, name: &str, labels: &LabelSet, counts: &HistogramCounts) {
    let mut below = 0;
    for (bound, count) in counts.buckets() {
        below += count;
        if let Some(bound) = bound.filter(|bound| is_shown(*bound)) {
            let le = Some(("le", seconds(bound)));
            write_metric_line(out, name, Some("bucket"), labels, le, below, None);
        }
    }
    let le = Some(("le", "+Inf"));
    write_metric_line(out, name, Some("bucket"), labels, le, below, None);
    let sum = seconds(counts.sum_micros());
    write_metric_line(out, name, Some("sum"), labels, NO_LABEL, sum, None);
    write_metric_line(out, name, Some("count"), labels, NO_LABEL, below, None);
}

/// Returns true if a bound is a power of two, or half an octave above one.
fn is_shown(micros: u64) -> bool {
    SHOWN_MICROS.contains(&micros) && micros.trailing_zeros() + 1 >= micros.ilog2()
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stats::{Histogram, Latency, PoolSnapshot, StatsLayout};

    fn text(count: impl FnOnce(&mut PoolSnapshot)) -> String {
        let layout = StatsLayout::new([("alpha", ["one", "t\"wo"])]);
        let mut snapshot = Snapshot::zero(Arc::new(layout));
        count(&mut snapshot.pools[0]);
        snapshot.set_of_server(
            "alpha",
            "one",
            ServerMetric::ServerEjectedAt,
            1_795_241_940_250_000,
        );
        let process = Process {
            workers: 2,
            uptime: Duration::from_millis(1500),
            connections: snapshot.connections(),
        };
        render(&snapshot, &process)
    }

    #[test]
    fn every_metric_kind_is_valid_prometheus_text() {
        let text = text(|pool| {
            pool.values.set(PoolMetric::ClientBytesIn, u64::MAX);
            pool.servers[1].set(ServerMetric::OutQueue, 4);
        });
        for block in [
            "# TYPE ringroad_workers gauge\nringroad_workers 2\n",
            "# TYPE ringroad_uptime_seconds gauge\nringroad_uptime_seconds 1.5\n",
            "# HELP ringroad_pool_client_bytes_in_total Bytes read from clients.\n\
             # TYPE ringroad_pool_client_bytes_in_total counter\n\
             ringroad_pool_client_bytes_in_total{pool=\"alpha\"} 18446744073709551615\n",
            "# TYPE ringroad_server_out_queue gauge\n\
             ringroad_server_out_queue{pool=\"alpha\",server=\"one\"} 0\n\
             ringroad_server_out_queue{pool=\"alpha\",server=\"t\\\"wo\"} 4\n",
            "ringroad_server_ejected_at_seconds{pool=\"alpha\",server=\"one\"} 1795241940.25\n",
        ] {
            assert!(text.contains(block), "{block} is not in {text}");
        }
    }

    #[test]
    fn buckets_are_cumulative_and_the_sum_is_exact() {
        let histogram = Histogram::default();
        for micros in [0, 31, 32, 47, 48, 1 << 24, 1 << 40] {
            histogram.record(Latency::of(Duration::from_micros(micros)));
        }
        let text = text(|pool| pool.values.latency = histogram.counts());
        let series = "ringroad_pool_latency_seconds";
        for line in [
            format!("{series}_bucket{{pool=\"alpha\",le=\"0.000032\"}} 2"),
            format!("{series}_bucket{{pool=\"alpha\",le=\"0.000048\"}} 4"),
            format!("{series}_bucket{{pool=\"alpha\",le=\"0.000064\"}} 5"),
            format!("{series}_bucket{{pool=\"alpha\",le=\"16.777216\"}} 5"),
            format!("{series}_bucket{{pool=\"alpha\",le=\"+Inf\"}} 7"),
            format!("{series}_sum{{pool=\"alpha\"}} 1099528.40515"),
            format!("{series}_count{{pool=\"alpha\"}} 7"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }
}
