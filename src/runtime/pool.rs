//! A pool of either protocol: the only place that dispatches on the protocol.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::{PoolConfig, ProtocolKind};
use crate::net::Stream;
use crate::net::tls::TlsAcceptor;
use crate::protocol::memcached;
use crate::protocol::memcached::Memcached;
use crate::protocol::redis::Redis;
use crate::protocol::{ClientRecord, Protocol as _};
use crate::proxy::{Departure, LocalPool, Origin, ReplyQueue, Session, WorkerContext};
use crate::runtime::pool_setup::PoolSetup;
use crate::stats::{CommandTable, PoolCellSet, PoolCells, PoolStatsView};

/// One worker's view of a pool.
pub(crate) enum AnyPool {
    Redis(Rc<LocalPool<Redis>>),
    Memcached(Rc<LocalPool<Memcached>>),
}

impl AnyPool {
    /// `stats` are the counts of the whole process for this pool; `worker` is the number of this worker.
    pub(crate) fn start(
        plan: &PoolSetup,
        cells: &Rc<PoolCellSet>,
        context: Rc<WorkerContext>,
        stats: PoolStatsView,
        worker: usize,
    ) -> Self {
        let (store, memory) = (Arc::clone(&plan.store), plan.memory.clone());
        let (observation, tenant) = (Arc::clone(&plan.observation), Arc::clone(&plan.tenant));
        match plan.protocol {
            ProtocolKind::Redis => {
                let settings = plan.redis_settings(stats, worker);
                let pool =
                    LocalPool::start(settings, store, cells, context, memory, observation, tenant);
                Self::Redis(Rc::new(pool))
            }
            ProtocolKind::Memcached => {
                let (started, stats) = (plan.started, Rc::new(stats));
                let slow_log = Arc::clone(&plan.shared.slow_log);
                let settings = move |config: &PoolConfig| memcached::Settings {
                    pool: config.name.clone(),
                    started,
                    stats: Rc::clone(&stats),
                    slow_log: Arc::clone(&slow_log),
                    slow_from: memcached::SLOW_FROM,
                };
                let pool =
                    LocalPool::start(settings, store, cells, context, memory, observation, tenant);
                Self::Memcached(Rc::new(pool))
            }
        }
    }

    /// The commands of a pool's protocol.
    pub(crate) fn commands(plan: &PoolSetup) -> CommandTable {
        match plan.protocol {
            ProtocolKind::Redis => Redis::COMMANDS,
            ProtocolKind::Memcached => Memcached::COMMANDS,
        }
    }

    /// The pool's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Redis(pool) => &pool.name,
            Self::Memcached(pool) => &pool.name,
        }
    }

    /// Returns true if connections of clients use TCP keepalive.
    pub(crate) fn keepalive(&self) -> bool {
        match self {
            Self::Redis(pool) => pool.keepalive(),
            Self::Memcached(pool) => pool.keepalive(),
        }
    }

    /// What makes TLS connections with clients, and the time limit for a handshake; `None` without `tls_listen`.
    pub(crate) fn tls(&self) -> Option<(Arc<TlsAcceptor>, Duration)> {
        let config = match self {
            Self::Redis(pool) => pool.published_config(),
            Self::Memcached(pool) => pool.published_config(),
        };
        let listen = config.tls.listen.as_ref()?;
        Some((Arc::clone(listen.acceptor()?), listen.handshake_timeout))
    }

    /// This worker's counters of the pool.
    pub(crate) fn cells(&self) -> &Rc<PoolCells> {
        match self {
            Self::Redis(pool) => &pool.cells,
            Self::Memcached(pool) => &pool.cells,
        }
    }

    /// Serves a client until it disconnects, or leaves for another process.
    pub(crate) async fn serve(
        &self,
        stream: Stream,
        origin: Origin,
        replies: Rc<ReplyQueue>,
        number: usize,
    ) -> Option<Box<Departure>> {
        match self {
            Self::Redis(pool) => {
                Session::from_origin(stream, &origin, Rc::clone(pool), replies, number).await
            }
            Self::Memcached(pool) => {
                Session::from_origin(stream, &origin, Rc::clone(pool), replies, number).await
            }
        }
    }

    /// The session of a client that another process has handed over, if its state is possible here.
    pub(crate) fn arrive(
        &self,
        stream: Stream,
        replies: Rc<ReplyQueue>,
        number: usize,
        known: (&Origin, &ClientRecord, &[u8]),
    ) -> Option<AnySession> {
        match self {
            Self::Redis(pool) => {
                let session = Session::arrived(stream, Rc::clone(pool), replies, number, known)?;
                Some(AnySession::Redis(Box::new(session)))
            }
            Self::Memcached(pool) => {
                let session = Session::arrived(stream, Rc::clone(pool), replies, number, known)?;
                Some(AnySession::Memcached(Box::new(session)))
            }
        }
    }
}

/// The session of a client that has arrived.
pub(crate) enum AnySession {
    Redis(Box<Session<Redis>>),
    Memcached(Box<Session<Memcached>>),
}

impl AnySession {
    /// Makes the subscriptions of the client. Returns false if one fails.
    pub(crate) async fn resubscribe(&mut self, record: &ClientRecord) -> bool {
        let (done, made) = oneshot::channel();
        match self {
            Self::Redis(session) => session.resubscribe(record, done),
            Self::Memcached(session) => session.resubscribe(record, done),
        }
        made.await.unwrap_or(false)
    }

    /// Serves the client until it disconnects, or leaves again.
    pub(crate) async fn run(self) -> Option<Box<Departure>> {
        match self {
            Self::Redis(session) => session.await,
            Self::Memcached(session) => session.await,
        }
    }
}
