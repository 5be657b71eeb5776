//! A pool of either protocol: the only place that dispatches on the protocol.

use std::rc::Rc;
use std::sync::Arc;

use crate::config::ProtocolKind;
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
        let (config, health) = (&plan.config, Arc::clone(&plan.health));
        let memory = Arc::clone(&plan.memory);
        match config.protocol {
            ProtocolKind::Redis => {
                let settings = plan.redis_settings(stats, worker);
                let pool = LocalPool::start(config, settings, health, cells, context, memory);
                Self::Redis(Rc::new(pool))
            }
            ProtocolKind::Memcached => {
                let settings = memcached::Settings {
                    pool: config.name.clone(),
                    started: plan.started,
                    stats,
                };
                let pool = LocalPool::start(config, settings, health, cells, context, memory);
                Self::Memcached(Rc::new(pool))
            }
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
