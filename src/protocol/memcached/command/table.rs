//! The rows: name, policy, arguments, first version of memcached, summary or reason for rejection.

use Policy::{Cas, Delete, Delta, Refused, Retrieve, RetrieveTouch, Store, Touch};

use crate::protocol::memcached::command::row::{AllServers, Command, Local, Meta, Policy};
use crate::stats::CommandId;

const fn row(
    name: &'static str,
    policy: Policy,
    usage: &'static str,
    since: &'static str,
    summary: &'static str,
) -> Command {
    Command {
        id: CommandId::NONE,
        name,
        policy,
        usage,
        since,
        summary,
    }
}

const STORE: &str = "key flags exptime bytes [noreply]";
const CAS: &str = "key flags exptime bytes unique [noreply]";
const META: Policy = Policy::Meta(Meta::Get);
const ALONE: &str = "it administers a single server; connect to that server directly";

#[rustfmt::skip]
pub(crate) static TABLE: &[Command] = &numbered([
    row("get", Retrieve, "key [key ...]", "", "Reads values"),
    row("gets", Retrieve, "key [key ...]", "1.2.4", "Reads values with their unique numbers"),
    row("bget", Retrieve, "key [key ...]", "", "An old name of `get`"),
    row("gat", RetrieveTouch, "exptime key [key ...]", "1.5.3", "Reads values and sets when they expire"),
    row("gats", RetrieveTouch, "exptime key [key ...]", "1.5.3", "As `gat`, with their unique numbers"),
    row("set", Store, STORE, "", "Stores a value"),
    row("add", Store, STORE, "", "Stores a value where there is none"),
    row("replace", Store, STORE, "", "Stores a value in place of another"),
    row("append", Store, STORE, "1.2.4", "Appends data to a value"),
    row("prepend", Store, STORE, "1.2.4", "Prepends data to a value"),
    row("cas", Cas, CAS, "1.2.4", "Stores a value if its unique number is unchanged"),
    row("incr", Delta, "key number [noreply]", "", "Adds to a number"),
    row("decr", Delta, "key number [noreply]", "", "Subtracts from a number, not below 0"),
    row("delete", Delete, "key [0] [noreply]", "", "Deletes a value"),
    row("touch", Touch, "key exptime [noreply]", "1.4.8", "Sets when a value expires"),
    row("mg", META, "key [flag ...]", "1.6.0", "Reads a value and what the flags request"),
    row("ms", Policy::Meta(Meta::Set), "key bytes [flag ...]", "1.6.10", "Stores a value"),
    row("md", Policy::Meta(Meta::Delete), "key [flag ...]", "1.6.0", "Deletes a value, or marks it as stale"),
    row("ma", Policy::Meta(Meta::Arithmetic), "key [flag ...]", "1.6.10", "Adds to or subtracts from a number"),
    row("me", Policy::Meta(Meta::Debug), "key [flag]", "1.6.0", "Returns debugging information about a value"),
    row("mn", Policy::Local(Local::Noop), "", "1.6.0", "Answers `MN` after all earlier replies"),
    row("version", Policy::AllServers(AllServers::Version), "", "",
        "The version of the servers; where they differ, each version once, the lowest first"),
    row("flush_all", Policy::AllServers(AllServers::FlushAll), "[delay] [noreply]", "", "Invalidates all values"),
    row("verbosity", Policy::AllServers(AllServers::Verbosity), "level [noreply]", "", "Sets the verbosity of the servers"),
    row("cache_memlimit", Policy::AllServers(AllServers::CacheMemlimit), "megabytes [noreply]", "1.4.18",
        "Sets how much memory each server uses"),
    row("stats", Policy::Local(Local::Stats), "", "", "The proxy's own figures; refused with an argument"),
    row("quit", Policy::Local(Local::Quit), "", "", "Closes the connection after all earlier replies"),
    row("slabs", Refused, "", "", ALONE),
    row("lru", Refused, "", "", ALONE),
    row("lru_crawler", Refused, "", "", ALONE),
    row("extstore", Refused, "", "", ALONE),
    row("refresh_certs", Refused, "", "", ALONE),
    row("debugtime", Refused, "", "", ALONE),
    row("misbehave", Refused, "", "", ALONE),
    row("watch", Refused, "", "", "it streams the log of one server, and server connections are shared"),
    row("shutdown", Refused, "", "", "it would stop servers that other clients use"),
]);

/// Gives each row its position; 0 is no command.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, where an index out of bounds is an error; the table is short"
)]
const fn numbered<const N: usize>(mut rows: [Command; N]) -> [Command; N] {
    let mut at = 0;
    while at < N {
        rows[at].id = CommandId::at(at as u16 + 1);
        at += 1;
    }
    rows
}
