//! The rows, one file for each chapter.
//!
//! A row reads: name, arity, keys, policy, flags, since, usage, summary; or name, arity, `refused` and the reason.

use super::Command;

/// Declares a slice of [`Command`] from rows that stay on one line.
macro_rules! commands {
    (@row $group:expr, $name:literal, $arity:literal, refused $reason:ident) => {
        Command {
            name: $name,
            arity: $arity,
            keys: NONE,
            policy: Policy::Refused(Refusal::$reason),
            group: $group,
            flags: NOFLAGS,
            since: "",
            usage: "",
            summary: "",
            subcommands: &[],
        }
    };
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
    pub(super) use super::super::Policy::{Forward, Keyless, Local as Answer, Split};
    pub(super) use super::super::{Command, Group, Keys, Local, Policy, Refusal, SplitKind};

    pub(super) const NONE: Keys = Keys::None;
    pub(super) const FIRST: Keys = Keys::At(1);

    pub(super) const NOFLAGS: u8 = 0;
    pub(super) const READ: u8 = Command::READ;
    pub(super) const WRITE: u8 = Command::WRITE;
    pub(super) const DENYOOM: u8 = Command::DENYOOM;
    pub(super) const FAST: u8 = Command::FAST;

    pub(super) const fn range(first: u8, last: Option<u8>, step: u8) -> Keys {
        Keys::Range { first, last, step }
    }

    pub(super) const fn counted(count: u8) -> Keys {
        Keys::Counted { into: false, count }
    }

    pub(super) const fn counted_into(count: u8) -> Keys {
        Keys::Counted { into: true, count }
    }

    pub(super) const fn radius(options: u8) -> Keys {
        Keys::Radius { options }
    }
}

mod bitmaps;
mod connection;
mod generic;
mod geo;
mod hashes;
mod hyperloglogs;
mod lists;
mod refused;
mod scripting;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;

pub(super) static GROUPS: [&[Command]; 14] = [
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
    connection::ROWS,
    server::ROWS,
    refused::ROWS,
];
