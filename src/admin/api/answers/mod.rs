//! The answers of the API: plain data, which the proxy writes and `ringroad ctl` reads.
//!
//! Field names are what operators script against: they stay, and fields may be added. `docs/admin-api.md` is generated
//! from the definitions here.

mod counts;
pub mod observed;
mod overview;
mod upgrade;
mod users;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::api::access::Redacted;
use crate::admin::api::described::described;
pub use overview::{
    Events, LoggedEvent, Overview, PoolOverview, PoolRing, RingServer, Rings, ServerOverview,
};

pub use counts::{CommandUse, Commands, Refusals, RefusedCommand};
pub use upgrade::Upgraded;
pub use users::{DeletedUser, User, Users};

described! {
    /// The proxy as a whole.
    pub struct Status {
        /// Version of the proxy.
        version: String,
        /// Id of its process.
        pid: u32,
        /// Seconds since its start.
        uptime_seconds: u64,
        /// `serving`, or `stopping` while it finishes requests in flight after `stop` or SIGTERM.
        state: ProxyState,
        /// Absolute path of the configuration file.
        config_file: String,
        /// When it was last applied, in milliseconds since 1970.
        config_applied_ms: u64,
        /// Why it was refused since then; `null` if it is in use as it was last loaded.
        config_refusal: Option<String>,
        /// Files of TLS that are faulty, so that the old ones are in use, and certificates that expire soon.
        tls_problems: Vec<String>,
        /// Worker threads.
        workers: usize,
        /// Pools.
        pools: usize,
        /// Open client connections of all pools.
        clients: u64,
        /// Log level, 0 to 11.
        log_level: u8,
    }

    /// The pools, in the order of the statistics.
    pub struct Pools {
        /// One entry for each pool.
        pools: Vec<Pool>,
    }

    /// One pool.
    pub struct Pool {
        /// Name of the pool.
        pool: String,
        /// `redis` or `memcached`.
        protocol: String,
        /// Address that clients connect to, as the file has it.
        listen: String,
        /// Hash of the keys.
        hash: String,
        /// Distribution of the keys.
        distribution: String,
        /// Servers.
        servers: usize,
        /// Servers that own keys now.
        live_servers: usize,
        /// Open client connections.
        clients: u64,
        /// Answered requests per second, on average over the last one to three intervals of `-i`; null in the first one.
        requests_per_second: Option<u64>,
    }

    /// Servers, pool by pool, in the order of the ring.
    pub struct Servers {
        /// One entry for each server.
        servers: Vec<Server>,
    }

    /// One server. Counts are sums over all workers.
    pub struct Server {
        /// Name of its pool.
        pool: String,
        /// Name of the server, unique in its pool.
        server: String,
        /// Address of the server.
        address: String,
        /// Weight in the ring.
        weight: u32,
        /// `live`: it owns keys. `ejected`: it failed, and is out of the ring until it returns. `drained`: an operator took
        /// it out of the ring.
        state: ServerState,
        /// Open connections to it.
        connections: u64,
        /// Requests that wait to be written to it.
        queued: u64,
        /// Requests that wait for its reply.
        in_flight: u64,
        /// Requests forwarded to it since the start.
        requests: u64,
        /// Failed connections since the start: refused, reset, timed out, malformed reply.
        errors: u64,
        /// Who says that the primary is at `address`, as in `sentinel 10.0.1.1:26379`; null if nobody has said so.
        primary_by: Option<String>,
        /// Its replicas, as far as the proxy knows them: those of `replicas`, or with `read_from` those that Sentinel knows.
        replicas: Vec<ReplicaState>,
    }

    /// One replica of a server.
    pub struct ReplicaState {
        /// Address of the replica.
        address: String,
        /// True if it answers and is connected to its primary.
        up: bool,
        /// How many milliseconds it is behind its primary at most; null if that is not known, as without `read_from`.
        lag_ms: Option<u64>,
        /// How many bytes of its primary's history it had not applied when it was asked last; null if that is not known.
        behind_bytes: Option<u64>,
    }

    /// Clients, pool by pool, in the order of their connection.
    pub struct Clients {
        /// One entry for each client of a Redis pool.
        clients: Vec<Client>,
        /// One entry for each memcached pool: these keep no list of their clients.
        unlisted: Vec<Unlisted>,
    }

    /// One client of a Redis pool.
    pub struct Client {
        /// Name of its pool.
        pool: String,
        /// Id of the client, as in `CLIENT ID`: unique in the process.
        id: u64,
        /// Its address; for a unix socket the path of the socket, and `:0`. Empty on the stats port without `--show-keys`.
        address: String,
        /// Address that it has connected to.
        local_address: String,
        /// Its name (`CLIENT SETNAME`); empty without one, and on the stats port without `--show-keys`.
        name: String,
        /// Seconds since it connected.
        age_seconds: u64,
        /// Its database.
        db: u32,
        /// Version of its protocol: 2 or 3.
        resp: i64,
        /// Channels, patterns and shard channels that it is subscribed to.
        subscriptions: usize,
        /// True while a blocking command waits for it on a server.
        blocked: bool,
        /// Its library (`CLIENT SETINFO`); empty without one.
        library: String,
        /// The version of its library; empty without one.
        library_version: String,
    }

    /// A pool whose clients are counted, not listed.
    pub struct Unlisted {
        /// Name of the pool.
        pool: String,
        /// Open client connections.
        clients: u64,
    }

    /// The clients that a request has disconnected.
    pub struct Killed {
        /// One entry for each.
        killed: Vec<KilledClient>,
    }

    /// A client that was disconnected.
    pub struct KilledClient {
        /// Name of its pool.
        pool: String,
        /// Its id.
        id: u64,
        /// Its address.
        address: String,
    }

    /// Why pools are as they are.
    pub struct Topologies {
        /// One entry for each pool.
        pools: Vec<PoolTopology>,
    }

    /// The facts about one pool, and the topology that follows from them.
    pub struct PoolTopology {
        /// Name of the pool.
        pool: String,
        /// Changes of the topology since the start.
        epoch: u64,
        /// Changes after which a key may have had another owner.
        placement: u64,
        /// The servers, in the order of the ring.
        servers: Vec<TopologyServer>,
        /// All that is known, by source.
        facts: Vec<Fact>,
    }

    /// One server of a topology.
    pub struct TopologyServer {
        /// Name of the server.
        server: String,
        /// Address of the server, as the file has it.
        address: String,
        /// Address that its name stands for; null if it has none, or no connection has been opened yet.
        resolved: Option<String>,
        /// Weight in the ring.
        weight: u32,
        /// `live`, `ejected` or `drained`.
        state: ServerState,
        /// Address of its primary, by Sentinel or by its own role; null if nobody has said so.
        primary: Option<String>,
    }

    /// One fact.
    pub struct Fact {
        /// Who says so: `file`, `health` (requests and probes, and `eject`), `dns`, `operator` (`drain`), `mark` (what a move
        /// of keys has left at the server), `sentinel`, or `role` (what servers say of themselves).
        source: FactSource,
        /// The server that it is about; null if it is about the pool.
        server: Option<String>,
        /// The fact, for people.
        text: String,
        /// Seconds since it was said.
        age_seconds: u64,
    }

    /// The last move of keys of each pool with `placement_guard`, read at its servers when it is asked for.
    pub struct Moves {
        /// One entry for each pool, as `ringroad reshard status --json` prints it
        /// ([resharding.md](resharding.md#what-status-tells)); one whose servers do not answer has only `pool` and `error`.
        moves: Vec<Value>,
        /// The same for people, as `ringroad reshard status` prints it.
        text: String,
    }

    /// A server that an operator has drained, ejected or admitted.
    pub struct ChangedServer {
        /// Name of its pool.
        pool: String,
        /// Name of the server.
        server: String,
        /// Its state now.
        state: ServerState,
    }

    /// A failover that was made: the primary and a replica have changed their roles.
    pub struct FailedOver {
        /// Name of the pool.
        pool: String,
        /// Name of the server.
        server: String,
        /// Address of the primary before.
        old: String,
        /// Address of the primary now.
        new: String,
        /// How it was made: `FAILOVER`, or `SENTINEL FAILOVER with writes paused`.
        by: String,
        /// Milliseconds until the new primary was known.
        took_ms: u64,
        /// What was not done, for people.
        warnings: Vec<String>,
    }

    /// The differences between the running configuration and the file.
    pub struct Reloaded {
        /// True if they were applied; false if they were only to be checked.
        applied: bool,
        /// One entry for each pool that differs.
        pools: Vec<PoolChange>,
    }

    /// The differences of one pool.
    pub struct PoolChange {
        /// Name of the pool.
        pool: String,
        /// `added`, `removed` or `changed`.
        change: ChangeKind,
        /// One line for each difference, for people.
        details: Vec<String>,
        /// Share of the keys that are looked for on another server, from 0 to 1; null if none are.
        moved_share: Option<f64>,
    }

    /// The differences between the running configuration and a file.
    pub struct Differences {
        /// The differences, as `ringroad diff --json` prints them ([operations.md](operations.md#before-a-change-of-the-file)).
        changes: Value,
        /// The same for people, as `ringroad diff` prints it.
        text: String,
        /// The reasons why a reload of the file would be refused; empty if it would be applied.
        refusals: Vec<String>,
    }

    /// The log level.
    pub struct LogLevel {
        /// The level, 0 to 11.
        level: u8,
        /// The least important lines that it shows: `off`, `error`, `warn`, `info`, `debug` or `trace`.
        shows: String,
    }

    /// The proxy has begun to stop.
    pub struct Stopping {
        /// Time limit for the requests in flight.
        within_seconds: u64,
    }

    /// A request that was refused. Nothing was changed.
    pub struct Refusal {
        /// The reason.
        error: String,
        /// More lines about it, if there are several causes.
        details: Vec<String>,
    }
}

/// The state of the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyState {
    /// It accepts clients.
    #[default]
    Serving,
    /// It finishes requests in flight, then exits.
    Stopping,
}

/// The state of a server in its pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It owns keys.
    #[default]
    Live,
    /// It is out of the ring because it failed.
    Ejected,
    /// It is out of the ring because an operator wants it so.
    Drained,
}

/// The source of a fact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactSource {
    /// The configuration file.
    #[default]
    File,
    /// The resolver of host names.
    Dns,
    /// Requests of clients, probes, and `eject`.
    Health,
    /// `drain`.
    Operator,
    /// The mark at a server, which a move of keys leaves there.
    Mark,
    /// A sentinel.
    Sentinel,
    /// What servers say of themselves.
    Role,
}

/// The kind of difference of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The file has it, and the proxy had not.
    Added,
    /// The proxy had it, and the file has it no more.
    Removed,
    /// Both have it.
    #[default]
    Changed,
}

impl Redacted for Clients {
    fn redacted(mut self) -> Self {
        for client in &mut self.clients {
            client.address.clear();
            client.name.clear();
            client.library.clear();
            client.library_version.clear();
        }
        self
    }
}

impl ProxyState {
    /// The word of the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }
}

impl ServerState {
    /// The word of the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ejected => "ejected",
            Self::Drained => "drained",
        }
    }
}

impl FactSource {
    /// The word of the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dns => "dns",
            Self::Health => "health",
            Self::Operator => "operator",
            Self::Mark => "mark",
            Self::Sentinel => "sentinel",
            Self::Role => "role",
        }
    }
}

impl ChangeKind {
    /// The word of the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}
