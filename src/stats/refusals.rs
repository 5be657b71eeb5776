//! The requests that the proxy has refused: which commands, why, how often, and when last.
//!
//! Clients choose the names of unknown commands: only so many, and so many bytes of each, are kept. The others are counted
//! by reason, so the sum over a pool is exact.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{CommandId, ShortText};

/// Rows of a pool in one worker, besides one for each reason.
const MOST: usize = 96;

/// Rows with a name that is no command.
const MOST_UNKNOWN: usize = 32;

/// The name of an unknown command, as far as it is kept.
pub type UnknownName = ShortText<31>;

/// An error reply, as far as it is kept.
pub(super) type Example = ShortText<200>;

macro_rules! reasons {
    ($($variant:ident $name:literal $help:literal;)*) => {
        /// The reason why a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalReason {
            $(#[doc = $help] $variant,)*
        }

        impl RefusalReason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the admin API, and the value of the label `reason`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The meaning: one sentence for operators.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => $help,)*
                }
            }
        }
    };
}

reasons! {
    UnknownCommand "unknown_command"
        "No command has this name.";
    UnknownSubcommand "unknown_subcommand"
        "The command has no subcommand of this name.";
    Arguments "wrong_arguments"
        "The number of arguments is wrong, or one of them is malformed.";
    Unsupported "unsupported_command"
        "The proxy does not support the command.";
    UnsupportedUse "unsupported_use"
        "The proxy does not support this use of the command: an option, a script without keys, a reserved key.";
    SeveralServers "keys_on_several_servers"
        "The keys of the request, or of the transaction, are stored on different servers.";
    Disabled "disabled_command"
        "The command is listed in `disabled_commands`.";
    NotAuthenticated "not_authenticated"
        "The client has not given the password of a user.";
    Denied "denied_to_user"
        "The user of the client may not execute the command, or not with these keys or channels.";
    SubscriberMode "subscriber_mode"
        "The client has subscriptions, and its protocol version allows no other commands then.";
    Transaction "transaction"
        "The command cannot be part of a transaction, or the transaction was aborted by an error before.";
    Moving "keys_are_moved"
        "Keys of the pool are being moved to other servers, and the command concerns all keys.";
    MemoryLimit "memory_limit"
        "The request was large, and the buffers of the pool are near `memory_limit`.";
    Quota "over_quota"
        "The user of the client, or the pool, has sent as much as its quota allows.";
    Protocol "protocol_error"
        "The bytes are no request: the connection was closed.";
}

/// The refusals of a pool in one worker.
#[derive(Debug, Default)]
pub struct RefusalCells(RefCell<RefusalCounts>);

/// The refusals of a pool at one time.
#[derive(Debug, Clone, Default)]
pub struct RefusalCounts {
    rows: Vec<RefusalRow>,
}

/// The requests of one command that were refused for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalRow {
    /// The command.
    pub command: CommandId,
    /// The name that the client sent, if it is not that of a command. Empty for the rest, of names that are not kept.
    pub unknown: UnknownName,
    /// The reason.
    pub reason: RefusalReason,
    /// The number of requests.
    pub count: u64,
    /// The time of the last one, in milliseconds since the Unix epoch.
    pub last_millis: u64,
    /// The reply to the last one.
    pub example: Example,
}

impl RefusalCells {
    /// Notes a request that was refused now, with this reply. `name` is that of an unknown command.
    pub fn note(&self, command: CommandId, name: &[u8], reason: RefusalReason, reply: &[u8]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.map_or(0, |now| now.as_millis());
        self.0.borrow_mut().add(RefusalRow {
            command,
            unknown: UnknownName::of(name),
            reason,
            count: 1,
            last_millis: u64::try_from(millis).unwrap_or(u64::MAX),
            example: Example::of(first_line(reply)),
        });
    }

    pub(super) fn copy_to(&self, counts: &mut RefusalCounts) {
        counts.rows.clone_from(&self.0.borrow().rows);
    }
}

impl RefusalCounts {
    /// The refusals, in no order.
    #[must_use]
    pub fn rows(&self) -> &[RefusalRow] {
        &self.rows
    }

    /// The number of requests that were refused for a reason.
    #[must_use]
    pub fn of_reason(&self, reason: RefusalReason) -> u64 {
        let rows = self.rows.iter().filter(|row| row.reason == reason);
        rows.fold(0, |sum: u64, row| sum.wrapping_add(row.count))
    }

    /// Adds the refusals of another worker. The result is bounded by the number of workers.
    pub(super) fn merge(&mut self, other: &Self) {
        for theirs in &other.rows {
            match self.rows.iter_mut().find(|row| row.is_like(theirs)) {
                Some(mine) => mine.merge(theirs),
                None => self.rows.push(*theirs),
            }
        }
    }

    fn add(&mut self, new: RefusalRow) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.is_like(&new)) {
            return row.merge(&new);
        }
        let is_unknown = |row: &&RefusalRow| row.unknown != UnknownName::default();
        let has_room = self.rows.len() < MOST
            && (!is_unknown(&&new) || self.rows.iter().filter(is_unknown).count() < MOST_UNKNOWN);
        if has_room {
            return self.rows.push(new);
        }
        let rest = RefusalRow {
            command: CommandId::NONE,
            unknown: UnknownName::default(),
            ..new
        };
        match self.rows.iter_mut().find(|row| row.is_like(&rest)) {
            Some(row) => row.merge(&rest),
            None => self.rows.push(rest),
        }
    }
}

impl RefusalRow {
    fn is_like(&self, other: &Self) -> bool {
        let of = |row: &Self| (row.command, row.reason);
        of(self) == of(other) && self.unknown == other.unknown
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        if other.last_millis >= self.last_millis {
            self.last_millis = other.last_millis;
            self.example = other.example;
        }
    }
}

/// The first line of a reply, without the byte that marks it as an error of RESP.
fn first_line(reply: &[u8]) -> &[u8] {
    let reply = reply.strip_prefix(b"-").unwrap_or(reply);
    let line = reply.split(|byte| *byte == b'\r' || *byte == b'\n').next();
    line.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: CommandId = CommandId::at(1);

    fn counts(cells: &RefusalCells) -> RefusalCounts {
        let mut counts = RefusalCounts::default();
        cells.copy_to(&mut counts);
        counts
    }

    #[test]
    fn refusals_are_counted_by_command_and_reason() {
        let cells = RefusalCells::default();
        for (command, name, reason) in [
            (GET, "", RefusalReason::Arguments),
            (GET, "", RefusalReason::Disabled),
            (GET, "", RefusalReason::Arguments),
            (CommandId::NONE, "FOO", RefusalReason::UnknownCommand),
            (CommandId::NONE, "FOX", RefusalReason::UnknownCommand),
        ] {
            cells.note(command, name.as_bytes(), reason, b"-ERR no\r\n+OK\r\n");
        }
        let counts = counts(&cells);
        let rows: Vec<_> = counts
            .rows()
            .iter()
            .map(|row| (row.command, row.unknown.as_str(), row.reason, row.count))
            .collect();
        assert_eq!(
            rows,
            [
                (GET, "", RefusalReason::Arguments, 2),
                (GET, "", RefusalReason::Disabled, 1),
                (CommandId::NONE, "FOO", RefusalReason::UnknownCommand, 1),
                (CommandId::NONE, "FOX", RefusalReason::UnknownCommand, 1),
            ]
        );
        assert_eq!(counts.rows()[0].example.as_str(), "ERR no");
        assert!(counts.rows()[0].last_millis > 1_600_000_000_000);
        assert_eq!(counts.of_reason(RefusalReason::UnknownCommand), 2);
    }

    #[test]
    fn flood_of_names_is_counted_without_growing() {
        let cells = RefusalCells::default();
        for n in 0..10_000 {
            let name = format!("{n:0>200}");
            cells.note(
                CommandId::NONE,
                name.as_bytes(),
                RefusalReason::UnknownCommand,
                b"",
            );
            let name = format!("N{n}");
            cells.note(
                CommandId::NONE,
                name.as_bytes(),
                RefusalReason::UnknownCommand,
                b"",
            );
            let command = CommandId::at(n % 400);
            cells.note(command, b"", RefusalReason::NotAuthenticated, b"");
        }
        let counts = counts(&cells);
        assert!(counts.rows().len() <= MOST + 2, "{}", counts.rows().len());
        let of = |reason| counts.of_reason(reason);
        assert_eq!(of(RefusalReason::UnknownCommand), 20_000);
        assert_eq!(of(RefusalReason::NotAuthenticated), 10_000);
    }

    #[test]
    fn workers_merge_and_the_last_refusal_is_the_example() {
        let [first, second] = [b"-first\r\n", b"-later\r\n"].map(|reply| {
            let cells = RefusalCells::default();
            cells.note(GET, b"", RefusalReason::Disabled, reply);
            counts(&cells)
        });
        let mut sum = second;
        sum.rows[0].last_millis += 1;
        sum.merge(&first);
        assert_eq!(sum.rows().len(), 1);
        assert_eq!(sum.rows()[0].count, 2);
        assert_eq!(sum.rows()[0].example.as_str(), "later");
    }

    #[test]
    fn reasons_have_names_of_their_own() {
        for (at, reason) in RefusalReason::ALL.iter().enumerate() {
            let others = RefusalReason::ALL.iter().skip(at + 1);
            assert!(others.clone().all(|other| other.name() != reason.name()));
            assert!(reason.help().ends_with('.'), "{}", reason.help());
        }
    }
}
