//! The directives of a pool while it is read.

use std::time::Duration;

use crate::hash::{HashKind, HashTag};
use crate::net::ServerAddr;
use crate::quota::Quota;

use super::admission::Admission;
use super::client_password::ClientPassword;
use super::distribution::Distribution;
use super::failover::{ReadFrom, ReplicaConfig};
use super::limit::BufferLimit;
use super::placement::OnPlacementChange;
use super::pool::ListenConfig;
use super::problem::Position;
use super::secret::Secret;
use super::tls_draft::TlsDraft;
use super::user::UserConfig;
use super::user_quota::UserQuota;

/// The directives of one pool, but for its servers, as parsed so far.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of the file"
)]
pub(super) struct Draft {
    pub(super) admission: Admission,
    pub(super) listen: Option<ListenConfig>,
    pub(super) tls_listen: Option<ListenConfig>,
    pub(super) tls: TlsDraft,
    pub(super) hash: HashKind,
    pub(super) hash_tag: Option<HashTag>,
    pub(super) distribution: Distribution,
    pub(super) timeout: Option<Duration>,
    pub(super) backlog: u32,
    pub(super) client_connections: Option<u32>,
    pub(super) tcpkeepalive: bool,
    pub(super) reuseport: bool,
    pub(super) redis: bool,
    pub(super) redis_auth: Option<ClientPassword>,
    pub(super) server_user: Option<String>,
    pub(super) server_password: Option<Secret>,
    pub(super) redis_db: u32,
    pub(super) databases: u32,
    pub(super) disabled_commands: Vec<String>,
    pub(super) server_parameters: bool,
    pub(super) gather_sets: bool,
    pub(super) keyless_scripts: bool,
    pub(super) preconnect: bool,
    pub(super) auto_eject_hosts: bool,
    pub(super) server_connections: u32,
    pub(super) server_leases: u32,
    pub(super) server_retry_timeout: Duration,
    pub(super) server_failure_limit: u32,
    pub(super) server_probe_interval: Option<Duration>,
    pub(super) server_probe_successes: u32,
    pub(super) server_resolve_interval: Duration,
    pub(super) pubsub_buffer_limit: BufferLimit,
    pub(super) pubsub_everywhere: bool,
    pub(super) memory_limit: Option<usize>,
    pub(super) on_placement_change: Option<OnPlacementChange>,
    pub(super) placement_guard: bool,
    pub(super) sentinels: Vec<ServerAddr>,
    pub(super) sentinel_auth: Option<Secret>,
    pub(super) replicas: Vec<ReplicaConfig>,
    pub(super) server_failover_timeout: Option<Duration>,
    pub(super) read_from: ReadFrom,
    pub(super) replica_max_lag: Duration,
    pub(super) read_hedge_limit: u32,
    pub(super) users: Option<Vec<UserConfig>>,
    pub(super) users_from_file: Option<Vec<UserConfig>>,
    pub(super) users_file: Option<String>,
    pub(super) quota: Quota,
    pub(super) user_quotas: Vec<(UserQuota, Position)>,
}
