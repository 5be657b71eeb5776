//! The command table: the policy of every memcached command.
//!
//! One row per command; lookup, documentation and tests are derived from it.

pub mod docs;
pub(crate) mod row;
pub(crate) mod table;

pub use crate::protocol::memcached::command::row::{AllServers, Command, Local, Meta, Policy};
use crate::protocol::memcached::command::table::TABLE;
use crate::stats::{CommandClass, CommandInfo};

impl Command {
    /// Finds a command by its name as a client wrote it.
    #[inline]
    #[must_use]
    pub fn lookup(name: &[u8]) -> Option<&'static Self> {
        let [first, .., last] = name else { return None };
        // A row of the index holds the few commands with equal first and last letters.
        let row = INDEX.get(slot(*first, *last, name.len()))?;
        row.iter()
            .map_while(|at| TABLE.get(usize::from(*at)))
            .find(|command| command.name.as_bytes() == name)
    }

    /// The class of its latencies.
    const fn class(&self) -> CommandClass {
        match self.policy {
            Policy::Retrieve | Policy::Meta(Meta::Get | Meta::Debug) => CommandClass::Read,
            Policy::RetrieveTouch
            | Policy::Store
            | Policy::Cas
            | Policy::Delta
            | Policy::Delete
            | Policy::Touch
            | Policy::Meta(_)
            | Policy::AllServers(AllServers::FlushAll) => CommandClass::Write,
            Policy::AllServers(AllServers::Verbosity | AllServers::CacheMemlimit)
            | Policy::Refused => CommandClass::Admin,
            Policy::AllServers(AllServers::Version) | Policy::Local(_) => CommandClass::Other,
        }
    }

    /// All rows, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        TABLE.iter()
    }
}

/// The table for statistics.
pub(crate) static COMMANDS: [CommandInfo; TABLE.len() + 1] = infos();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where an index out of bounds is an error"
)]
const fn infos() -> [CommandInfo; TABLE.len() + 1] {
    let mut infos = [CommandInfo::NONE; TABLE.len() + 1];
    let mut row = 0;
    while row < TABLE.len() {
        infos[row + 1] = CommandInfo {
            name: TABLE[row].name,
            class: TABLE[row].class(),
        };
        row += 1;
    }
    infos
}

const SLOTS: usize = 64;
/// The maximum number of names in a slot.
const DEPTH: usize = 3;
/// No row of the table.
const NONE: u8 = u8::MAX;

/// The rows of the table by the outer letters and the length of their names, built by the compiler.
static INDEX: [[u8; DEPTH]; SLOTS] = build();

#[inline]
const fn slot(first: u8, last: u8, len: usize) -> usize {
    ((first as usize) * 5 + (last as usize) * 3 + len) % SLOTS
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, where an index out of bounds is an error; the table is short"
)]
const fn build() -> [[u8; DEPTH]; SLOTS] {
    let mut index = [[NONE; DEPTH]; SLOTS];
    let mut row = 0;
    while row < TABLE.len() {
        let name = TABLE[row].name.as_bytes();
        let at = slot(name[0], name[name.len() - 1], name.len());
        let mut depth = 0;
        while index[at][depth] != NONE {
            depth += 1;
        }
        index[at][depth] = row as u8;
        row += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lookup_matches_exact_names_only() {
        for row in Command::all() {
            let found = Command::lookup(row.name.as_bytes());
            assert!(
                found.is_some_and(|found| std::ptr::eq(found, row)),
                "{}",
                row.name
            );
        }
        for name in ["", "g", "GET", "Get", "gett", "ge", "mx", "sett", "noreply"] {
            assert!(Command::lookup(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn position_of_each_row_is_that_of_its_name() {
        for row in Command::all() {
            assert_eq!(COMMANDS[row.id.row()].name, row.name);
        }
        for (name, class) in [("get", CommandClass::Read), ("gat", CommandClass::Write)] {
            assert_eq!(Command::lookup(name.as_bytes()).unwrap().class(), class);
        }
    }

    #[test]
    fn every_command_row_has_a_summary() {
        for row in Command::all() {
            assert!(!row.summary.is_empty(), "{}", row.name);
            assert!(!row.summary.ends_with('.'), "{}", row.name);
            assert_eq!(
                row.usage.contains("noreply"),
                row.takes_noreply(),
                "{}",
                row.name
            );
            assert_eq!(row.usage.contains(" bytes"), row.has_data(), "{}", row.name);
        }
    }
}
