//! The table of all metrics. A row here is all that a new metric needs, apart from counting it.

use std::fmt::Debug;

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Rises and falls, in milliseconds.
    Millis,
    /// A time, in microseconds since the Unix epoch; 0 is never.
    Timestamp,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor<M> {
    /// The metric.
    pub metric: M,
    /// Its field in the JSON; `/metrics` derives its own name from it.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Twemproxy's wording in its `-D` output; `None` for what Twemproxy does not count.
    pub twemproxy: Option<&'static str>,
    /// One sentence for operators.
    pub help: &'static str,
}

impl<M> Descriptor<M> {
    /// Returns true if Twemproxy's JSON has this field.
    pub fn in_twemproxy(&self) -> bool {
        self.twemproxy.is_some()
    }

    /// The name on `/metrics`: `prefix`, the name without the part that repeats the prefix, and the suffix of its kind.
    pub fn prometheus_name(&self, prefix: &str) -> String {
        let stem = match prefix {
            "ringroad_server_" => self.name.strip_prefix("server_").unwrap_or(self.name),
            _ => self.name,
        };
        let stem = match self.kind {
            Kind::Millis => stem.strip_suffix("_ms").unwrap_or(stem),
            _ => stem,
        };
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Millis | Kind::Timestamp => "_seconds",
        };
        format!("{prefix}{stem}{suffix}")
    }
}

/// A set of metrics that can index an array of cells.
pub trait Metric: Copy + Debug + 'static {
    /// The prefix of the names on `/metrics`.
    const PREFIX: &'static str;
    /// All rows, in the order of their indices.
    const TABLE: &'static [Descriptor<Self>];

    /// The position of the cell, below the length of `TABLE`.
    fn index(self) -> usize;
}

macro_rules! table {
    (
        $(#[$doc:meta])*
        $name:ident, $prefix:literal {
            $($variant:ident $wire:literal $kind:ident $twemproxy:expr, $help:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $help] $variant,)*
        }

        impl $name {
            /// Every metric, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The number of metrics.
            pub const COUNT: usize = Self::ALL.len();
        }

        impl Metric for $name {
            const PREFIX: &'static str = $prefix;
            const TABLE: &'static [Descriptor<Self>] = &[$(Descriptor {
                metric: Self::$variant,
                name: $wire,
                kind: Kind::$kind,
                twemproxy: $twemproxy,
                help: $help,
            }),*];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

table! {
    /// The metrics of a pool. Twemproxy's fields come first, in the order of its JSON.
    PoolMetric, "ringroad_pool_" {
        ClientEof "client_eof" Counter Some("# eof on client connections"),
            "Client connections that ended normally: the client closed them or sent QUIT.";
        ClientErr "client_err" Counter Some("# errors on client connections"),
            "Client connections that ended with an error: reset, protocol error, a limit.";
        ClientConnections "client_connections" Gauge Some("# active client connections"),
            "Open client connections.";
        ServerEjects "server_ejects" Counter Some("# times backend server was ejected"),
            "Ejections of servers of the pool.";
        ForwardError "forward_error" Counter Some("# times we encountered a forwarding error"),
            "Requests that could not be forwarded and got an error reply from the proxy.";
        Fragments "fragments" Counter Some("# fragments created from a multi-vector request"),
            "Fragments that multi-key requests were split into, one for each server.";
        ClientAccepted "client_accepted" Counter None,
            "Accepted client connections.";
        ClientRejected "client_rejected" Counter None,
            "Client connections refused because a limit was reached.";
        RequestsLocal "requests_local" Counter None,
            "Requests that the proxy answered itself, such as PING.";
        RequestsRefused "requests_refused" Counter None,
            "Requests answered with an error because the command is unknown, unsupported or malformed.";
        ProtocolErrors "protocol_errors" Counter None,
            "Client connections closed because of a protocol error.";
        ClientBytesIn "client_bytes_in" Counter None,
            "Bytes read from clients.";
        ClientBytesOut "client_bytes_out" Counter None,
            "Bytes written to clients.";
        SlowClientClosed "slow_client_closed" Counter None,
            "Client connections closed because the client did not read its replies.";
        Subscriptions "subscriptions" Gauge None,
            "Subscriptions of clients to channels, patterns and shard channels.";
        MessagesDelivered "messages_delivered" Counter None,
            "Messages delivered to subscribers, counted once for each subscriber.";
        SlowSubscriberClosed "slow_subscriber_closed" Counter None,
            "Subscribers closed because their pending output exceeded `pubsub_buffer_limit`.";
        BufferedBytes "buffered_bytes" Gauge None,
            "Bytes that clients' requests and replies of 64 KiB or more occupy, which `memory_limit` limits.";
        MemoryRefused "memory_refused" Counter None,
            "Requests refused with an error because `memory_limit` is nearly reached.";
        MemoryClosed "memory_closed" Counter None,
            "Client connections closed because `memory_limit` is reached and they held most.";
        QuotaRequestsRefused "quota_requests_refused" Counter None,
            "Requests refused because the pool, or the client's user, is over its requests per second.";
        QuotaBytesRefused "quota_bytes_refused" Counter None,
            "Requests refused because the pool, or the client's user, is over its bytes per second.";
        QuotaConnectionsRefused "quota_connections_refused" Counter None,
            "Clients that were not let in, or not as a user, because the user has as many connections as its quota allows.";
        BlockedPopsRestored "blocked_pops_restored" Counter None,
            "Replies of blocking commands whose elements were put back because the client had disconnected.";
        TlsHandshakes "tls_handshakes" Counter None,
            "TLS handshakes with clients that were completed.";
        TlsHandshakeErrors "tls_handshake_errors" Counter None,
            "TLS handshakes with clients that failed; the log says whose and why.";
        TlsReloadErrors "tls_reload_errors" Counter None,
            "Times that a file of TLS had changed and was faulty, so that the old one stayed in use.";
        PrimaryChanges "primary_changes" Counter None,
            "Times that a server of the pool got another primary (`sentinels`, `replicas`).";
        ServerRolesConflict "server_roles_conflict" Counter None,
            "Times that several servers of a shard said that they were its primary (`replicas`); the known one stays in use.";
        ClientDenied "client_denied" Counter None,
            "Client connections refused by `allow` or `deny`.";
        ClientAddressLimited "client_address_limited" Counter None,
            "Client connections refused because their address had reached `client_address_rate` or `client_address_connections`.";
        ProxyHeaderErrors "proxy_header_errors" Counter None,
            "Connections closed because they did not begin with a valid header of the PROXY protocol in time (`proxy_protocol`).";
        AuthFailures "auth_failures" Counter None,
            "Attempts of clients to authenticate that failed.";
        AuthThrottled "auth_throttled" Counter None,
            "Attempts of clients to authenticate that were refused unseen, because too many of their address had failed \
             (`client_address_auth_failures`).";
        AuthTimeouts "auth_timeouts" Counter None,
            "Client connections closed because they did not authenticate within `auth_timeout`.";
    }
}

table! {
    /// The metrics of a server. Twemproxy's fields come first, in the order of its JSON.
    ServerMetric, "ringroad_server_" {
        ServerEof "server_eof" Counter Some("# eof on server connections"),
            "Server connections closed by the server.";
        ServerErr "server_err" Counter Some("# errors on server connections"),
            "Server connections that failed: refused, reset, unresolved host name, malformed reply.";
        ServerTimedout "server_timedout" Counter Some("# timeouts on server connections"),
            "Server connections closed because the server did not reply within the timeout.";
        ServerConnections "server_connections" Gauge Some("# active server connections"),
            "Established server connections.";
        ServerEjectedAt "server_ejected_at" Timestamp
            Some("timestamp when server was ejected in usec since epoch"),
            "When the server was last ejected; 0 means never.";
        Requests "requests" Counter Some("# requests"),
            "Requests and fragments forwarded to the server.";
        RequestBytes "request_bytes" Counter Some("total request bytes"),
            "Bytes of the requests forwarded to the server.";
        Responses "responses" Counter Some("# responses"),
            "Replies of the server to forwarded requests.";
        ResponseBytes "response_bytes" Counter Some("total response bytes"),
            "Bytes of the replies of the server to forwarded requests.";
        InQueue "in_queue" Gauge Some("# requests in incoming queue"),
            "Requests waiting to be written to the server.";
        InQueueBytes "in_queue_bytes" Gauge Some("current request bytes in incoming queue"),
            "Bytes of the requests waiting to be written to the server.";
        OutQueue "out_queue" Gauge Some("# requests in outgoing queue"),
            "Requests written to the server and waiting for its reply.";
        OutQueueBytes "out_queue_bytes" Gauge Some("current request bytes in outgoing queue"),
            "Bytes of the requests written to the server and waiting for its reply.";
        Connects "connects" Counter None,
            "Attempts to connect to the server.";
        ConnectErrors "connect_errors" Counter None,
            "Attempts to connect to the server that failed, during the handshake (AUTH, SELECT) or before it.";
        ReplyErrors "reply_errors" Counter None,
            "Error replies of the server; they are passed on to clients unchanged, except to `noreply` requests.";
        Backoffs "backoffs" Counter None,
            "Times that the next attempt to connect to the server was delayed by a back-off.";
        Subscriptions "server_subscriptions" Gauge None,
            "Channels, patterns and shard channels that the proxy is subscribed to on the server, counted once for each worker.";
        Messages "messages" Counter None,
            "Messages that the server sent to the proxy, which delivers each to all its subscribers.";
        Resubscriptions "resubscriptions" Counter None,
            "Subscriptions made again after the connection was lost, or because the server returned or took over.";
        Leases "leases" Gauge None,
            "Dedicated server connections in use by clients that watch keys or block.";
        LeasesRefused "leases_refused" Counter None,
            "Requests to watch keys or to block that were refused because all leases were in use (`server_leases`).";
        ReplicaReads "replica_reads" Counter None,
            "Reads that were sent to a replica of the server (`read_from`).";
        ReplicaReadsRepeated "replica_reads_repeated" Counter None,
            "Reads that were sent to the primary after all: the replica failed, did not serve, or answered too late.";
        ReplicaReadsHedged "replica_reads_hedged" Counter None,
            "Reads whose reply was late, and that were sent to the primary too (`read_hedge_limit`).";
        RequestsRefused "refused_by_server" Counter None,
            "Requests that the server refused as no primary (READONLY, MASTERDOWN) or while it loaded its data (LOADING), and that \
             were sent again.";
        ReplicasUp "replicas_up" Gauge None,
            "Replicas of the server that are connected to it, as far as the proxy knows its replicas.";
        Live "server_live" Gauge None,
            "1 while the server owns keys, 0 while it is ejected or drained.";
        ReplicaLag "replica_lag_ms" Millis None,
            "How long the replica that lags most may be behind the server, of those that may answer reads (`read_from`).";
    }
}

table! {
    /// The metrics of the whole process. They are read when `/metrics` is requested.
    ProcessMetric, "" {
        BuildInfo "ringroad_build_info" Gauge None,
            "Always 1; the label `version` is the running version.";
        Workers "ringroad_workers" Gauge None, "Worker threads.";
        Uptime "ringroad_uptime_seconds" Gauge None, "Seconds since the proxy started.";
        ConfigApplied "ringroad_config_last_reload_successful" Gauge None,
            "1 if the configuration file is in use as it was last loaded, 0 if it was refused.";
        ConfigAppliedAt "ringroad_config_last_reload_success_timestamp_seconds" Gauge None,
            "When the configuration file was last applied, in seconds since 1970.";
        StatsTlsExpiry "ringroad_stats_tls_expiry_seconds" Gauge None,
            "Seconds until the certificate of the stats port expires (`--stats-tls-cert`); negative if that is past.";
        TotalConnections "ringroad_connections" Counter None,
            "Total connections: clients, attempts to connect to servers, and listeners.";
        CurrentConnections "ringroad_connections_open" Gauge None,
            "Open connections: clients, servers and listeners.";
        ResidentMemory "process_resident_memory_bytes" Gauge None, "Resident memory in bytes.";
        OpenFds "process_open_fds" Gauge None, "Open file descriptors.";
        MaxFds "process_max_fds" Gauge None, "Maximum number of open file descriptors.";
        CpuSeconds "process_cpu_seconds" Counter None, "User and system CPU time in seconds.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check<M: Metric>(names: &mut BTreeSet<String>) {
        let mut ours = false;
        for (position, row) in M::TABLE.iter().enumerate() {
            assert_eq!(row.metric.index(), position);
            assert!(
                names.insert(row.prometheus_name(M::PREFIX)),
                "{} twice",
                row.name
            );
            assert!(row.help.ends_with('.'), "{}", row.help);
            assert!(
                row.in_twemproxy() <= !ours,
                "{} must precede our own metrics",
                row.name
            );
            ours = !row.in_twemproxy();
        }
    }

    #[test]
    fn metric_rows_are_ordered_and_unique() {
        let mut names = BTreeSet::new();
        check::<PoolMetric>(&mut names);
        check::<ServerMetric>(&mut names);
        check::<ProcessMetric>(&mut names);
        for name in names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
        }
    }

    #[test]
    fn names_on_metrics_do_not_stutter() {
        let row = |metric: ServerMetric| &ServerMetric::TABLE[metric.index()];
        let name = |metric| row(metric).prometheus_name(ServerMetric::PREFIX);
        assert_eq!(name(ServerMetric::ServerEof), "ringroad_server_eof_total");
        assert_eq!(
            name(ServerMetric::ServerEjectedAt),
            "ringroad_server_ejected_at_seconds"
        );
        assert_eq!(name(ServerMetric::InQueue), "ringroad_server_in_queue");
    }
}
