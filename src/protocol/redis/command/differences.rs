//! Replies of the proxy to supported commands that differ from those of a single redis-server, and the reasons.
//! Rejected commands have their reasons in the command table.
//!
//! [`docs`](crate::protocol::redis::command::docs) shows this list; the differential test checks both sides against it
//! and finds missing entries.

/// Requests whose replies differ for one reason.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// Examples.
    pub requests: &'static [&'static str],
    /// A substring of the proxy's reply to each, with four servers.
    pub ours: &'static str,
    /// The difference and its reason. One line of Markdown, without a full stop.
    pub why: &'static str,
}

/// All differences.
pub const ALL: &[Difference] = &[
    Difference {
        requests: &["CLIENT HELP", "OBJECT HELP", "XINFO HELP"],
        ours: "Subcommands are:",
        why: "Every `HELP`: the subcommands that the proxy supports, in its own words",
    },
    Difference {
        requests: &["COMMAND", "COMMAND COUNT", "COMMAND LIST", "COMMAND DOCS"],
        ours: "",
        why: "The commands that the proxy supports, including those of later versions and of modules",
    },
    Difference {
        requests: &["SORT list BY weight-*", "SORT_RO list GET value-*"],
        ours: "its pattern may match keys on other servers",
        why: "A pattern whose `*` is not bound to the server of the list by a hash tag, as in a Redis Cluster",
    },
    Difference {
        requests: &["CONFIG SET hash-max-listpack-entries 128"],
        ours: "enable 'server_parameters'",
        why: "Only the proxy's own parameters can be set, unless the pool has `server_parameters`",
    },
];
