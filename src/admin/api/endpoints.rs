//! The table of the API: dispatch, the commands of `ringroad ctl` with their help, and `docs/admin-api.md` follow from it.

/// One row of the table.
#[derive(Debug)]
pub struct Endpoint {
    /// The method.
    pub verb: Verb,
    /// The path.
    pub path: &'static str,
    /// The command of `ringroad ctl`, with its arguments.
    pub command: &'static str,
    /// One line for operators.
    pub help: &'static str,
}

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads; its parameters are in the query.
    Get,
    /// Changes something, or has a parameter that is long; its parameters are a JSON object in the body.
    Post,
}

impl Verb {
    /// The name of the method.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

macro_rules! table {
    ($($operation:ident $verb:ident $path:literal $command:literal $help:literal;)*) => {
        /// An operation that the admin socket offers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $(#[doc = concat!("Of `", $command, "`: ", $help, ".")] $operation,)*
        }

        impl Operation {
            /// All operations, in the order of the help.
            pub const ALL: &[Self] = &[$(Self::$operation),*];

            /// Its row.
            #[must_use]
            pub const fn endpoint(self) -> &'static Endpoint {
                match self {
                    $(Self::$operation => &Endpoint {
                        verb: Verb::$verb,
                        path: $path,
                        command: $command,
                        help: $help,
                    },)*
                }
            }
        }
    };
}

impl Operation {
    /// The maximum length of the body of a request.
    #[must_use]
    pub const fn body_max_bytes(self) -> usize {
        match self {
            // The text of a configuration file. One with ten thousand servers is a tenth of it.
            Self::Diff => 4 << 20,
            // Names and addresses.
            _ => BODY_MAX_BYTES,
        }
    }
}

/// The maximum length of the body of other requests than those with a file.
pub(super) const BODY_MAX_BYTES: usize = 64 << 10;

table! {
    Status Get "/status" "status" "version, uptime, number of clients";
    Pools Get "/pools" "pools" "each pool: address, servers, clients, requests per second";
    Servers Get "/servers" "servers [POOL]" "each server: state, connections, queue, errors";
    Clients Get "/clients" "clients [POOL] [list]" "each client of the Redis pools";
    KillClient Post "/clients/kill" "clients [POOL] kill ID|ADDR" "disconnect a client";
    Topology Get "/topology" "topology [POOL]" "each fact about a pool, its source and age: why is it so?";
    Moves Get "/moves" "moves [POOL]" "the last move of keys of each pool: buckets, holds, proxies, alarms, what to do next";
    Drain Post "/servers/drain" "drain SERVER" "take a server out of the ring until it is admitted";
    Eject Post "/servers/eject" "eject SERVER" "take a server out of the ring as if it had failed";
    Admit Post "/servers/admit" "admit SERVER" "bring a server back into the ring";
    Failover Post "/failover" "failover SERVER [--to ADDR]" "make a replica the primary of this server, and lose no write";
    Reload Post "/reload" "reload [--check] [--swap POOL]..." "apply the configuration file, whole or not at all";
    Diff Post "/diff" "diff FILE" "what a reload of this file would change, and whether it would be refused";
    LogLevel Get "/log-level" "loglevel" "the log level";
    SetLogLevel Post "/log-level" "loglevel N|up|down" "set the log level (min: 0, max: 11)";
    Stop Post "/stop" "stop" "finish requests in flight, then exit, as on SIGTERM";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn endpoint_rows_are_unique() {
        let rows = || Operation::ALL.iter().map(|operation| operation.endpoint());
        let requests: BTreeSet<_> = rows().map(|row| (row.verb.name(), row.path)).collect();
        let commands: BTreeSet<_> = rows().map(|row| row.command).collect();
        assert_eq!(
            (requests.len(), commands.len()),
            (Operation::ALL.len(), Operation::ALL.len())
        );
    }
}
