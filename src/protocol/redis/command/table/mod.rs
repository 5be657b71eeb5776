//! The rows, one file for each group.
//!
//! The columns of a row: name, arity, keys, policy, flags, since, usage, summary and, if it has any, subcommands. All
//! but the policy are Redis's own. Where versions differ, a forwarded command has the more generous arity, for the
//! server's own error is the best.

use crate::protocol::redis::command::Command;

/// Declares a slice of [`Command`] from rows of one line each.
macro_rules! commands {
    (@row $group:expr, $name:literal, $arity:literal, $keys:expr, $policy:expr, $flags:expr,
     $since:literal, $usage:literal, $summary:literal $(, $subcommands:ident)?) => {
        Command {
            name: $name,
            arity: $arity,
            keys: $keys,
            policy: $policy,
            group: $group,
            flags: $flags,
            since: $since,
            usage: $usage,
            summary: $summary,
            subcommands: commands!(@subcommands $($subcommands)?),
        }
    };
    (@subcommands) => { &[] };
    (@subcommands $rows:ident) => { $rows };
    ($vis:vis $rows:ident in $group:expr; $(($($row:tt)+))+) => {
        $vis static $rows: &[Command] = &[$(commands!(@row $group, $($row)+)),+];
    };
}

pub(crate) mod arrays;
pub(crate) mod bitmaps;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod generic;
pub(crate) mod geo;
pub(crate) mod hashes;
pub(crate) mod hyperloglogs;
pub(crate) mod json;
pub(crate) mod lists;
pub(crate) mod prelude;
pub(crate) mod probabilistic;
pub(crate) mod pubsub;
pub(crate) mod scripting;
pub(crate) mod search;
pub(crate) mod server;
pub(crate) mod sets;
pub(crate) mod sorted_sets;
pub(crate) mod streams;
pub(crate) mod strings;
pub(crate) mod time_series;
pub(crate) mod transactions;
pub(crate) mod vector_sets;

pub(crate) static GROUPS: [&[Command]; 22] = [
    strings::ROWS,
    bitmaps::ROWS,
    hyperloglogs::ROWS,
    generic::ROWS,
    hashes::ROWS,
    lists::ROWS,
    sets::ROWS,
    sorted_sets::ROWS,
    geo::ROWS,
    streams::ROWS,
    scripting::ROWS,
    transactions::ROWS,
    pubsub::ROWS,
    connection::ROWS,
    server::ROWS,
    cluster::ROWS,
    arrays::ROWS,
    vector_sets::ROWS,
    json::ROWS,
    probabilistic::ROWS,
    time_series::ROWS,
    search::ROWS,
];
