//! Twemproxy's line of JSON, to the byte: some readers search it with regular expressions.
//!
//! The one difference is that names are escaped, so that the line is always valid JSON.

use std::fmt::Write as _;

use serde_json::Value;

use crate::stats::{Kind, Metric, Snapshot, Values};

/// The process's fields of the line.
#[derive(Debug)]
pub(super) struct Identity<'a> {
    /// Name of the host.
    pub(super) source: &'a str,
    /// Version of the proxy.
    pub(super) version: &'a str,
    /// Seconds since the start.
    pub(super) uptime: u64,
    /// Seconds since the Unix epoch.
    pub(super) timestamp: u64,
}

/// Renders the whole line, LF included. `service` is Twemproxy's own, because monitoring looks for it.
pub(super) fn render(identity: &Identity<'_>, snapshot: &Snapshot) -> String {
    let Identity {
        source,
        version,
        uptime,
        timestamp,
    } = identity;
    let (total, current) = snapshot.connections();
    let mut out = String::new();
    let _ = write!(
        out,
        "{{\"service\":\"nutcracker\", \"source\":{}, \"version\":{}, \"uptime\":{uptime}, \
         \"timestamp\":{timestamp}, \"total_connections\":{total}, \"curr_connections\":{current}",
        Value::from(*source),
        Value::from(*version),
    );
    let mut servers = snapshot.servers().peekable();
    let mut pool_gap = ", ";
    for (pool, values) in snapshot.pools() {
        let _ = write!(out, "{pool_gap}{}: {{", Value::from(pool));
        fields(&mut out, &values.values);
        let mut server_gap = ", ";
        for (_, server, values) in servers.by_ref().take(values.servers.len()) {
            let _ = write!(out, "{server_gap}{}: {{", Value::from(server));
            fields(&mut out, values);
            out.push('}');
            server_gap = ",";
        }
        out.push('}');
        pool_gap = ",";
    }
    out.push_str("}\n");
    out
}

fn fields<M: Metric, const N: usize>(out: &mut String, values: &Values<M, N>) {
    let mut gap = "";
    for row in M::TABLE.iter().filter(|row| row.in_twemproxy()) {
        let value = values.get(row.metric);
        let _ = match row.kind {
            Kind::Gauge | Kind::Millis => {
                write!(out, "{gap}\"{}\":{}", row.name, value.cast_signed())
            }
            Kind::Counter | Kind::Timestamp => write!(out, "{gap}\"{}\":{value}", row.name),
        };
        gap = ", ";
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stats::{PoolMetric, ServerMetric, StatsLayout};

    const IDENTITY: Identity<'_> = Identity {
        source: "vm",
        version: "0.5.0",
        uptime: 7,
        timestamp: 1_795_241_947,
    };

    #[test]
    fn stats_line_matches_twemproxy_byte_for_byte() {
        let layout = StatsLayout::new([
            ("alpha", vec!["server1", "127.0.0.1:17002"]),
            ("beta", vec!["s"]),
        ]);
        let mut snapshot = Snapshot::zero(Arc::new(layout));
        let alpha = &mut snapshot.pools[0];
        alpha.values.set(PoolMetric::ClientEof, 2);
        alpha.values.set(PoolMetric::Fragments, 1);
        alpha.values.set(PoolMetric::RequestsLocal, 1);
        alpha.servers[0].set(ServerMetric::RequestBytes, 96);
        alpha.servers[1].set(ServerMetric::InQueue, 1_u64.wrapping_neg());
        alpha.gone.set(ServerMetric::RequestBytes, 1);
        snapshot.set_of_pool("alpha", PoolMetric::ServerEjects, 3);
        snapshot.set_of_server(
            "alpha",
            "127.0.0.1:17002",
            ServerMetric::ServerEjectedAt,
            1_795_241_940_123_456,
        );

        let expected = concat!(
            r#"{"service":"nutcracker", "source":"vm", "version":"0.5.0", "uptime":7, "#,
            r#""timestamp":1795241947, "total_connections":2, "curr_connections":2, "#,
            r#""alpha": {"client_eof":2, "client_err":0, "client_connections":0, "server_ejects":3, "#,
            r#""forward_error":0, "fragments":1, "#,
            r#""server1": {"server_eof":0, "server_err":0, "server_timedout":0, "#,
            r#""server_connections":0, "server_ejected_at":0, "requests":0, "request_bytes":96, "#,
            r#""responses":0, "response_bytes":0, "in_queue":0, "in_queue_bytes":0, "out_queue":0, "#,
            r#""out_queue_bytes":0},"#,
            r#""127.0.0.1:17002": {"server_eof":0, "server_err":0, "server_timedout":0, "#,
            r#""server_connections":0, "server_ejected_at":1795241940123456, "requests":0, "#,
            r#""request_bytes":0, "responses":0, "response_bytes":0, "in_queue":-1, "#,
            r#""in_queue_bytes":0, "out_queue":0, "out_queue_bytes":0}},"#,
            r#""beta": {"client_eof":0, "client_err":0, "client_connections":0, "server_ejects":0, "#,
            r#""forward_error":0, "fragments":0, "s": {"server_eof":0, "server_err":0, "#,
            r#""server_timedout":0, "server_connections":0, "server_ejected_at":0, "requests":0, "#,
            r#""request_bytes":0, "responses":0, "response_bytes":0, "in_queue":0, "#,
            r#""in_queue_bytes":0, "out_queue":0, "out_queue_bytes":0}}}"#,
            "\n",
        );
        assert_eq!(render(&IDENTITY, &snapshot), expected);
    }

    #[test]
    fn names_are_escaped() {
        let layout = StatsLayout::new([("a\"b", ["back\\slash\n"])]);
        let line = render(&IDENTITY, &Snapshot::zero(Arc::new(layout)));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["a\"b"]["back\\slash\n"]["requests"], 0);
    }
}
