//! One pool of the file, validated.

use std::sync::Arc;
use std::time::Duration;

use crate::hash::{HashKind, HashTag};
use crate::net::tls::TlsConnector;
use crate::net::{ListenAddr, ServerAddr};
use crate::quota::Quota;

use super::admission::Admission;
use super::client_password::ClientPassword;
use super::distribution::Distribution;
use super::failover::{ReadFrom, ReplicaConfig};
use super::limit::BufferLimit;
use super::placement::OnPlacementChange;
use super::secret::Secret;
use super::server::ServerConfig;
use super::tls::{PoolTls, ServerTls};
use super::user::UserConfig;
use super::user_quota::UserQuota;

/// The protocol of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolKind {
    /// `redis: true`.
    Redis,
    /// `redis: false`.
    Memcached,
}

impl ProtocolKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Memcached => "memcached",
        }
    }
}

/// A validated pool. The fields are named after their directives, which `docs/config.md` explains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of the file"
)]
pub struct PoolConfig {
    /// Unique in the file.
    pub name: String,
    /// The address that clients connect to; `None` only if there is one for TLS.
    pub listen: Option<ListenConfig>,
    /// The address that clients connect to over TLS.
    pub tls_listen: Option<ListenConfig>,
    /// TLS of its connections.
    pub tls: PoolTls,
    /// Who may connect, and how often.
    pub admission: Admission,
    /// The hash function for keys.
    pub hash: HashKind,
    /// The bytes that enclose the part of a key that is hashed.
    pub hash_tag: Option<HashTag>,
    /// The distribution of hashed keys over the servers.
    pub distribution: Distribution,
    /// The time that a server may take; `None` is unlimited, never zero.
    pub timeout: Option<Duration>,
    /// The maximum number of connections that wait to be accepted.
    pub backlog: u32,
    /// The maximum number of clients; `None` is as many as there are file descriptors, never zero.
    pub client_connections: Option<u32>,
    /// TCP keepalive, both sides.
    pub tcpkeepalive: bool,
    /// `SO_REUSEPORT` on the listener.
    pub reuseport: bool,
    /// The protocol of the servers and clients.
    pub protocol: ProtocolKind,
    /// The password of the clients, and of the servers without `server_password`; only with [`ProtocolKind::Redis`].
    pub redis_auth: Option<ClientPassword>,
    /// The user of the proxy at the servers; only with `server_password`.
    pub server_user: Option<String>,
    /// The password of the proxy at the servers; only with [`ProtocolKind::Redis`].
    pub server_password: Option<Secret>,
    /// The database that clients start with; 0 needs no `SELECT`.
    pub redis_db: u32,
    /// The number of databases that clients may select besides: at least 1.
    pub databases: u32,
    /// Send `CONFIG` to the servers; only with [`ProtocolKind::Redis`].
    pub server_parameters: bool,
    /// Disabled commands, as written; only with [`ProtocolKind::Redis`].
    pub disabled_commands: Vec<String>,
    /// Combine sets of several servers; only with [`ProtocolKind::Redis`].
    pub gather_sets: bool,
    /// Execute scripts without keys on one server; only with [`ProtocolKind::Redis`].
    pub keyless_scripts: bool,
    /// Connect at the start.
    pub preconnect: bool,
    /// Eject a server that fails.
    pub auto_eject_hosts: bool,
    /// Connections to each server: at least 1.
    pub server_connections: usize,
    /// The maximum number of dedicated connections of each worker to each server.
    pub server_leases: usize,
    /// The time for which an ejected server stays out.
    pub server_retry_timeout: Duration,
    /// Failures in a row that eject a server.
    pub server_failure_limit: u32,
    /// The interval of probes, if the file says so; zero is no probes.
    pub server_probe_interval: Option<Duration>,
    /// The number of probes that an ejected server must answer: at least 1.
    pub server_probe_successes: u32,
    /// The interval at which names of servers are looked up; zero is only when a connection is opened.
    pub server_resolve_interval: Duration,
    /// The limit of a subscriber's unread output.
    pub pubsub_buffer_limit: BufferLimit,
    /// Subscribe to channels on every server.
    pub pubsub_everywhere: bool,
    /// The limit of what is buffered for its clients, in bytes; 0 is no limit, `None` a share of the memory.
    pub memory_limit: Option<usize>,
    /// Whether a change of the file may look for keys elsewhere, if the file says so.
    pub on_placement_change: Option<OnPlacementChange>,
    /// Keys may be moved while clients work; only with [`ProtocolKind::Redis`].
    pub placement_guard: bool,
    /// The sentinels that say which server is the primary of each shard; only with [`ProtocolKind::Redis`].
    pub sentinels: Vec<ServerAddr>,
    /// The password of the sentinels, perhaps after a user and a space.
    pub sentinel_auth: Option<Secret>,
    /// The replicas, in a pool without sentinels; only with [`ProtocolKind::Redis`].
    pub replicas: Vec<ReplicaConfig>,
    /// How long requests wait for a shard without a primary, if the file says so; zero is not at all.
    pub server_failover_timeout: Option<Duration>,
    /// The servers that answer what only reads.
    pub read_from: ReadFrom,
    /// How far behind a replica may be that answers reads.
    pub replica_max_lag: Duration,
    /// The most reads, of a hundred, that are asked of a second server.
    pub read_hedge_limit: u32,
    /// The users that clients can be, besides the default one, or with it; only with [`ProtocolKind::Redis`].
    pub users: Vec<UserConfig>,
    /// The file that they are from, as written.
    pub users_file: Option<String>,
    /// What all its clients together may send and get.
    pub quota: Quota,
    /// What each user may send and get; only with [`ProtocolKind::Redis`].
    pub user_quotas: Vec<UserQuota>,
    /// At least one; the shorter name first, then bytewise: the order that gives each its index.
    pub servers: Vec<ServerConfig>,
}

/// The default interval of probes in a pool that ejects servers.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The default time that requests wait for a shard without a primary, in a pool that can get another one.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// The address.
    pub address: ListenAddr,
    /// The address as it was written.
    pub text: String,
}

impl ListenConfig {
    pub(super) fn new(address: ListenAddr, text: &str) -> Self {
        Self {
            address,
            text: text.to_owned(),
        }
    }
}

/// What clients speak on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// The pool's protocol.
    Plain,
    /// TLS first.
    Tls,
}

impl Transport {
    /// The directive of its address.
    #[must_use]
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Plain => "listen",
            Self::Tls => "tls_listen",
        }
    }
}

impl PoolConfig {
    /// All users that clients can be. The default one is what `redis_auth` says, unless the file has another.
    #[must_use]
    pub fn all_users(&self) -> Vec<UserConfig> {
        let mut users = self.users.clone();
        if !users.iter().any(UserConfig::is_default) {
            let digest = self.redis_auth.as_ref().map(ClientPassword::digest);
            users.push(UserConfig::default_user(digest));
        }
        users
    }

    /// Returns true if each request of its clients counts towards a quota.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        let of_users = self.user_quotas.iter().map(|row| &row.quota);
        of_users.chain([&self.quota]).any(Quota::has_rates)
    }

    /// The addresses that clients connect to.
    pub fn listeners(&self) -> impl Iterator<Item = (Transport, &ListenConfig)> {
        let plain = self.listen.iter().map(|listen| (Transport::Plain, listen));
        let tls = self.tls_listen.iter();
        plain.chain(tls.map(|listen| (Transport::Tls, listen)))
    }

    /// Its addresses, for people.
    #[must_use]
    pub fn listen_text(&self) -> String {
        let texts = self.listeners().map(|(transport, listen)| match transport {
            Transport::Plain => listen.text.clone(),
            Transport::Tls => format!("{} (TLS)", listen.text),
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    /// The address of these clients.
    #[must_use]
    pub fn listener(&self, transport: Transport) -> Option<&ListenConfig> {
        match transport {
            Transport::Plain => self.listen.as_ref(),
            Transport::Tls => self.tls_listen.as_ref(),
        }
    }

    /// Encrypts connections to its servers; `None` without `server_tls`.
    #[must_use]
    pub fn connector(&self) -> Option<&Arc<TlsConnector>> {
        self.tls.server.as_ref().map(ServerTls::connector)
    }

    /// Encrypts connections to its sentinels; `None` without `sentinel_tls`.
    #[must_use]
    pub fn sentinel_connector(&self) -> Option<&Arc<TlsConnector>> {
        let server = self.tls.server.as_ref();
        server
            .filter(|tls| tls.covers_sentinels)
            .map(ServerTls::connector)
    }

    /// Returns true if its servers may have replicas that take their places.
    #[must_use]
    pub fn has_roles(&self) -> bool {
        !self.sentinels.is_empty() || !self.replicas.is_empty()
    }

    /// How long requests wait for a shard that has no primary; zero is not at all.
    #[must_use]
    pub fn failover_timeout(&self) -> Duration {
        if self.has_roles() {
            self.server_failover_timeout.unwrap_or(FAILOVER_TIMEOUT)
        } else {
            Duration::ZERO
        }
    }

    /// Returns true if requests wait for a shard that has no primary.
    #[must_use]
    pub fn fails_over(&self) -> bool {
        !self.failover_timeout().is_zero()
    }

    /// Returns true if replicas may answer what only reads.
    #[must_use]
    pub fn reads_replicas(&self) -> bool {
        self.has_roles() && self.read_from != ReadFrom::Primary
    }

    /// The interval of probes; `None` if there are none. Without the directive, servers that may be ejected are probed.
    #[must_use]
    pub fn probe_interval(&self) -> Option<Duration> {
        let default = self.auto_eject_hosts.then_some(PROBE_INTERVAL);
        let interval = self.server_probe_interval.or(default)?;
        (!interval.is_zero()).then_some(interval)
    }

    /// Whether a change of the file may look for keys of this pool on other servers. Without the directive, a cache may:
    /// a pool with `auto_eject_hosts`, or of memcached.
    #[must_use]
    pub fn on_placement_change(&self) -> OnPlacementChange {
        let is_cache = self.auto_eject_hosts || self.protocol == ProtocolKind::Memcached;
        self.on_placement_change.unwrap_or(if is_cache {
            OnPlacementChange::Swap
        } else {
            OnPlacementChange::Refuse
        })
    }
}
