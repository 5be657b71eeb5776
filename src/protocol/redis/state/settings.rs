//! The protocol's settings of a pool.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::config::ServerAuth;
use crate::hash::HashTag;
use crate::protocol::redis::command::Disabled;
use crate::protocol::redis::state::scripts::RecentEvals;
use crate::protocol::redis::state::shared::PoolShared;
use crate::quota::WorkerTenants;
use crate::stats::PoolStatsView;

/// The emulated version of Redis, reported to clients.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// The protocol's settings of a pool.
pub struct Settings {
    /// The pool's name.
    pub pool: String,
    /// What each connection to a server says first, if anything.
    pub server_auth: Option<ServerAuth>,
    /// The initial database of a client.
    pub db: u32,
    /// The number of databases, from 0 on, that a client may select besides that one.
    pub databases: u32,
    /// The port that the pool listens on; 0 for a unix socket.
    pub port: u16,
    /// When the proxy started.
    pub started: Instant,
    /// The bytes that enclose the part of a key that is hashed.
    pub hash_tag: Option<HashTag>,
    /// The names of the pool's servers, in their order.
    pub servers: Arc<[String]>,
    /// The maximum number of clients of the pool, if it is limited.
    pub clients_most: Option<u32>,
    /// True if `CONFIG` has access to the servers' parameters.
    pub server_parameters: bool,
    /// The disabled commands of the pool.
    pub disabled: Disabled,
    /// The pool's counters.
    pub stats: Rc<PoolStatsView>,
    /// The state of the pool that all workers share.
    pub shared: Arc<PoolShared>,
    /// The users of this worker's clients that have quotas.
    pub tenants: Rc<WorkerTenants>,
    /// The scripts that this worker has recently forwarded.
    pub recent_evals: Rc<RecentEvals>,
    /// True if scripts without keys are executed, on one server.
    pub keyless_scripts: bool,
    /// True if read-only set commands merge sets from several servers.
    pub gathers_sets: bool,
    /// The key of the marks in database 0, in a pool with `placement_guard`: its keys may be moved.
    pub mark_key: Option<String>,
    /// The index of the worker with these settings.
    pub worker: usize,
}

impl Settings {
    /// The defaults: no password, databases 0 to 15, no port, no hash tag, one server `s0`.
    #[must_use]
    pub fn new(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            server_auth: None,
            db: 0,
            databases: 16,
            port: 0,
            started: Instant::now(),
            hash_tag: None,
            servers: Arc::new(["s0".to_owned()]),
            clients_most: None,
            server_parameters: false,
            disabled: Disabled::default(),
            stats: Rc::default(),
            shared: Arc::default(),
            tenants: Rc::default(),
            recent_evals: Rc::default(),
            keyless_scripts: false,
            gathers_sets: false,
            mark_key: None,
            worker: 0,
        }
    }
}

impl fmt::Debug for Settings {
    /// Shows what tells pools apart. Passwords hide themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("pool", &self.pool)
            .field("server_auth", &self.server_auth)
            .field("db", &self.db)
            .field("databases", &self.databases)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
