//! The rows, one file for each chapter.
//!
//! A row reads: name, arity, keys, policy, flags, since, usage, summary and, if it has any, subcommands. What one Redis
//! says of a command stands here as it is; only the policy is the proxy's own. Where versions differ, a command that is
//! forwarded has the more generous arity, for the server's own error is the best.

use super::Command;

/// Declares a slice of [`Command`] from rows that stay on one line.
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

/// What every file of rows needs.
mod prelude {
    pub(super) use super::super::Policy::{
        Attest, Block, Forward, Keyless, Local as Answer, Refused as Refuse, Scan, Split,
        Transaction,
    };
    pub(super) use super::super::{
        Command, Group, Join, Keys, Local, Policy, Refusal, SplitKind, Verb,
    };

    pub(super) const NONE: Keys = Keys::None;
    pub(super) const FIRST: Keys = Keys::At(1);

    pub(super) use super::super::flags::*;

    pub(super) const fn range(first: u8, last: i8, step: u8) -> Keys {
        Keys::Range { first, last, step }
    }

    pub(super) const fn counted(count: u8) -> Keys {
        Keys::Counted {
            into: false,
            count,
            step: 1,
        }
    }

    pub(super) const fn counted_into(count: u8) -> Keys {
        Keys::Counted {
            into: true,
            count,
            step: 1,
        }
    }

    pub(super) const fn all(join: Join) -> Policy {
        Policy::Everyone(SplitKind::All(join))
    }

    pub(super) const fn radius(options: u8) -> Keys {
        Keys::Radius { options }
    }
}

mod arrays;
mod bitmaps;
mod cluster;
mod connection;
mod generic;
mod geo;
mod hashes;
mod hyperloglogs;
mod json;
mod lists;
mod probabilistic;
mod pubsub;
mod scripting;
mod search;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;
mod time_series;
mod transactions;
mod vector_sets;

pub(super) static GROUPS: [&[Command]; 22] = [
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
