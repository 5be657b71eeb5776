//! The answers that a page draws: the state and the counts of all pools at once, events, rings.

use crate::admin::api::access::Redacted;
use crate::admin::api::answers::{ProxyState, ServerState};
use crate::admin::api::described::described;

described! {
    /// The state and the counts of the proxy and of its pools. Two answers give the rates and the latencies of the time between
    /// them.
    pub struct Overview {
        /// Version of the proxy.
        version: String,
        /// Name of its host.
        host: String,
        /// Id of its process.
        pid: u32,
        /// `serving`, or `stopping` while it finishes requests in flight after `stop` or SIGTERM.
        state: ProxyState,
        /// Time of this answer, in milliseconds since 1970.
        now_ms: u64,
        /// Seconds since its start, with fractions.
        uptime_seconds: f64,
        /// Processor seconds since its start, of all threads.
        cpu_seconds: f64,
        /// Resident memory in bytes.
        memory_bytes: u64,
        /// Open file descriptors.
        open_files: u64,
        /// Maximum number of open file descriptors.
        max_files: u64,
        /// Worker threads.
        workers: usize,
        /// Log level, 0 to 11.
        log_level: u8,
        /// Why the configuration file was refused when it was last loaded; `null` if it is in use.
        config_refusal: Option<String>,
        /// Number of the last event (`/events`): it grows with each.
        newest_event: u64,
        /// The upper bounds of latencies, in microseconds, exclusive. Buckets have the number of their bound; the one after the last
        /// has none.
        latency_bounds_us: Vec<u64>,
        /// One entry for each pool, in the order of the statistics.
        pools: Vec<PoolOverview>,
    }

    /// One pool. Counts are sums over all workers since its start, but for gauges: `clients`, `subscriptions`,
    /// `buffered_bytes`.
    pub struct PoolOverview {
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
        /// True while keys are being moved.
        moving: bool,
        /// True if servers that fail are ejected (`auto_eject_hosts`).
        ejects: bool,
        /// True if `/moves` tells of this pool (`placement_guard`).
        guarded: bool,
        /// True if a failover can be ordered (`sentinels`, `replicas`).
        fails_over: bool,
        /// What is wrong with changed files of TLS, so that the old ones are in use.
        tls_refusals: Vec<String>,
        /// Certificates that have expired, or expire soon.
        tls_expiries: Vec<String>,
        /// Open client connections.
        clients: u64,
        /// Subscriptions of clients.
        subscriptions: u64,
        /// Bytes of large requests and replies.
        buffered_bytes: u64,
        /// Requests answered: by servers, or by the proxy itself.
        requests: u64,
        /// Those that the proxy answered itself.
        requests_local: u64,
        /// Requests that could not be forwarded and got an error from the proxy.
        errors: u64,
        /// Requests refused because the command is unknown, unsupported or malformed.
        refused: u64,
        /// Bytes read from clients.
        bytes_in: u64,
        /// Bytes written to clients.
        bytes_out: u64,
        /// Accepted clients.
        clients_accepted: u64,
        /// Clients refused because a limit was reached.
        clients_rejected: u64,
        /// Clients closed because a limit was reached: slow readers, `memory_limit`.
        clients_closed: u64,
        /// Client connections that ended with an error.
        client_errors: u64,
        /// Ejections of servers.
        ejections: u64,
        /// Times that a server got another primary.
        primary_changes: u64,
        /// Latencies of requests, from accepting them to the end of their replies: pairs of a bucket and its count, but for zeros.
        latency: Vec<(usize, u64)>,
        /// Its servers, in the order of the ring.
        servers: Vec<ServerOverview>,
    }

    /// One server. Counts are sums over all workers since the start, but for gauges: `connections`, `queued`, `in_flight`, `leases`.
    pub struct ServerOverview {
        /// Name of the server.
        server: String,
        /// Address of its connections.
        address: String,
        /// Weight in the ring.
        weight: u32,
        /// `live`, `ejected` or `drained`.
        state: ServerState,
        /// Share of the keys that it owns now, from 0 to 1, if they are spread evenly over the hashes.
        key_share: f64,
        /// Open connections to it.
        connections: u64,
        /// Requests that wait to be written to it.
        queued: u64,
        /// Requests that wait for its reply.
        in_flight: u64,
        /// Dedicated connections in use by clients.
        leases: u64,
        /// Requests forwarded to it.
        requests: u64,
        /// Replies to them.
        replies: u64,
        /// Bytes of the requests.
        bytes_in: u64,
        /// Bytes of the replies.
        bytes_out: u64,
        /// Connections that failed: refused, reset, malformed reply.
        errors: u64,
        /// Connections closed because it did not reply in time.
        timeouts: u64,
        /// Connections that it closed.
        closed: u64,
        /// Error replies, which clients got unchanged.
        reply_errors: u64,
        /// Attempts to connect that failed.
        connect_errors: u64,
        /// When it was last ejected, in milliseconds since 1970; null if never.
        ejected_at_ms: Option<u64>,
        /// Latencies, from queueing a request for it to the end of its reply: pairs of a bucket and its count, but for zeros.
        latency: Vec<(usize, u64)>,
    }

    /// What has happened, the oldest first: the last thousand events. One that repeats is counted, and not listed again.
    pub struct Events {
        /// Number of the last event.
        newest: u64,
        /// One entry for each.
        events: Vec<LoggedEvent>,
    }

    /// One event.
    pub struct LoggedEvent {
        /// Its number, which is that of its last repetition.
        number: u64,
        /// When it happened first, in milliseconds since 1970.
        first_ms: u64,
        /// When it happened last, in milliseconds since 1970.
        last_ms: u64,
        /// How often it has happened.
        count: u64,
        /// Its kind; see below.
        kind: String,
        /// `info`, `warning` or `error`.
        severity: String,
        /// The pool that it is about; null if it is about the proxy.
        pool: Option<String>,
        /// The server that it is about.
        server: Option<String>,
        /// Address of the client that it is about. Null on the stats port without `--show-keys`.
        client: Option<String>,
        /// The event, for people.
        text: String,
        /// More lines about it, such as the reasons of a refusal. Empty on the stats port without `--show-keys`.
        details: Vec<String>,
    }

    /// How keys spread over the servers.
    pub struct Rings {
        /// One entry for each pool.
        pools: Vec<PoolRing>,
    }

    /// The ring of one pool.
    pub struct PoolRing {
        /// Name of the pool.
        pool: String,
        /// Distribution of the keys.
        distribution: String,
        /// Hash of the keys.
        hash: String,
        /// Changes after which a key may have had another owner.
        placement: u64,
        /// Points of all servers on the ring (`ketama`), or slots (`modula`).
        points: u64,
        /// True if neighbouring arcs were put together, because there are more than 720, or because keys are being moved.
        thinned: bool,
        /// The servers, in the order of the ring.
        servers: Vec<RingServer>,
        /// The ring from its beginning: pairs of the position of a server in `servers`, and the end of its arc, from 0 to 1. Empty
        /// with the distribution `random`, and without a live server.
        arcs: Vec<(usize, f64)>,
    }

    /// One server of a ring.
    pub struct RingServer {
        /// Name of the server.
        server: String,
        /// `live`, `ejected` or `drained`.
        state: ServerState,
        /// Its weight.
        weight: u32,
        /// Share of the keys that it owns, from 0 to 1, if they are spread evenly over the hashes.
        key_share: f64,
        /// Share of the weights of all live servers, from 0 to 1: what it should own.
        weight_share: f64,
    }
}

impl Redacted for Events {
    fn redacted(mut self) -> Self {
        for event in &mut self.events {
            event.client = None;
            event.details.clear();
        }
        self
    }
}
