//! Prometheus text, format 0.0.4, written from a snapshot with the formatter of `metrics-exporter-prometheus`.
//!
//! The recorder of that crate is not used: it keeps its own copies of values that are already summed, prints them in
//! the order of a hash map, and needs every latency one by one to build a histogram with a rounded sum. The snapshot
//! has exact counts and sums, in the order of the table.

mod details;
mod lines;

use metrics_exporter_prometheus::LabelSet;

use super::process::Process;
use crate::stats::{
    Kind, Metric, POOL_LATENCY, PoolMetric, ProcessMetric, REPLY_WAIT, SERVER_LATENCY,
    ServerMetric, Snapshot, Values, WRITE_WAIT,
};
use lines::{head, histogram, labels, line, seconds};

/// Renders all metrics.
pub(super) fn render(snapshot: &Snapshot, process: &Process) -> String {
    let mut out = String::new();
    for row in ProcessMetric::TABLE {
        if let Some(value) = process.value(row.metric) {
            let name = row.prometheus_name(ProcessMetric::PREFIX);
            head(&mut out, &name, kind(row.kind), row.help);
            let labels = match row.metric {
                ProcessMetric::BuildInfo => labels([("version", env!("CARGO_PKG_VERSION"))]),
                _ => labels([]),
            };
            line(&mut out, &name, &labels, value);
        }
    }
    let pools = snapshot
        .pools()
        .map(|(pool, values)| (labels([("pool", pool)]), &values.values));
    let pools: Vec<_> = pools.collect();
    family::<PoolMetric, _>(&mut out, &pools, [POOL_LATENCY, REPLY_WAIT]);
    details::write(&mut out, snapshot);
    let servers = snapshot
        .servers()
        .map(|(pool, server, values)| (labels([("pool", pool), ("server", server)]), values));
    let servers: Vec<_> = servers.collect();
    family::<ServerMetric, _>(&mut out, &servers, [SERVER_LATENCY, WRITE_WAIT]);
    out
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Millis | Kind::Timestamp => "gauge",
    }
}

/// Writes the metrics of a table, and the histograms of latencies and of waits in the proxy.
fn family<M: Metric, const N: usize>(
    out: &mut String,
    members: &[(LabelSet, &Values<M, N>)],
    [latency, wait]: [(&str, &str); 2],
) {
    for row in M::TABLE {
        let name = row.prometheus_name(M::PREFIX);
        head(out, &name, kind(row.kind), row.help);
        for (labels, values) in members {
            let value = values.get(row.metric);
            match row.kind {
                Kind::Counter => line(out, &name, labels, value),
                Kind::Gauge => line(out, &name, labels, value.cast_signed()),
                Kind::Millis => line(out, &name, labels, seconds(value.saturating_mul(1000))),
                Kind::Timestamp => line(out, &name, labels, seconds(value)),
            }
        }
    }
    let (name, help) = latency;
    head(out, name, "histogram", help);
    for (labels, values) in members {
        histogram(out, name, labels, &values.latency);
    }
    let (name, help) = wait;
    head(out, name, "histogram", help);
    for (labels, values) in members {
        histogram(out, name, labels, &values.wait);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::journal::LastLoad;
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
            last_load: LastLoad::default(),
            stats_tls_ends: None,
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
