//! The part of a pool that all workers share.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::config::{Distribution, PoolConfig, ProtocolKind};
use crate::journal::{Journal, PoolJournal};
use crate::net::ConnLimit;
use crate::observe::PoolObservation;
use crate::protocol::ErrorReplies as _;
use crate::protocol::memcached::Memcached;
use crate::protocol::redis;
use crate::protocol::redis::Redis;
use crate::protocol::redis::command::Disabled;
use crate::protocol::redis::state::shared::PoolShared;
use crate::proxy::{MemoryBudget, MemoryBudgets};
use crate::quota::{Scope, Tenant};
use crate::runtime::admission::{AdmissionControl, Refusal};
use crate::runtime::tls_refusals::TlsRefusals;
use crate::stats::PoolStatsView;
use crate::topology::{Mark, TopologyStore};

/// The identity of a running pool, unique in this process: a pool that is removed and added again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolId(u64);

impl PoolId {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    fn allocate() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The part of a pool that all workers share. A clone is the same pool.
#[derive(Debug, Clone)]
pub struct PoolSetup {
    /// Its identity.
    pub id: PoolId,
    /// The pool's name.
    pub name: Arc<str>,
    /// The protocol of its clients and servers.
    pub protocol: ProtocolKind,
    /// Its configuration and its servers, which may change.
    pub store: Arc<TopologyStore>,
    /// The start time of the process.
    pub started: Instant,
    /// The state that its workers share, if it is a Redis pool.
    pub shared: Arc<PoolShared>,
    /// What operators see of its requests.
    pub observation: Arc<PoolObservation>,
    /// The limit of what it buffers.
    pub memory: MemoryBudgets,
    /// The quota of all its clients.
    pub tenant: Arc<Tenant>,
    /// The limit of its clients.
    pub clients: ConnLimit,
    /// Who is let in.
    pub admission: Arc<AdmissionControl>,
    /// Clients that its acceptor has refused.
    pub rejected: Arc<AtomicU64>,
    /// Files of TLS that were refused.
    pub tls_refusals: Arc<TlsRefusals>,
}

impl PoolSetup {
    /// A pool that nobody serves yet. Without a memory limit of its own it shares `common_memory`.
    #[must_use]
    pub fn new(
        config: PoolConfig,
        started: Instant,
        common_memory: &Arc<MemoryBudget>,
        journal: &Arc<Journal>,
    ) -> Self {
        let journal = PoolJournal::new(journal, &config.name);
        let store = TopologyStore::new(Arc::new(config), Instant::now()).recording(journal);
        let config = Arc::clone(&store.topology().config);
        let shared: Arc<PoolShared> = Arc::default();
        let setup = Self {
            admission: Arc::new(AdmissionControl::new(Arc::clone(&shared.addresses))),
            id: PoolId::allocate(),
            tenant: Arc::new(Tenant::new(Scope::Pool, config.name.as_bytes())),
            name: config.name.as_str().into(),
            protocol: config.protocol,
            started,
            shared,
            observation: Arc::default(),
            memory: MemoryBudgets {
                own: Arc::default(),
                common: Arc::clone(common_memory),
            },
            clients: ConnLimit::default(),
            rejected: Arc::default(),
            tls_refusals: Arc::default(),
            store: Arc::new(store),
        };
        setup.adopt(&setup.config());
        setup
    }

    /// The current configuration.
    #[must_use]
    pub fn config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.store.topology().config)
    }

    /// Takes a new configuration. Workers adopt it between two turns.
    pub fn set_config(&self, config: PoolConfig) {
        self.adopt(&config);
        self.tls_refusals.clear();
        self.store.set_config(Arc::new(config));
    }

    /// Adopts what the configuration says of state that all workers share.
    fn adopt(&self, config: &PoolConfig) {
        let most = config
            .client_connections
            .map_or(usize::MAX, |most| most as usize);
        self.clients.set_limit(most);
        self.admission.adopt(config);
        self.memory.set_limit(config.memory_limit);
        self.tenant.set_quota(&config.quota);
        let everywhere = config.pubsub_everywhere || config.distribution == Distribution::Random;
        self.shared.set_pubsub_everywhere(everywhere);
        self.shared
            .configure_users(&config.all_users(), &config.user_quotas);
    }

    /// The number of connections of the watchers: probes, and those that ask for roles and freshness. With sentinels nobody knows
    /// how many replicas there are: two a server are usual.
    #[must_use]
    pub fn watcher_connections(&self) -> usize {
        let config = self.config();
        let servers = config.servers.len();
        let probes = config.probe_interval().map_or(0, |_| servers);
        if !config.has_roles() {
            return probes;
        }
        let replicas = match config.replicas.len() {
            0 => 2 * servers,
            replicas => replicas,
        };
        let fresh = usize::from(config.reads_replicas()) * (servers + replicas);
        probes + 2 * config.sentinels.len() + servers + replicas + fresh
    }

    /// The maximum number of connections of one worker to the servers for clients that stay in their first database,
    /// including those of the pub/sub registry.
    #[must_use]
    pub fn server_connections(&self) -> usize {
        let (versions, subscribers) = match self.protocol {
            ProtocolKind::Redis => (2, 1),
            ProtocolKind::Memcached => (1, 0),
        };
        let config = self.config();
        config.servers.len() * (config.server_connections * versions + subscribers)
    }

    /// The time for a client to authenticate; zero is no limit.
    pub(crate) fn auth_timeout(&self) -> Duration {
        if self.needs_auth() {
            self.store.topology().config.admission.auth_timeout
        } else {
            Duration::ZERO
        }
    }

    /// Returns true if a client may do nothing before it has authenticated.
    pub(crate) fn needs_auth(&self) -> bool {
        !self.shared.users.load().default_user().is_open()
    }

    /// Notes that a connection was not let in.
    pub(crate) fn refuse(&self, refusal: &Refusal) {
        refusal.note(&self.name, self.store.journal());
    }

    /// The reply to a client above the limit.
    pub(crate) fn refusal(&self) -> Bytes {
        let mut text = BytesMut::new();
        match self.protocol {
            ProtocolKind::Redis => Redis::write_max_clients(&mut text),
            ProtocolKind::Memcached => Memcached::write_max_clients(&mut text),
        }
        text.freeze()
    }

    /// Makes the settings of a configuration of this pool, for one worker.
    pub(crate) fn redis_settings(
        &self,
        stats: PoolStatsView,
        worker: usize,
    ) -> impl Fn(&PoolConfig) -> redis::Settings + 'static {
        let (shared, started) = (Arc::clone(&self.shared), self.started);
        let (stats, recent_evals) = (Rc::new(stats), Rc::default());
        let tenants = Rc::default();
        move |config| redis::Settings {
            pool: config.name.clone(),
            server_auth: config.server_auth(),
            db: config.redis_db,
            databases: config.databases,
            port: config
                .listeners()
                .find_map(|(_, listen)| listen.address.port())
                .unwrap_or_default(),
            started,
            hash_tag: config.hash_tag,
            servers: config
                .servers
                .iter()
                .map(|server| server.name.clone())
                .collect(),
            clients_most: config.client_connections,
            server_parameters: config.server_parameters,
            disabled: Disabled::of(&config.disabled_commands),
            stats: Rc::clone(&stats),
            shared: Arc::clone(&shared),
            tenants: Rc::clone(&tenants),
            recent_evals: Rc::clone(&recent_evals),
            keyless_scripts: config.keyless_scripts,
            gathers_sets: config.gather_sets,
            mark_key: config
                .placement_guard
                .then(|| Mark::key(&config.name, config.redis_db)),
            worker,
        }
    }
}
