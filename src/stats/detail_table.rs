//! The names of the metrics of pools by command, class and reason, and of all histograms.

macro_rules! command_metrics {
    ($($variant:ident $name:literal $help:literal;)*) => {
        /// A metric of each command of a pool.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum CommandMetric {
            $(#[doc = $help] $variant,)*
        }

        impl CommandMetric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on `/metrics`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// One sentence for operators.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => $help,)*
                }
            }
        }
    };
}

command_metrics! {
    Calls "ringroad_pool_command_calls_total"
        "Requests of clients with this command, but for refused ones.";
    Errors "ringroad_pool_command_errors_total"
        "Those of the calls that ended with an error.";
    Refused "ringroad_pool_command_refused_total"
        "Requests with this command that the proxy refused.";
    Seconds "ringroad_pool_command_seconds_total"
        "Time from accepting a request with this command to the end of its reply, summed over the answered calls.";
}

/// A name and its help.
pub(super) type Named = (&'static str, &'static str);

/// The histogram of a pool.
pub const POOL_LATENCY: Named = (
    "ringroad_pool_latency_seconds",
    "Time from accepting a request to the end of its reply, of the requests that servers answered within `timeout`.",
);

/// The wait of replies in the proxy.
pub const REPLY_WAIT: Named = (
    "ringroad_pool_reply_wait_seconds",
    "Time in the proxy from reading a reply to writing it to the client, of one request in 64.",
);

/// The histogram of a server.
pub const SERVER_LATENCY: Named = (
    "ringroad_server_latency_seconds",
    "Time from queueing a request for the server to the end of its reply: the wait in the proxy, the network, and the server.",
);

/// The wait of requests in the proxy.
pub const WRITE_WAIT: Named = (
    "ringroad_server_write_wait_seconds",
    "Time in the proxy from queueing a request for the server to writing it, of the oldest request of one write in 64.",
);

/// The histograms by class.
pub const COMMAND_LATENCY: Named = (
    "ringroad_pool_command_latency_seconds",
    "Time from accepting a request to the end of its reply, by class of commands; that of blocking commands includes the wait.",
);

/// The refused requests by reason.
pub const REFUSALS: Named = (
    "ringroad_pool_refusals_total",
    "Requests that the proxy refused, by reason.",
);

/// Refusals because of the quotas of users.
pub const USER_REFUSALS: Named = (
    "ringroad_pool_user_refusals_total",
    "Refusals because of `user_quotas`, by its rows and by limit; the user `*` stands for all without a row.",
);

/// The ends of certificates.
pub const TLS_EXPIRY: Named = (
    "ringroad_tls_expiry_seconds",
    "Seconds until the first certificate of a file of TLS expires, or the last one of a file of CAs; negative if that is past.",
);

/// The error replies to clients.
pub const ERROR_REPLIES: Named = (
    "ringroad_pool_error_replies_total",
    "Error replies to clients, of servers and of the proxy.",
);
