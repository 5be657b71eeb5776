//! Counts by command.
//!
//! A protocol has a table of its commands, and a command is known here by its position in it, [`CommandId`]. The cells of
//! a command are allocated when it is first used, so memory is bounded by the table. A pool has no histogram of its own:
//! what it publishes is the sum over its commands, without what was recorded [apart](CommandCells::record_apart).

mod cells;
mod class;
mod counts;

pub use cells::CommandCells;
pub use class::CommandClass;
pub use counts::{CommandCount, CommandCounts};

/// The position of a command in the table of its protocol. The first row, the default, stands for no command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(u16);

/// A row of the table of a protocol.
#[derive(Debug, Clone, Copy)]
pub struct CommandInfo {
    /// The name in the protocol's own spelling; a subcommand is `PARENT|NAME`.
    pub name: &'static str,
    /// The class under which `/metrics` has its latencies.
    pub class: CommandClass,
}

/// The commands of a protocol. The first row is [`CommandInfo::NONE`].
pub type CommandTable = &'static [CommandInfo];

/// The table of a protocol without commands.
pub static NO_COMMANDS: [CommandInfo; 1] = [CommandInfo::NONE];

impl CommandId {
    /// No command.
    pub const NONE: Self = Self(0);

    /// The position of a row.
    #[must_use]
    pub const fn at(row: u16) -> Self {
        Self(row)
    }

    /// The row.
    #[inline]
    #[must_use]
    pub const fn row(self) -> usize {
        self.0 as usize
    }
}

impl CommandInfo {
    /// The row of requests without a command.
    pub const NONE: Self = Self {
        name: "",
        class: CommandClass::Other,
    };
}
