//! One server of a pool, as the connections of a worker know it: where it is, and where to count and report.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::net::ServerAddr;
use crate::protocol::ErrorReplies as _;
use crate::protocol::{ConnProfile, Protocol, UpstreamError};
use crate::proxy::upstream::disconnect::{Disconnect, reply_text};
use crate::stats::{PoolCells, PoolMetric, ServerCells, ServerMetric};
use crate::topology::{PoolHealth, ServerId, Topology, Transition};

/// What a connection must know of its server.
#[derive(Debug)]
pub struct Server<P: Protocol> {
    pub(crate) pool: Rc<str>,
    pub(crate) name: String,
    pub(crate) id: ServerId,
    pub(crate) address: ServerAddr,
    pub(crate) timeout: Option<Duration>,
    pub(crate) keepalive: bool,
    pub(crate) settings: Rc<P::Settings>,
    pub(crate) cells: Rc<ServerCells>,
    pub(crate) pool_cells: Rc<PoolCells>,
    pub(crate) health: Arc<PoolHealth>,
    /// Whether a failing server is ejected: then that is the pause between attempts, and there is no back-off.
    pub(crate) ejects: bool,
}

impl<P: Protocol> Server<P> {
    /// Counts and reports the end of a connection that harmed requests. `first` since it last worked: the one that is
    /// worth a line in the log. Returns whether it counts towards ejection.
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
            let (pool, server) = (&*self.pool, self.name.as_str());
            match disconnect {
                Disconnect::Error(error) => {
                    tracing::warn!(pool, server, error = %error, "server connection failed");
                }
                Disconnect::Refused(reply) => {
                    let said = reply_text(reply);
                    tracing::warn!(pool, server, reply = said, "server rejected the handshake");
                }
                Disconnect::NoTransactions(_) => {}
            }
        }
        let at_fault = match disconnect {
            Disconnect::Error(error) => !error.is_proxy_shortage(),
            // A server may be well and yet too old for a profile: those who use the others must not lose it for that.
            Disconnect::Refused(_) => profile == ConnProfile::FIRST,
            Disconnect::NoTransactions(_) => false,
        };
        if at_fault {
            self.count_failure(since, now);
        }
        at_fault
    }

    /// The error reply to a client whose dedicated connection was lost.
    pub(crate) fn lost_reply(&self, error: UpstreamError) -> Bytes {
        let mut text = BytesMut::new();
        P::Errors::write_lost(&self.name, error, P::HANDSHAKE, &mut text);
        text.freeze()
    }

    /// Counts the end of a connection.
    pub(crate) fn count_disconnect(&self, disconnect: &Disconnect) {
        self.cells.bump(match disconnect {
            Disconnect::Error(UpstreamError::TimedOut) => ServerMetric::ServerTimedout,
            Disconnect::Error(UpstreamError::Closed) => ServerMetric::ServerEof,
            _ => ServerMetric::ServerErr,
        });
    }

    /// What was taken for a client that had left is back.
    pub(crate) fn pops_restored(&self) {
        self.pool_cells.bump(PoolMetric::GivenBack);
    }

    /// What was taken for a client that had left could not be put back.
    pub(crate) fn pops_lost(&self) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        tracing::warn!(
            pool,
            server,
            "could not restore elements popped for a disconnected client; elements lost"
        );
    }

    /// Counts a reply that says the server is in trouble; its connection lives on.
    pub(crate) fn server_error(&self, since: Instant, now: Instant) {
        self.count_failure(since, now);
    }

    /// Reports that the server answers again after a failure.
    pub(crate) fn recovered(&self) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        tracing::info!(pool, server, "server answers again");
    }

    /// Reports a bug of the proxy itself.
    pub(crate) fn driver_panicked(&self) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        tracing::error!(
            pool,
            server,
            "driver of a server connection panicked; its requests failed, reconnecting"
        );
    }

    /// Reports that clients hear nothing of what is published meanwhile.
    pub(crate) fn lost_subscriptions(&self, subscriptions: usize) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        tracing::warn!(
            pool,
            server,
            subscriptions,
            "subscription connection lost; messages are missed until it reconnects"
        );
    }

    /// Reports that the server does not let the pool subscribe to what it was subscribed to before.
    pub(crate) fn refused_subscription(&self, name: &[u8], reply: &Bytes) {
        let (pool, server) = (&*self.pool, self.name.as_str());
        let (subject, said) = (name.escape_ascii(), reply_text(reply));
        tracing::warn!(pool, server, %subject, reply = said, "server rejected a subscription; closing its subscribers");
    }

    /// The server has answered a request.
    pub(crate) fn replied(&self) {
        self.health.on_reply(self.id);
    }

    fn count_failure(&self, since: Instant, now: Instant) {
        let (since, now) = (since.into_std(), now.into_std());
        let wall = SystemTime::now();
        if let Some(transition) = self.health.on_failure(self.id, since, now, wall) {
            log_transition(&self.pool, &self.health.topology(), transition);
        }
    }
}

/// One line a transition: whoever causes it writes it, so there is one for all workers.
pub(crate) fn log_transition(pool: &str, topology: &Topology, transition: Transition) {
    let members = topology.router.members();
    let server = members
        .get(transition.server.index())
        .map_or("", |member| member.name.as_str());
    tracing::warn!(pool, server, "server {}", transition.change);
}
