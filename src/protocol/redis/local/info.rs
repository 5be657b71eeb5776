//! `INFO`: Redis's fields that apply to the proxy, and the proxy's own. The section `Keyspace` is merged from those of
//! the servers, in [`crate::protocol::redis::merge::info_keyspace`].
//!
//! Unknown fields are omitted, such as keyspace hits.

use std::fmt::{Display, Write};
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::redis::local::command_stats;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::settings::{REDIS_VERSION, Settings};
use crate::stats::process::{cpu_times, resident_bytes};
use crate::stats::{Metric, PoolMetric, PoolSnapshot, Sample, ServerMetric};

/// `INFO [section ...]`. Clients wait for `loading:0`.
pub(crate) fn info(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    reply.verbatim(&text(args, settings));
}

/// Returns true if the section `Keyspace` is requested, which comes from the servers.
pub(crate) fn wants_keyspace(args: Args<'_>) -> bool {
    let mut requested = args.skip(1).peekable();
    requested.peek().is_none() || requested.any(|name| is_wanted("Keyspace", name))
}

fn is_wanted(title: &str, name: &[u8]) -> bool {
    let others = if is_default(title) { 3 } else { 2 };
    ["all", "everything", "default"]
        .iter()
        .take(others)
        .chain([&title])
        .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Returns true for a section of `INFO` without an argument.
fn is_default(title: &str) -> bool {
    !matches!(title, "Commandstats" | "Latencystats")
}

/// The requested sections, except that of the servers.
pub(crate) fn text(args: Args<'_>, settings: &Settings) -> String {
    let mut text = Text::default();
    let requested: Vec<&[u8]> = args.skip(1).collect();
    for (title, write) in SECTIONS {
        let is_requested = if requested.is_empty() {
            is_default(title)
        } else {
            requested.iter().any(|name| is_wanted(title, name))
        };
        if is_requested {
            text.title(title);
            write(settings, &mut text);
        }
    }
    text.0
}

type Section = (&'static str, fn(&Settings, &mut Text));

/// The sections in Redis's order; the last one is the proxy's own.
const SECTIONS: [Section; 13] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Modules", |_, _| {}),
    ("Commandstats", |settings, text| {
        let counted = command_stats::counted(settings);
        text.fields(command_stats::command_lines(&counted));
    }),
    ("Errorstats", |settings, text| {
        let counted = command_stats::counted(settings);
        text.fields(command_stats::error_lines(&counted));
    }),
    ("Latencystats", |settings, text| {
        let counted = command_stats::counted(settings);
        text.fields(command_stats::latency_lines(&counted));
    }),
    ("Cluster", |_, text| text.field("cluster_enabled", 0)),
    ("Ringroad", ringroad),
];

fn server(settings: &Settings, text: &mut Text) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let uptime = settings.started.elapsed().as_secs();
    let uname = rustix::system::uname();
    let os = [uname.sysname(), uname.release(), uname.machine()].map(|part| part.to_string_lossy());
    text.field("redis_version", REDIS_VERSION);
    text.field("redis_mode", "standalone");
    text.field("os", os.join(" "));
    text.field("arch_bits", usize::BITS);
    text.field("multiplexing_api", "epoll");
    text.field("process_id", std::process::id());
    text.field("run_id", &*RUN_ID);
    text.field("tcp_port", settings.port);
    text.field("server_time_usec", now.map_or(0, |now| now.as_micros()));
    text.field("uptime_in_seconds", uptime);
    text.field("uptime_in_days", uptime / 86_400);
    if let Ok(path) = std::env::current_exe() {
        text.field("executable", path.display());
    }
}

fn clients(settings: &Settings, text: &mut Text) {
    let pool = settings.stats.of_pool();
    let connected = pool.values.get(PoolMetric::ClientConnections);
    text.field("connected_clients", connected);
    text.field("cluster_connections", 0);
    if let Some(most) = settings.clients_most {
        text.field("maxclients", most);
    }
    text.field("blocked_clients", settings.shared.clients.blocked());
    text.field("tracking_clients", 0);
}

fn memory(_: &Settings, text: &mut Text) {
    let mut bytes = |name: &str, bytes: u64| {
        text.field(name, bytes);
        text.field(&format!("{name}_human"), Human(bytes));
    };
    if let Some(resident) = resident_bytes() {
        bytes("used_memory_rss", resident);
    }
    let system = rustix::system::sysinfo();
    let total = system.totalram.saturating_mul(system.mem_unit.into());
    bytes("total_system_memory", total);
    bytes("maxmemory", 0);
    text.field("mem_allocator", "jemalloc");
}

fn persistence(_: &Settings, text: &mut Text) {
    text.field("loading", 0);
    text.field("async_loading", 0);
    text.field("rdb_bgsave_in_progress", 0);
    text.field("aof_enabled", 0);
    text.field("aof_rewrite_in_progress", 0);
}

fn stats(settings: &Settings, text: &mut Text) {
    let pool = settings.stats.of_pool();
    let reset = settings.shared.reset();
    let since = |metric, before| pool.values.get(metric).wrapping_sub(before);
    let now = Sample::of(&pool, Instant::now());
    let accepted = since(PoolMetric::ClientAccepted, reset.accepted);
    text.field("total_connections_received", accepted);
    let requests = now.requests.wrapping_sub(reset.requests);
    text.field("total_commands_processed", requests);
    let before = (settings.stats.before)();
    let rates = before.and_then(|before| now.rates_since(&before));
    if let Some(rates) = rates {
        text.field("instantaneous_ops_per_sec", rates.requests);
    }
    let bytes_in = now.bytes_in.wrapping_sub(reset.bytes_in);
    text.field("total_net_input_bytes", bytes_in);
    let bytes_out = now.bytes_out.wrapping_sub(reset.bytes_out);
    text.field("total_net_output_bytes", bytes_out);
    if let Some(rates) = rates {
        let kibibytes = |bytes: u64| Hundredths(bytes.saturating_mul(100) / 1024);
        text.field("instantaneous_input_kbps", kibibytes(rates.bytes_in));
        text.field("instantaneous_output_kbps", kibibytes(rates.bytes_out));
    }
    let rejected = since(PoolMetric::ClientRejected, reset.rejected);
    text.field("rejected_connections", rejected);
}

fn replication(_: &Settings, text: &mut Text) {
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
}

fn cpu(_: &Settings, text: &mut Text) {
    if let Some(times) = cpu_times() {
        text.field("used_cpu_sys", Seconds(times.system.as_micros()));
        text.field("used_cpu_user", Seconds(times.user.as_micros()));
    }
}

/// The counters of the stats port, under its names; those of the servers are summed.
fn ringroad(settings: &Settings, text: &mut Text) {
    let pool: PoolSnapshot = settings.stats.of_pool();
    text.field("ringroad_version", env!("CARGO_PKG_VERSION"));
    text.field("ringroad_pool", &settings.pool);
    text.field("ringroad_servers", pool.servers.len());
    for row in PoolMetric::TABLE {
        text.field(row.name, pool.values.get(row.metric));
    }
    let summed = ServerMetric::TABLE
        .iter()
        .filter(|row| row.metric != ServerMetric::ServerEjectedAt);
    for row in summed {
        text.field(row.name, pool.of_servers(row.metric));
    }
}

/// A random ID of this process.
static RUN_ID: LazyLock<String> = LazyLock::new(|| {
    (0..40)
        .map(|_| char::from_digit(fastrand::u32(..16), 16).unwrap_or('0'))
        .collect()
});

/// The text of the reply.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn title(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.0, "# {title}\r\n");
    }

    fn fields(&mut self, lines: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in lines {
            self.field(&name, value);
        }
    }

    fn field(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
}

/// A number of bytes in Redis's human-readable form: two decimals and a letter.
struct Human(u64);

impl Display for Human {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const LETTERS: [char; 4] = ['K', 'M', 'G', 'T'];
        if self.0 < 1024 {
            return write!(f, "{}B", self.0);
        }
        let mut hundredths = u128::from(self.0) * 100 / 1024;
        let mut letters = LETTERS.into_iter().peekable();
        while let Some(letter) = letters.next() {
            if hundredths < 102_400 || letters.peek().is_none() {
                return write!(f, "{}.{:02}{letter}", hundredths / 100, hundredths % 100);
            }
            hundredths /= 1024;
        }
        Ok(())
    }
}

/// Seconds with microseconds.
struct Seconds(u128);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A number with two decimals.
struct Hundredths(u64);

impl Display for Hundredths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_are_formatted_as_in_redis() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1536, "1.50K"),
            (1 << 20, "1.00M"),
            (16 << 30, "16.00G"),
            (3 << 40, "3.00T"),
            (5000 << 40, "5000.00T"),
        ] {
            assert_eq!(Human(bytes).to_string(), text);
        }
    }
}
