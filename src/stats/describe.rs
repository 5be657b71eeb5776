//! The table as text, for `-D` and for the documentation.

use std::fmt::Write as _;

use super::{Kind, Metric, PoolMetric, ProcessMetric, ServerMetric};

/// The output of `-D` after the version: Twemproxy's two blocks as Twemproxy prints them, then our own.
#[must_use]
pub fn describe() -> String {
    let mut out = String::new();
    block::<PoolMetric>(&mut out, "pool stats", true);
    out.push('\n');
    block::<ServerMetric>(&mut out, "server stats", true);
    out.push('\n');
    block::<PoolMetric>(&mut out, "pool stats, only on /metrics", false);
    out.push('\n');
    block::<ServerMetric>(&mut out, "server stats, only on /metrics", false);
    out
}

/// The text of `docs/stats.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    section::<PoolMetric>(&mut out, "Pools");
    section::<ServerMetric>(&mut out, "Servers");
    out.push_str(LATENCY);
    section::<ProcessMetric>(&mut out, "Process");
    out.push_str(TOP_LEVEL);
    out
}

const INTRODUCTION: &str = "\
# Statistics

<!-- Generated from src/stats/table.rs: RINGROAD_BLESS=1 cargo test --test it stats -->

The stats port (`-a`, `-s`; 0.0.0.0:22222 by default) answers a plain TCP reader with Twemproxy's JSON and
closes; over HTTP it serves the same JSON at `/stats`, Prometheus text at `/metrics`, and `/healthz`. Counts are summed
over all workers at the time of the request. Metrics of a pool carry the label `pool`, those of a server `pool` and
`server`. Where the first column is empty, the metric is on `/metrics` only.

A server that leaves its pool is no longer listed. Its counts remain in what is summed over servers: `total_connections`,
`INFO` and memcached's `stats`. If it returns under its name, it may begin at 0, as after a restart of the proxy.
";

const LATENCY: &str = "
## Latency

| `/metrics` | kind | meaning |
|---|---|---|
| `ringroad_pool_latency_seconds` | histogram | Time from accepting a request to the end of its reply. |
| `ringroad_server_latency_seconds` | histogram | Time from queueing a request for the server to the end of its reply. |

Latencies are measured in whole microseconds. Counts and sums are exact; the buckets double every second step, from
32 microseconds to 16.8 seconds.
";

const TOP_LEVEL: &str = "
The top level of the JSON describes the process: `service` (always `nutcracker`), `source` (the host name),
`version`, `uptime` and `timestamp` in seconds, `total_connections` and `curr_connections` (as the two
`ringroad_connections` metrics above).
";

fn block<M: Metric>(out: &mut String, title: &str, twemproxy: bool) {
    let _ = writeln!(out, "{title}:");
    for row in M::TABLE
        .iter()
        .filter(|row| row.in_twemproxy() == twemproxy)
    {
        let text = row.twemproxy.unwrap_or(row.help);
        let _ = writeln!(out, "  {:<20}\"{text}\"", row.name);
    }
}

fn section<M: Metric>(out: &mut String, title: &str) {
    let _ = write!(
        out,
        "\n## {title}\n\n| JSON | `/metrics` | kind | meaning |\n|---|---|---|---|\n"
    );
    for row in M::TABLE {
        let field = if row.in_twemproxy() {
            format!("`{}`", row.name)
        } else {
            String::new()
        };
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Timestamp => "time; microseconds in the JSON",
        };
        let name = row.prometheus_name(M::PREFIX);
        let _ = writeln!(out, "| {field} | `{name}` | {kind} | {} |", row.help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_starts_with_the_twemproxy_blocks() {
        let twemproxy = r##"pool stats:
  client_eof          "# eof on client connections"
  client_err          "# errors on client connections"
  client_connections  "# active client connections"
  server_ejects       "# times backend server was ejected"
  forward_error       "# times we encountered a forwarding error"
  fragments           "# fragments created from a multi-vector request"

server stats:
  server_eof          "# eof on server connections"
  server_err          "# errors on server connections"
  server_timedout     "# timeouts on server connections"
  server_connections  "# active server connections"
  server_ejected_at   "timestamp when server was ejected in usec since epoch"
  requests            "# requests"
  request_bytes       "total request bytes"
  responses           "# responses"
  response_bytes      "total response bytes"
  in_queue            "# requests in incoming queue"
  in_queue_bytes      "current request bytes in incoming queue"
  out_queue           "# requests in outgoing queue"
  out_queue_bytes     "current request bytes in outgoing queue"

"##;
        let ours = describe().replacen(twemproxy, "", 1);
        assert!(
            ours.starts_with("pool stats, only on /metrics:\n  client_accepted "),
            "{ours}"
        );
        assert!(
            ours.contains("\n\nserver stats, only on /metrics:\n  connects "),
            "{ours}"
        );
    }
}
