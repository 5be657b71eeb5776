//! The table as text, for `-D` and for the documentation.

use std::fmt::Write as _;

use super::{
    COMMAND_LATENCY, CommandMetric, ERROR_REPLIES, Kind, Metric, POOL_LATENCY, PoolMetric,
    ProcessMetric, REFUSALS, REPLY_WAIT, RefusalReason, SERVER_LATENCY, ServerMetric, TLS_EXPIRY,
    USER_REFUSALS, WRITE_WAIT,
};

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
    out.push_str("\n## Latency\n\n");
    named(
        &mut out,
        "histogram",
        [POOL_LATENCY, REPLY_WAIT, SERVER_LATENCY, WRITE_WAIT],
    );
    out.push_str(LATENCY);
    named(&mut out, "histogram", [COMMAND_LATENCY]);
    for metric in CommandMetric::ALL {
        let _ = writeln!(out, "| `{}` | counter | {} |", metric.name(), metric.help());
    }
    out.push_str(REASONS);
    for reason in RefusalReason::ALL {
        let _ = writeln!(out, "| `{}` | {} |", reason.name(), reason.help());
    }
    out.push('\n');
    named(
        &mut out,
        "counter",
        [REFUSALS, USER_REFUSALS, ERROR_REPLIES],
    );
    out.push_str(TLS);
    named(&mut out, "gauge", [TLS_EXPIRY]);
    section::<ProcessMetric>(&mut out, "Process");
    out.push_str(SERIES);
    let (of_process, of_pool) = (
        ProcessMetric::TABLE.len(),
        PoolMetric::COUNT + RefusalReason::ALL.len() + 1,
    );
    let (of_command, of_server) = (CommandMetric::ALL.len(), ServerMetric::COUNT);
    let example = of_process + of_pool + 42 * 7 + of_command * 40 + 16 * (of_server + 42 * 2);
    let _ = writeln!(
        out,
        "```\n{of_process} + P * ({of_pool} + 42 * (2 + K) + {of_command} * C) + S * ({of_server} + 42 * 2)\n```\n\nseries: \
         {example} for one pool of 16 servers whose clients use 40 commands of 5 classes.",
    );
    out.push_str(TOP_LEVEL);
    out
}

const TLS: &str = "\n## TLS\n\nOne series for each file of certificates of a pool, with the label `file`. See [tls.md](tls.md).\n\n";

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
Latencies are measured in whole microseconds. Counts and sums are exact; the buckets double every second step, from
32 microseconds to 16.8 seconds.

The time of a request has three parts:

```
accepted = queued ---- write_wait ---- written ---- network and server ---- read ---- reply_wait ---- written
|------------------------------ latency ------------------------------------|
```

`latency` without `write_wait` is the time at the server and in the network; the two waits are the time in the proxy. They are
measured for some requests only, so that they cost nothing: compare percentiles and means, not counts.

## Commands

A command is counted under the label `command`, in small letters; a subcommand is `parent|name`. The classes are `read`, `write`,
`blocking`, `transaction`, `script`, `pubsub`, `admin` and `other`. `ringroad ctl commands` shows the same.
[operations.md](operations.md#counts-by-command) says what is a call.

";

const REASONS: &str = "
## Refused requests

The values of the label `reason`; `ringroad ctl refusals` lists the commands.

| reason | meaning |
|---|---|
";

const SERIES: &str = "
## Number of series

A histogram has 42 series. With P pools, S servers in all pools, and in each pool C commands that were used (at most those of
[commands.md](commands.md)) of K classes (at most 8), `/metrics` has at most the following, and a few for each certificate and
each row of `user_quotas`:

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

fn named<const N: usize>(out: &mut String, kind: &str, all: [(&str, &str); N]) {
    out.push_str("| `/metrics` | kind | meaning |\n|---|---|---|\n");
    for (name, help) in all {
        let _ = writeln!(out, "| `{name}` | {kind} | {help} |");
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
            Kind::Millis => "gauge; milliseconds in `INFO`",
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
