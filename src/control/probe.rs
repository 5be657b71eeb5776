//! Probes of a pool's servers: asks each at an interval whether it works, over a connection of its own.
//!
//! ```text
//! interval --> AUTH, SELECT (on a new connection), PING or mn --answered or not--> TopologyStore: on_probe
//! ```
//!
//! Probes of different servers are spread over the interval: those of a thousand servers come one a millisecond.
//!
//! Invariant: a probe is counted in no statistic that Twemproxy has, and its connection belongs to this task alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{PoolConfig, ProtocolKind};
use crate::net::{Dial, Stream};
use crate::protocol::redis::Redis;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::{ErrorCode, Protocol as _, ReplyClass, UpstreamError};
use crate::topology::{Mark, PoolServer, ServerId, TopologyStore};

/// The shortest time limit of a probe.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest time between the first probes of two servers, so that those of a small pool come soon.
const GAP_MAX: Duration = Duration::from_millis(10);

/// The longest line of a reply.
const LINE_MAX_BYTES: usize = 4 << 10;

/// Probes the servers of a pool, as its configuration says, until it is aborted.
pub async fn probe_servers(store: Arc<TopologyStore>) {
    let mut changes = store.changes();
    let mut tasks: HashMap<ServerId, AbortOnDropHandle<()>> = HashMap::new();
    let mut every = None;
    loop {
        let topology = store.topology();
        let wanted = topology.config.probe_interval();
        tasks.retain(|server, _| wanted == every && topology.index_of(*server).is_some());
        every = wanted;
        if let Some(every) = every {
            let gap = gap(topology.servers().len(), every);
            let mut first = Instant::now();
            for server in topology.servers() {
                tasks.entry(server.id).or_insert_with(|| {
                    let times = (first, every);
                    first += gap;
                    let probes = probe_server(Arc::clone(&store), Arc::clone(server), times);
                    AbortOnDropHandle::new(tokio::spawn(probes))
                });
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The time between the first probes of two servers: together they take an interval at most.
fn gap(servers: usize, every: Duration) -> Duration {
    let servers = u32::try_from(servers).unwrap_or(u32::MAX);
    every.checked_div(servers).unwrap_or(every).min(GAP_MAX)
}

/// Probes one server at an interval, from the first time on, until it is aborted.
async fn probe_server(
    store: Arc<TopologyStore>,
    server: Arc<PoolServer>,
    (first, every): (Instant, Duration),
) {
    let mut ticks = interval_at(first, every);
    // After a stall of this thread each server keeps its time: they would come together for good.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut conn = None;
    let mut was_answered = true;
    loop {
        ticks.tick().await;
        let topology = store.topology();
        let config = &topology.config;
        let patience = config.timeout.unwrap_or_default().max(PATIENCE);
        let outcome = timeout(patience, probe(&mut conn, &store, &server, config)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(UpstreamError::TimedOut.into()));
        let (pool, name) = (&config.name, &server.name);
        let is_answered = outcome.is_ok();
        if let Err(failure) = outcome {
            conn = None;
            if was_answered {
                tracing::warn!(pool, server = name, reason = %failure, "probe failed");
            }
            if failure.is_proxy_shortage() {
                continue;
            }
            store.want_lookup(&server);
        }
        was_answered = is_answered;
        let now = (Instant::now().into_std(), SystemTime::now());
        let transition = store.on_probe(&server, is_answered, now);
        if let Some(transition) = transition {
            tracing::warn!(pool, server = name, "server {}", transition.change);
        }
    }
}

/// The reason why a probe was not answered.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Connection(UpstreamError),
    #[error("the server said '{0}'")]
    Reply(String),
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self::Connection(error)
    }
}

impl Failure {
    /// Returns true if the proxy lacks something, which says nothing of the server.
    fn is_proxy_shortage(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_proxy_shortage())
    }
}

/// Sends one probe, over the open connection if there is one.
async fn probe(
    conn: &mut Option<Stream>,
    store: &TopologyStore,
    server: &PoolServer,
    config: &PoolConfig,
) -> Result<(), Failure> {
    let (mut request, mut replies) = (BytesMut::new(), 1);
    let mut stream = if let Some(stream) = conn.take() {
        stream
    } else {
        replies += write_handshake(config, &mut request);
        if config.placement_guard {
            let name = Mark::other_name(&config.name, config.redis_db, store.proxy());
            write_request(&[b"CLIENT", b"SETNAME", name.as_bytes()], &mut request);
            replies += 1;
        }
        connect(store, server, config).await?
    };
    match config.protocol {
        ProtocolKind::Redis => write_request(&[b"PING"], &mut request),
        ProtocolKind::Memcached => request.extend_from_slice(b"mn\r\n"),
    }
    stream
        .write_all(&request)
        .await
        .map_err(|error| UpstreamError::from(&error))?;
    let mut received = BytesMut::new();
    for _ in 0..replies {
        let line = read_line(&mut stream, &mut received).await?;
        if cannot_work(&line) {
            return Err(Failure::Reply(line.escape_ascii().to_string()));
        }
    }
    *conn = Some(stream);
    Ok(())
}

/// Returns true if a server says that it can serve no request. Anything else is an answer, also from one that does not
/// know the question or does not allow it.
fn cannot_work(reply: &[u8]) -> bool {
    let class = Redis::classify(reply);
    let refuses_all = [
        &b"-MASTERDOWN"[..],
        b"-NOAUTH",
        b"-WRONGPASS",
        b"-ERR invalid password",
    ];
    class.is_max_clients()
        || class == ReplyClass::Error(ErrorCode::Loading)
        || refuses_all.iter().any(|text| reply.starts_with(text))
}

async fn connect(
    store: &TopologyStore,
    server: &PoolServer,
    config: &PoolConfig,
) -> Result<Stream, UpstreamError> {
    let known = server.in_use().filter(|_| store.resolves());
    let dial = Dial {
        keepalive: false,
        tls: config.connector().map(|tls| &**tls),
    };
    let connected = Stream::connect(&server.address, known, dial).await;
    connected.map_err(|error| UpstreamError::from(&error))
}

/// Writes what data connections send first. Returns the number of replies.
fn write_handshake(config: &PoolConfig, out: &mut BytesMut) -> usize {
    let mut replies = 0;
    if let Some(auth) = config.server_auth() {
        write_request(&auth.words(), out);
        replies += 1;
    }
    if config.redis_db != 0 {
        write_request(&[b"SELECT", config.redis_db.to_string().as_bytes()], out);
        replies += 1;
    }
    replies
}

/// The next line, with its end.
async fn read_line(
    stream: &mut Stream,
    received: &mut BytesMut,
) -> Result<BytesMut, UpstreamError> {
    loop {
        if let Some(end) = memchr::memchr(b'\n', received) {
            return Ok(received.split_to(end + 1));
        }
        if received.len() > LINE_MAX_BYTES {
            return Err(UpstreamError::BadReply);
        }
        match stream.read_buf(received).await {
            Ok(0) => return Err(UpstreamError::Closed),
            Ok(_) => {}
            Err(error) => return Err(UpstreamError::from(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::time::{pause, sleep};

    use super::*;
    use crate::config::Config;

    /// A pool whose servers are unix sockets that do not exist: a probe fails at once, and ejects its server.
    fn dead_pool(servers: usize) -> Arc<TopologyStore> {
        let servers: Vec<_> = (0..servers)
            .map(|index| format!("/nowhere/at-all:1 s{index}"))
            .collect();
        let yaml = format!(
            "p: {{listen: 127.0.0.1:1, auto_eject_hosts: true, server_failure_limit: 1, \
             server_probe_interval: 1000, servers: [{}]}}",
            servers.join(", ")
        );
        let config = Config::parse(&yaml, "F").unwrap().pools.remove(0);
        let now = Instant::now().into_std();
        Arc::new(TopologyStore::new(Arc::new(config), now))
    }

    fn probed(store: &TopologyStore) -> usize {
        let (facts, topology) = (store.facts(), store.topology());
        let servers = topology.servers().iter();
        let is_probed = |server: &&Arc<PoolServer>| !facts.health.is_live(server.id);
        servers.filter(is_probed).count()
    }

    /// The number of servers that have been probed after each of these times.
    fn probed_after<const N: usize>(servers: usize, times_ms: [u64; N]) -> [usize; N] {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            pause();
            let store = dead_pool(servers);
            let start = Instant::now();
            let probes = tokio::spawn(probe_servers(Arc::clone(&store)));
            let mut counts = [0; N];
            for (count, ms) in counts.iter_mut().zip(times_ms) {
                sleep(start + Duration::from_millis(ms) - Instant::now()).await;
                *count = probed(&store);
            }
            probes.abort();
            counts
        })
    }

    #[test]
    fn first_probes_of_many_servers_are_spread_evenly() {
        let counts = probed_after(200, [102, 502, 902, 1002]);
        assert_eq!(counts, [21, 101, 181, 200]);
    }

    #[test]
    fn first_probes_of_few_servers_come_soon() {
        assert_eq!(probed_after(4, [2, 32]), [1, 4]);
    }

    #[test]
    fn probes_of_two_servers_are_at_most_an_interval_apart() {
        let second = Duration::from_secs(1);
        for (servers, every, expected) in [
            (0, second, GAP_MAX),
            (1, second, GAP_MAX),
            (100, second, GAP_MAX),
            (1000, second, Duration::from_millis(1)),
            (3, Duration::from_millis(6), Duration::from_millis(2)),
            (1000, Duration::from_secs(3600), GAP_MAX),
        ] {
            assert_eq!(gap(servers, every), expected, "{servers}, {every:?}");
        }
    }

    #[test]
    fn only_a_server_that_serves_nothing_fails_its_probe() {
        for (reply, expected) in [
            ("+PONG\r\n", false),
            ("MN\r\n", false),
            ("ERROR\r\n", false),
            (
                "-NOPERM this user has no permissions to run the 'ping' command\r\n",
                false,
            ),
            ("-ERR unknown command 'PING'\r\n", false),
            ("-BUSY Redis is busy running a script.\r\n", false),
            ("-LOADING Redis is loading the dataset in memory\r\n", true),
            (
                "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
                true,
            ),
            ("-NOAUTH Authentication required.\r\n", true),
            (
                "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
                true,
            ),
            ("-ERR max number of clients reached\r\n", true),
        ] {
            assert_eq!(cannot_work(reply.as_bytes()), expected, "{reply}");
        }
    }
}
