//! Probes of a pool's servers: asks each at an interval whether it works, over a connection of its own.
//!
//! ```text
//! interval --> AUTH, SELECT (on a new connection), PING or mn --answered or not--> TopologyStore: on_probe
//! ```
//!
//! Invariant: a probe is counted in no statistic that Twemproxy has, and its connection belongs to this task alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{PoolConfig, ProtocolKind};
use crate::net::Stream;
use crate::protocol::UpstreamError;
use crate::protocol::redis::resp::encode::write_request;
use crate::topology::{PoolServer, ServerId, TopologyStore};

/// The shortest time limit of a probe.
const PATIENCE: Duration = Duration::from_secs(1);

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
            for server in topology.servers() {
                tasks.entry(server.id).or_insert_with(|| {
                    let probes = probe_server(Arc::clone(&store), Arc::clone(server), every);
                    AbortOnDropHandle::new(tokio::spawn(probes))
                });
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Probes one server until it is aborted.
async fn probe_server(store: Arc<TopologyStore>, server: Arc<PoolServer>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut conn = None;
    let mut was_answered = true;
    loop {
        ticks.tick().await;
        let topology = store.topology();
        let config = &topology.config;
        let since = Instant::now();
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
        let transition = store.on_probe(&server, is_answered, since.into_std(), now);
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
        connect(store, server).await?
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
    let mut last = String::new();
    for _ in 0..replies {
        last = read_line(&mut stream, &mut received).await?;
        if last.starts_with('-') && !last.starts_with("-BUSY") {
            return Err(Failure::Reply(last));
        }
    }
    // A server that executes a script says BUSY: it works.
    if !last.starts_with("+PONG") && !last.starts_with("-BUSY") && last != "MN" {
        return Err(Failure::Reply(last));
    }
    *conn = Some(stream);
    Ok(())
}

async fn connect(store: &TopologyStore, server: &PoolServer) -> Result<Stream, UpstreamError> {
    let connected = match server.in_use() {
        Some(address) if store.resolves() => Stream::connect_to(address, false).await,
        _ => Stream::connect(&server.address, false).await,
    };
    connected.map_err(|error| UpstreamError::from(&error))
}

/// Writes what data connections send first. Returns the number of replies.
fn write_handshake(config: &PoolConfig, out: &mut BytesMut) -> usize {
    let mut replies = 0;
    if let Some(password) = &config.redis_auth {
        write_request(&[b"AUTH", password], out);
        replies += 1;
    }
    if config.redis_db != 0 {
        write_request(&[b"SELECT", config.redis_db.to_string().as_bytes()], out);
        replies += 1;
    }
    replies
}

/// The next line, without its end.
async fn read_line(stream: &mut Stream, received: &mut BytesMut) -> Result<String, UpstreamError> {
    loop {
        if let Some(end) = memchr::memchr(b'\n', received) {
            let line = received.split_to(end + 1);
            let line = line.trim_ascii_end();
            return Ok(line.escape_ascii().to_string());
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
