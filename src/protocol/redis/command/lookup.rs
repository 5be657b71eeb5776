//! Lookup of a command by the arguments of a request.

use crate::protocol::redis::command::policy::Policy;
use crate::protocol::redis::command::row::Command;
use crate::protocol::redis::command::{index, table};
use crate::protocol::redis::resp::args::Args;

/// The reason why a request does not match the table.
#[derive(Debug, Clone, Copy)]
pub enum CommandError {
    /// No command has its name.
    Unknown,
    /// No subcommand has its name.
    UnknownSubcommand(&'static Command),
    /// It has too many or too few arguments for this command.
    Arity(&'static Command),
}

impl Command {
    /// The row for a request of `argc` arguments, name included: subcommand found and arity checked. An unsupported
    /// command is found whatever its arity.
    pub fn resolve(request: &Args<'_>, argc: usize) -> Result<&'static Self, CommandError> {
        let mut rest = request.clone();
        let name = rest.next().unwrap_or_default();
        let mut command = Self::lookup(name).ok_or(CommandError::Unknown)?;
        if !command.subcommands.is_empty() && argc > 1 {
            command = command
                .subcommand(rest.next().unwrap_or_default())
                .ok_or(CommandError::UnknownSubcommand(command))?;
        }
        if command.accepts(argc) || matches!(command.policy, Policy::Refused(_)) {
            Ok(command)
        } else {
            Err(CommandError::Arity(command))
        }
    }

    /// The command of this name, case-insensitive. Does not allocate.
    #[inline]
    #[must_use]
    pub fn lookup(name: &[u8]) -> Option<&'static Self> {
        index::find(name)?.command
    }

    /// The command or subcommand that a text names: `GET`, `CONFIG|SET` or `CONFIG SET`, case-insensitive.
    #[must_use]
    pub fn named(text: &str) -> Option<&'static Self> {
        match text.split_once(['|', ' ']) {
            None => Self::lookup(text.as_bytes()),
            Some((parent, own)) => Self::lookup(parent.as_bytes())?.subcommand(own.as_bytes()),
        }
    }

    /// All commands without their subcommands, group by group.
    pub fn all() -> impl Iterator<Item = &'static Self> + Clone {
        table::GROUPS.iter().flat_map(|rows| rows.iter())
    }
}
