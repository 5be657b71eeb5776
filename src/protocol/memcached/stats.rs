//! `stats`: the proxy's own counters, of all workers, in memcached's lines.

use std::fmt::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};

use crate::observe::SlowLog;
use crate::stats::{Metric, PoolMetric, PoolStatsView, ServerMetric};

/// The emulated version of memcached, reported to clients that check a server's features.
pub const MEMCACHED_VERSION: &str = "1.6.18";

/// The protocol's settings of a pool.
#[derive(Debug)]
pub struct Settings {
    /// The pool's name.
    pub pool: String,
    /// When the proxy started.
    pub started: Instant,
    /// The pool's counters.
    pub stats: Rc<PoolStatsView>,
    /// The requests that took longest.
    pub slow_log: Arc<SlowLog>,
    /// The duration from which requests are logged.
    pub slow_from: Duration,
}

/// Writes the counters. Where memcached has the same counter, the name is memcached's; all others have the names of the
/// stats port, summed over the servers.
pub(super) fn write(settings: &Settings, out: &mut BytesMut) {
    let pool = settings.stats.of_pool();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    line("pid", std::process::id(), out);
    line("uptime", settings.started.elapsed().as_secs(), out);
    line("time", now.map_or(0, |now| now.as_secs()), out);
    line("version", MEMCACHED_VERSION, out);
    line("pointer_size", usize::BITS, out);
    for (name, metric) in [
        ("curr_connections", PoolMetric::ClientConnections),
        ("total_connections", PoolMetric::ClientAccepted),
        ("rejected_connections", PoolMetric::ClientRejected),
        ("bytes_read", PoolMetric::ClientBytesIn),
        ("bytes_written", PoolMetric::ClientBytesOut),
    ] {
        line(name, pool.values.get(metric), out);
    }
    line("ringroad_version", env!("CARGO_PKG_VERSION"), out);
    line("ringroad_pool", &settings.pool, out);
    line("servers", pool.servers.len(), out);
    for row in PoolMetric::TABLE {
        line(row.name, pool.values.get(row.metric), out);
    }
    let summed =
        |row: &&crate::stats::Descriptor<ServerMetric>| row.metric != ServerMetric::ServerEjectedAt;
    for row in ServerMetric::TABLE.iter().filter(summed) {
        line(row.name, pool.of_servers(row.metric), out);
    }
    out.put_slice(b"END\r\n");
}

fn line(name: &str, value: impl fmt::Display, out: &mut BytesMut) {
    // Writing to a growable buffer cannot fail.
    let _ = write!(out, "STAT {name} {value}\r\n");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stats::{Snapshot, StatsLayout};

    #[test]
    fn stats_use_memcached_names() {
        let layout = Arc::new(StatsLayout::new([
            ("alpha", vec!["a"]),
            ("beta", vec!["b", "c"]),
        ]));
        let mut snapshot = Snapshot::zero(layout);
        let beta = &mut snapshot.pools[1];
        beta.values.set(PoolMetric::ClientConnections, 7);
        beta.values.set(PoolMetric::ClientBytesIn, 512);
        beta.servers[0].set(ServerMetric::Requests, 3);
        beta.servers[1].set(ServerMetric::Requests, 4);
        beta.gone.set(ServerMetric::Requests, 5);
        let settings = Settings {
            slow_log: Arc::default(),
            slow_from: Duration::MAX,
            pool: "beta".to_owned(),
            started: Instant::now(),
            stats: Rc::new(PoolStatsView {
                pool: "beta".to_owned(),
                snapshot: Box::new(move || snapshot.clone()),
                ..PoolStatsView::default()
            }),
        };
        let mut out = BytesMut::new();
        write(&settings, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        for expected in [
            "STAT version 1.6.18\r\n",
            "STAT curr_connections 7\r\n",
            "STAT bytes_read 512\r\n",
            "STAT ringroad_pool beta\r\n",
            "STAT servers 2\r\n",
            "STAT requests 12\r\n",
        ] {
            assert!(text.contains(expected), "{expected:?} in {text}");
        }
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("STAT ")?.split(' ').next())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
        assert!(text.ends_with("\r\nEND\r\n"));
    }
}
