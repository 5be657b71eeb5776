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
    /// Who may request it.
    pub exposure: Exposure,
}

/// Who may request an operation. The admin socket offers all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Everybody who reaches the stats port, too.
    Public,
    /// The same, but the stats port leaves out keys, arguments and what identifies clients, unless `--show-keys` is given.
    Redacted,
    /// The admin socket alone.
    AdminOnly,
}

impl Exposure {
    /// The word of the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "yes",
            Self::Redacted => "without keys and clients",
            Self::AdminOnly => "",
        }
    }
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
    ($($operation:ident $verb:ident $exposure:ident $path:literal $command:literal $help:literal;)*) => {
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
                        exposure: Exposure::$exposure,
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
    Status Get Public "/status" "status" "version, uptime, number of clients";
    Overview Get Public "/overview" "overview [POOL]" "state and counts of the proxy, its pools and servers, in one answer";
    Events Get Redacted "/events" "events [POOL]" "what has happened: ejections, failovers, reloads, moves of keys";
    Rings Get Public "/ring" "ring [POOL]" "how keys spread over the servers";
    Pools Get Public "/pools" "pools" "each pool: address, servers, clients, requests per second";
    Servers Get Public "/servers" "servers [POOL]" "each server: state, connections, queue, errors";
    Clients Get Redacted "/clients" "clients [POOL] [list]" "each client of the Redis pools";
    KillClient Post AdminOnly "/clients/kill" "clients [POOL] kill ID|ADDR" "disconnect a client";
    Users Get AdminOnly "/users" "users [POOL]" "the users of the Redis pools, and what they may do";
    SetUser Post AdminOnly "/users/set" "setuser POOL USER RULE..." "create a user, or change its rights, as ACL SETUSER does";
    DeleteUser Post AdminOnly "/users/delete" "deluser POOL USER" "delete a user, and disconnect its clients";
    Topology Get Public "/topology" "topology [POOL]" "each fact about a pool, its source and age: why is it so?";
    Moves Get Public "/moves" "moves [POOL]" "the last move of keys of each pool: buckets, holds, proxies, alarms, what to do next";
    Commands Get Public "/commands" "commands [POOL]" "each command that clients used: calls, errors, latencies";
    Refusals Get Redacted "/refusals" "refusals [POOL]" "which commands were refused, and why";
    HotKeys Get Redacted "/hotkeys" "hotkeys [POOL] [--for TIME] [--count N]" "the keys that most requests name";
    BigKeys Get Redacted "/bigkeys" "bigkeys [POOL] [--count N]" "the largest requests and replies of the last minutes, and their keys";
    SlowLog Get Redacted "/slowlog" "slowlog [POOL] [--count N]" "the slow requests: arguments, server, time in the proxy and at the server";
    Tap Get AdminOnly "/tap" "tap POOL [--for TIME] [--count N]" "requests as they pass, with filters: --client, --command, --key, --server, --one-in";
    Drain Post AdminOnly "/servers/drain" "drain SERVER" "take a server out of the ring until it is admitted";
    Eject Post AdminOnly "/servers/eject" "eject SERVER" "take a server out of the ring as if it had failed";
    Admit Post AdminOnly "/servers/admit" "admit SERVER" "bring a server back into the ring";
    Failover Post AdminOnly "/failover" "failover SERVER [--to ADDR]" "make a replica the primary of this server, and lose no write";
    Reload Post AdminOnly "/reload" "reload [--check] [--swap POOL]..." "apply the configuration file, whole or not at all";
    Diff Post AdminOnly "/diff" "diff FILE" "what a reload of this file would change, and whether it would be refused";
    LogLevel Get Public "/log-level" "loglevel" "the log level";
    SetLogLevel Post AdminOnly "/log-level" "loglevel N|up|down" "set the log level (min: 0, max: 11)";
    Upgrade Post AdminOnly "/upgrade" "upgrade [BINARY]" "replace the process by a new one, and drop no client";
    Stop Post AdminOnly "/stop" "stop" "finish requests in flight, then exit, as on SIGTERM";
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

    #[test]
    fn only_operations_that_read_are_on_the_stats_port() {
        for operation in Operation::ALL {
            let row = operation.endpoint();
            let is_exposed = row.exposure != Exposure::AdminOnly;
            assert!(!is_exposed || row.verb == Verb::Get, "{}", row.path);
        }
    }
}
