//! What the protocol must know of its pool.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::hash::HashTag;
use crate::protocol::redis::command::Disabled;
use crate::protocol::redis::state::scripts::RecentEvals;
use crate::protocol::redis::state::shared::PoolShared;
use crate::stats::PoolStatsView;

/// The version of Redis whose replies are imitated: what clients are told when they ask.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// What the protocol must know of its pool.
pub struct Settings {
    /// The pool's name.
    pub pool: String,
    /// The password that clients must give, if any.
    pub auth: Option<Vec<u8>>,
    /// The number of the database that a client starts with.
    pub db: u32,
    /// How many databases, from 0 on, a client may select besides that one.
    pub databases: u32,
    /// The port that the pool listens on; 0 for a unix socket.
    pub port: u16,
    /// When the proxy started.
    pub started: Instant,
    /// The bytes that enclose the part of a key that is hashed.
    pub hash_tag: Option<HashTag>,
    /// The names of the pool's servers, in their order.
    pub servers: Arc<[String]>,
    /// Clients that the pool serves at the most, if that is limited.
    pub clients_most: Option<u32>,
    /// Whether `CONFIG` reaches the servers' parameters.
    pub server_parameters: bool,
    /// The commands that the pool has switched off.
    pub disabled: Disabled,
    /// What was counted.
    pub stats: PoolStatsView,
    /// What all workers know of the pool.
    pub shared: Arc<PoolShared>,
    /// The scripts that this worker has lately seen.
    pub recent_evals: RecentEvals,
    /// Whether scripts that name no key are carried out, on one server.
    pub keyless_scripts: bool,
    /// Whether commands that only read sets gather them from several servers.
    pub gathers_sets: bool,
    /// The number of the worker that these settings are for.
    pub worker: usize,
}

impl Settings {
    /// Those of a pool of which nothing is set: no password, databases 0 to 15, no port, no hash tag, one server `s0`.
    #[must_use]
    pub fn new(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            auth: None,
            db: 0,
            databases: 16,
            port: 0,
            started: Instant::now(),
            hash_tag: None,
            servers: Arc::new(["s0".to_owned()]),
            clients_most: None,
            server_parameters: false,
            disabled: Disabled::default(),
            stats: PoolStatsView::default(),
            shared: Arc::default(),
            recent_evals: RecentEvals::default(),
            keyless_scripts: false,
            gathers_sets: false,
            worker: 0,
        }
    }
}

impl fmt::Debug for Settings {
    /// Shows everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("pool", &self.pool)
            .field("auth", &self.auth.is_some())
            .field("db", &self.db)
            .field("databases", &self.databases)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
