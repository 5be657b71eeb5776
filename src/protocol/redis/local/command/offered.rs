//! The supported rows of the command table.

use crate::protocol::redis::command::Command;
use crate::protocol::redis::state::settings::Settings;

/// The supported commands of the table, without the pool's disabled ones.
pub(crate) fn offered(settings: &Settings) -> impl Iterator<Item = &'static Command> + Clone {
    Command::all().filter(|row| row.is_offered() && !settings.disabled.has(row))
}

pub(crate) fn offered_subcommands(
    row: &Command,
    settings: &Settings,
) -> impl Iterator<Item = &'static Command> + Clone {
    let rows = row.subcommands.iter();
    rows.filter(|row| row.is_offered() && !settings.disabled.has(row))
}
