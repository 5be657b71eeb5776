//! The positions of the rows, subcommands included, as statistics know commands.
//!
//! Built by the compiler. A row is followed by its subcommands; position 0 is no command.

use crate::protocol::redis::command::flags;
use crate::protocol::redis::command::policy::{Group, Policy};
use crate::protocol::redis::command::row::Command;
use crate::protocol::redis::command::table::GROUPS;
use crate::stats::{CommandClass, CommandId, CommandInfo};

const COUNT: usize = count();

/// The table for statistics.
pub(crate) static COMMANDS: [CommandInfo; COUNT] = build().0;

static ROWS: [Option<&Command>; COUNT] = build().1;

impl Command {
    /// The row at a position.
    #[must_use]
    pub fn by_id(id: CommandId) -> Option<&'static Self> {
        ROWS.get(id.row()).copied().flatten()
    }

    /// The position of the subcommand that a request names, or of the row itself, which is at `own`.
    pub(crate) fn id_of_subcommand(&self, own: CommandId, name: &[u8]) -> CommandId {
        let is_named = |row: &Self| row.own_name().as_bytes().eq_ignore_ascii_case(name);
        let place = self.subcommands.iter().position(is_named);
        let row = place.and_then(|place| u16::try_from(own.row() + 1 + place).ok());
        row.map_or(own, CommandId::at)
    }

    /// The class of its latencies.
    const fn class(&self) -> CommandClass {
        match self.policy {
            Policy::Transaction(_) => return CommandClass::Transaction,
            Policy::Block | Policy::WaitReplicas(_) => return CommandClass::Blocking,
            _ => {}
        }
        match self.group {
            Group::Scripting => CommandClass::Script,
            Group::PubSub => CommandClass::PubSub,
            _ if self.flags & flags::WRITE != 0 => CommandClass::Write,
            _ if self.flags & flags::READ != 0 => CommandClass::Read,
            _ if self.flags & flags::ADMIN != 0 => CommandClass::Admin,
            _ => CommandClass::Other,
        }
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where an index out of bounds is an error"
)]
const fn count() -> usize {
    let (mut count, mut group) = (1, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            count += 1 + GROUPS[group][row].subcommands.len();
            row += 1;
        }
        group += 1;
    }
    count
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where an index out of bounds is an error"
)]
const fn build() -> ([CommandInfo; COUNT], [Option<&'static Command>; COUNT]) {
    let mut table = [CommandInfo::NONE; COUNT];
    let mut rows: [Option<&'static Command>; COUNT] = [None; COUNT];
    let (mut at, mut group) = (1, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            let command = &GROUPS[group][row];
            rows[at] = Some(command);
            let mut sub = 0;
            while sub < command.subcommands.len() {
                rows[at + 1 + sub] = Some(&command.subcommands[sub]);
                sub += 1;
            }
            at += 1 + sub;
            row += 1;
        }
        group += 1;
    }
    let mut at = 1;
    while at < COUNT {
        if let Some(command) = rows[at] {
            table[at] = CommandInfo {
                name: command.name,
                class: command.class(),
            };
        }
        at += 1;
    }
    (table, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::command::index;

    #[test]
    fn position_of_each_row_leads_back_to_it() {
        let mut seen = 0;
        for parent in Command::all() {
            let found = index::find(parent.name.as_bytes()).unwrap();
            let own = found.id;
            assert_eq!(Command::by_id(own).unwrap().name, parent.name);
            assert_eq!(COMMANDS[own.row()].name, parent.name);
            assert_eq!(parent.id_of_subcommand(own, b"no such"), own);
            for row in parent.subcommands {
                let name = row.own_name().to_lowercase();
                let id = parent.id_of_subcommand(own, name.as_bytes());
                assert_eq!(Command::by_id(id).unwrap().name, row.name);
                seen += 1;
            }
            seen += 1;
        }
        assert_eq!(seen + 1, COUNT);
        assert!(Command::by_id(CommandId::NONE).is_none());
        assert!(u16::try_from(COUNT).is_ok());
    }

    #[test]
    fn classes_follow_from_the_table() {
        for (name, class) in [
            ("GET", CommandClass::Read),
            ("SET", CommandClass::Write),
            ("OBJECT|ENCODING", CommandClass::Read),
            ("BLPOP", CommandClass::Blocking),
            ("XREADGROUP", CommandClass::Blocking),
            ("WAIT", CommandClass::Blocking),
            ("EXEC", CommandClass::Transaction),
            ("EVALSHA", CommandClass::Script),
            ("PUBLISH", CommandClass::PubSub),
            ("CONFIG|GET", CommandClass::Admin),
            ("PING", CommandClass::Other),
        ] {
            assert_eq!(Command::named(name).unwrap().class(), class, "{name}");
        }
    }
}
