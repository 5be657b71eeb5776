//! The rows of the command table that the pool offers.

use crate::protocol::redis::command::Command;
use crate::protocol::redis::state::settings::Settings;

/// What the pool offers: what the table does, without what is switched off.
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
