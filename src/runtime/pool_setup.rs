//! The part of a pool that all workers share, created before they start.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::config::{PoolConfig, ProtocolKind};
use crate::net::ListenAddr;
use crate::protocol::ErrorReplies as _;
use crate::protocol::memcached::Memcached;
use crate::protocol::redis;
use crate::protocol::redis::Redis;
use crate::protocol::redis::command::Disabled;
use crate::protocol::redis::state::shared::PoolShared;
use crate::proxy::MemoryBudget;
use crate::stats::PoolStatsView;
use crate::topology::PoolHealth;

/// The part of a pool that all workers share.
#[derive(Debug, Clone)]
pub struct PoolSetup {
    /// The pool's configuration.
    pub config: Arc<PoolConfig>,
    /// The health of its servers.
    pub health: Arc<PoolHealth>,
    /// The start time of the process.
    pub started: Instant,
    /// The state that its workers share, if it is a Redis pool.
    pub shared: Arc<PoolShared>,
    /// The limit of what it buffers.
    pub memory: Arc<MemoryBudget>,
    /// Clients that its acceptor has refused.
    pub rejected: Arc<AtomicU64>,
}

impl PoolSetup {
    /// The maximum number of connections of one worker to the servers for clients that stay in their first database,
    /// including those of the pub/sub registry.
    #[must_use]
    pub fn server_connections(&self) -> usize {
        let (versions, subscribers) = match self.config.protocol {
            ProtocolKind::Redis => (2, 1),
            ProtocolKind::Memcached => (1, 0),
        };
        self.config.servers.len() * (self.config.server_connections * versions + subscribers)
    }

    /// The reply to a client above the limit.
    pub(crate) fn refusal(&self) -> Bytes {
        let mut text = BytesMut::new();
        match self.config.protocol {
            ProtocolKind::Redis => Redis::write_max_clients(&mut text),
            ProtocolKind::Memcached => Memcached::write_max_clients(&mut text),
        }
        text.freeze()
    }

    pub(crate) fn redis_settings(&self, stats: PoolStatsView, worker: usize) -> redis::Settings {
        let port = match &self.config.listen {
            ListenAddr::Tcp { port, .. } => *port,
            ListenAddr::Unix { .. } => 0,
        };
        let servers = self.config.servers.iter();
        redis::Settings {
            pool: self.config.name.clone(),
            auth: self.config.redis_auth.clone(),
            db: self.config.redis_db,
            databases: self.config.databases,
            port,
            started: self.started,
            hash_tag: self.config.hash_tag,
            servers: servers.map(|server| server.name.clone()).collect(),
            clients_most: self.config.client_connections,
            server_parameters: self.config.server_parameters,
            disabled: Disabled::of(&self.config.disabled_commands),
            stats,
            shared: Arc::clone(&self.shared),
            recent_evals: redis::RecentEvals::default(),
            keyless_scripts: self.config.keyless_scripts,
            gathers_sets: self.config.gather_sets,
            worker,
        }
    }
}
