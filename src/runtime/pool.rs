//! A pool of either protocol: the only place that dispatches on the protocol.

use std::rc::Rc;
use std::sync::Arc;

use crate::config::{PoolConfig, ProtocolKind};
use crate::net::Stream;
use crate::protocol::memcached;
use crate::protocol::memcached::Memcached;
use crate::protocol::redis::Redis;
use crate::proxy::{LocalPool, ReplyQueue, Session, WorkerContext};
use crate::runtime::pool_setup::PoolSetup;
use crate::stats::{PoolCellSet, PoolCells, PoolStatsView};

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
        match plan.protocol {
            ProtocolKind::Redis => {
                let settings = plan.redis_settings(stats, worker);
                let pool = LocalPool::start(settings, store, cells, context, memory);
                Self::Redis(Rc::new(pool))
            }
            ProtocolKind::Memcached => {
                let (started, stats) = (plan.started, Rc::new(stats));
                let settings = move |config: &PoolConfig| memcached::Settings {
                    pool: config.name.clone(),
                    started,
                    stats: Rc::clone(&stats),
                };
                let pool = LocalPool::start(settings, store, cells, context, memory);
                Self::Memcached(Rc::new(pool))
            }
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

    /// This worker's counters of the pool.
    pub(crate) fn cells(&self) -> &Rc<PoolCells> {
        match self {
            Self::Redis(pool) => &pool.cells,
            Self::Memcached(pool) => &pool.cells,
        }
    }

    /// Serves a client until it disconnects.
    pub(crate) async fn serve(&self, stream: Stream, replies: Rc<ReplyQueue>, number: usize) {
        match self {
            Self::Redis(pool) => Session::new(stream, Rc::clone(pool), replies, number).await,
            Self::Memcached(pool) => Session::new(stream, Rc::clone(pool), replies, number).await,
        }
    }
}
