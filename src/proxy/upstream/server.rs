//! One server of a pool, as the connections of a worker use it: its address, settings, counters and health.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::config::PoolConfig;
use crate::journal::EventKind;
use crate::net::tls::TlsConnector;
use crate::observe::WorkerObserver;
use crate::protocol::ErrorReplies as _;
use crate::protocol::{ConnProfile, Protocol, UpstreamError};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::disconnect::{Disconnect, reply_text};
use crate::proxy::upstream::failover::Failover;
use crate::proxy::upstream::guard::Guard;
use crate::proxy::worker::memory::PoolMemory;
use crate::stats::{PoolCells, PoolMetric, ServerCells, ServerMetric};
use crate::topology::{PoolServer, ServerId, Topology, TopologyStore, Transition};

/// A worker's handle to a server.
#[derive(Debug)]
pub struct Server<P: Protocol> {
    pub(crate) pool: Rc<str>,
    /// Its identity, name and address.
    pub(crate) shared: Arc<PoolServer>,
    pub(crate) timeout: Cell<Option<Duration>>,
    pub(crate) keepalive: Cell<bool>,
    /// Encrypts its connections.
    pub(crate) tls: Option<Arc<TlsConnector>>,
    /// The settings that its connections are set up with.
    pub(crate) settings: Rc<P::Settings>,
    pub(crate) cells: Rc<ServerCells>,
    pub(crate) pool_cells: Rc<PoolCells>,
    pub(crate) store: Arc<TopologyStore>,
    pub(crate) memory: Rc<PoolMemory>,
    /// Of a pool with `placement_guard`.
    pub(crate) guard: Option<Guard>,
    /// Of a pool that waits for a primary.
    pub(crate) failover: Option<Failover>,
    pub(crate) observer: Rc<WorkerObserver>,
}

/// What all servers of a pool share, whatever its configuration.
#[derive(Debug)]
pub(crate) struct ServerParts {
    pub(crate) pool: Rc<str>,
    pub(crate) pool_cells: Rc<PoolCells>,
    pub(crate) store: Arc<TopologyStore>,
    pub(crate) memory: Rc<PoolMemory>,
    pub(crate) observer: Rc<WorkerObserver>,
}

impl ServerParts {
    /// A server of the pool, which is counted in `cells`.
    pub(crate) fn server<P: Protocol>(
        &self,
        shared: &Arc<PoolServer>,
        (config, settings): (&PoolConfig, &Rc<P::Settings>),
        cells: Rc<ServerCells>,
    ) -> Server<P> {
        Server {
            pool: Rc::clone(&self.pool),
            shared: Arc::clone(shared),
            timeout: Cell::new(timeout_of(shared, config)),
            keepalive: Cell::new(config.tcpkeepalive),
            tls: config.connector().map(Arc::clone),
            settings: Rc::clone(settings),
            cells,
            pool_cells: Rc::clone(&self.pool_cells),
            store: Arc::clone(&self.store),
            memory: Rc::clone(&self.memory),
            guard: Guard::of(config),
            failover: Failover::of(config).filter(|_| !shared.is_replica),
            observer: Rc::clone(&self.observer),
        }
    }
}

impl<P: Protocol> Server<P> {
    pub(crate) fn id(&self) -> ServerId {
        self.shared.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// The limit for its replies that a configuration sets.
    pub(crate) fn timeout_of(&self, config: &PoolConfig) -> Option<Duration> {
        timeout_of(&self.shared, config)
    }

    /// Returns true if requests are taken only once a connection is open, and has been greeted.
    pub(crate) fn greets(&self) -> bool {
        self.guard.is_some() || self.failover.is_some()
    }

    /// Notes that a dedicated connection could not be opened since `begun`. Returns true if another attempt is to be made.
    pub(crate) fn waits_for_primary(&self, begun: Instant) -> bool {
        let failover = self.failover.as_ref();
        failover.is_some_and(|failover| {
            self.store.want_lookup(&self.shared);
            let now = Instant::now();
            !failover.lose(now) && !failover.is_over(begun, now)
        })
    }

    /// Counts how often the worker has learnt more about keys that move away from the server; 0 without a guard.
    pub(crate) fn guard_changes(&self) -> u64 {
        self.guard.as_ref().map_or(0, Guard::changes)
    }

    /// Counts a disconnect that affected requests, and logs it if it is the `first` since the server last worked.
    /// Returns true if it counts towards ejection.
    pub(crate) fn failed(
        &self,
        disconnect: &Disconnect,
        profile: ConnProfile,
        since: Instant,
        now: Instant,
        first: bool,
    ) -> bool {
        self.count_disconnect(disconnect);
        if first {
            let (pool, server) = (&*self.pool, self.name());
            let (lines, now) = (&self.shared.lines, now.into_std());
            if let Disconnect::Error(error) = disconnect {
                let text = format!("connection failed: {error}");
                let journal = self.store.journal();
                journal.record_of(EventKind::ServerFailed, server, text);
            }
            match disconnect {
                Disconnect::Error(error) if lines.failed.is_due(now) => {
                    tracing::warn!(pool, server, error = %error, "server connection failed");
                }
                Disconnect::Refused(reply) if lines.rejected.is_due(now) => {
                    let text = reply_text(reply);
                    tracing::warn!(pool, server, reply = text, "server rejected the handshake");
                }
                _ => {}
            }
        }
        let is_counted = match disconnect {
            Disconnect::Error(error) => !error.is_proxy_shortage(),
            // A healthy server may be too old for a profile: it must not be ejected for the users of the others.
            Disconnect::Refused(_) => profile == ConnProfile::FIRST,
            Disconnect::NoTransactions(_) | Disconnect::NoPrimary(_) | Disconnect::Moving => false,
        };
        if is_counted {
            self.count_failure(since, now);
        }
        is_counted
    }

    /// The error reply to a client whose dedicated connection was lost, or which has waited for a primary in vain.
    pub(crate) fn lost_reply(&self, error: UpstreamError) -> Bytes {
        let mut text = BytesMut::new();
        P::Errors::write_lost(self.name(), error, P::HANDSHAKE, &mut text);
        text.freeze()
    }

    /// The error reply to a client that has waited for a connection.
    pub(crate) fn reply_for(&self, error: UpstreamError) -> Bytes {
        match error {
            UpstreamError::NoPrimary => self.lost_reply(error),
            _ => Self::error_reply(error),
        }
    }

    /// Fails a request of which nothing is sent.
    pub(crate) fn turn_away(&self, responder: Responder<P>, error: UpstreamError) {
        match error {
            UpstreamError::NoPrimary => responder.fail_with(error, &self.lost_reply(error)),
            _ => responder.fail(error),
        }
    }

    /// The error reply for this error.
    pub(crate) fn error_reply(error: UpstreamError) -> Bytes {
        let mut text = BytesMut::new();
        P::Errors::write_upstream_error(error, P::HANDSHAKE, &mut text);
        text.freeze()
    }

    /// Counts a disconnect.
    pub(crate) fn count_disconnect(&self, disconnect: &Disconnect) {
        self.cells.bump(match disconnect {
            Disconnect::Error(UpstreamError::TimedOut) => ServerMetric::ServerTimedout,
            Disconnect::Error(UpstreamError::Closed) => ServerMetric::ServerEof,
            _ => ServerMetric::ServerErr,
        });
    }

    /// Counts popped elements that were restored for a disconnected client.
    pub(crate) fn pops_restored(&self) {
        self.pool_cells.bump(PoolMetric::BlockedPopsRestored);
    }

    /// Logs that popped elements could not be restored for a disconnected client.
    pub(crate) fn pops_lost(&self) {
        let (pool, server) = (&*self.pool, self.name());
        tracing::warn!(
            pool,
            server,
            "could not restore elements popped for a disconnected client; elements lost"
        );
    }

    /// Counts a reply that reports a server error; the connection stays open.
    pub(crate) fn server_error(&self, since: Instant, now: Instant) {
        self.count_failure(since, now);
    }

    /// Logs that the server replies again after a failure.
    pub(crate) fn recovered(&self) {
        let (pool, server) = (&*self.pool, self.name());
        if self
            .shared
            .lines
            .recovered
            .is_due(Instant::now().into_std())
        {
            tracing::info!(pool, server, "server answers again");
        }
        let kind = EventKind::ServerAnswers;
        self.store
            .journal()
            .record_of(kind, server, "answers again");
    }

    /// Logs a bug of the proxy itself.
    pub(crate) fn driver_panicked(&self) {
        let (pool, server) = (&*self.pool, self.name());
        tracing::error!(
            pool,
            server,
            "driver of a server connection panicked; its requests failed, reconnecting"
        );
    }

    /// Logs that subscribers miss messages until the reconnect.
    pub(crate) fn lost_subscriptions(&self, subscriptions: usize) {
        let (pool, server) = (&*self.pool, self.name());
        tracing::warn!(
            pool,
            server,
            subscriptions,
            "subscription connection lost; messages are missed until it reconnects"
        );
    }

    /// Logs that the server has not closed a connection that was abandoned.
    pub(crate) fn not_closed(&self) {
        let (pool, server) = (&*self.pool, self.name());
        tracing::warn!(
            pool,
            server,
            "server answers, but does not close the connection whose requests timed out; those may still be executed"
        );
    }

    /// Logs that the server refuses to restore a subscription.
    pub(crate) fn refused_subscription(&self, name: &[u8], reply: &Bytes) {
        let (pool, server) = (&*self.pool, self.name());
        let (subject, text) = (name.escape_ascii(), reply_text(reply));
        tracing::warn!(pool, server, %subject, reply = text, "server rejected a subscription; closing its subscribers");
    }

    /// Reports to the health tracking that the server has replied.
    pub(crate) fn replied(&self) {
        self.store.on_reply(&self.shared);
    }

    fn count_failure(&self, since: Instant, now: Instant) {
        let (since, now) = (since.into_std(), now.into_std());
        let wall = SystemTime::now();
        if let Some(transition) = self.store.on_failure(&self.shared, since, now, wall) {
            log_transition(&self.pool, &self.store.topology(), transition);
        }
    }
}

/// The reply of a replica is of no use if it comes later than it may be behind.
fn timeout_of(server: &PoolServer, config: &PoolConfig) -> Option<Duration> {
    if server.is_replica {
        let timeout = config.timeout.unwrap_or(config.replica_max_lag);
        Some(timeout.min(config.replica_max_lag))
    } else {
        config.timeout
    }
}

/// Logs a transition. Only the worker that causes it does, so there is one line for all workers.
pub(crate) fn log_transition(pool: &str, topology: &Topology, transition: Transition) {
    let index = topology.index_of(transition.server);
    let server = index.and_then(|index| topology.server(index));
    let server = server.map_or("", |server| server.name.as_str());
    tracing::warn!(pool, server, "server {}", transition.change);
}
