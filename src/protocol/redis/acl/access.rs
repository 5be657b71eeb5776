//! What commands do to their keys, as rules of users distinguish it.

use std::sync::LazyLock;

use crate::protocol::redis::command::Command;
use crate::protocol::redis::command::ids::COMMANDS;
use crate::stats::CommandId;

/// Reading the value of a key, writing it, or both; neither of them is to ask for the key alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Access(u8);

/// The access of a row to its keys.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowAccess {
    pub(crate) first: Access,
    pub(crate) others: Access,
    /// It has keys.
    pub(crate) has_keys: bool,
    /// It depends on the arguments of a request.
    pub(crate) varies: bool,
}

static ROWS: LazyLock<Vec<RowAccess>> = LazyLock::new(|| {
    let ids = (0..COMMANDS.len()).map(|row| CommandId::at(u16::try_from(row).unwrap_or(0)));
    ids.map(|id| Command::by_id(id).map_or_else(RowAccess::default, RowAccess::of))
        .collect()
});

impl Access {
    pub(crate) const READ: Self = Self(1);
    pub(crate) const WRITE: Self = Self(2);
    pub(crate) const ALL: Self = Self(3);

    /// The access that Redis's flags of a key mean.
    fn of_flags(flags: &str) -> Self {
        let words = flags.split(' ').map(|word| match word {
            "access" => Self::READ,
            "insert" | "delete" | "update" => Self::WRITE,
            _ => Self::default(),
        });
        words.fold(Self::default(), Self::and)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl RowAccess {
    /// The access of the row at a position.
    pub(crate) fn at(id: CommandId) -> Self {
        ROWS.get(id.row()).copied().unwrap_or_default()
    }

    fn of(row: &Command) -> Self {
        Self {
            has_keys: row.has_keys(),
            varies: matches!(row.name, "SET" | "BITFIELD"),
            ..Self::of_flags(row.access())
        }
    }

    /// As it is for these arguments, the command's name first.
    pub(crate) fn refined<'a>(self, row: &Command, args: impl Iterator<Item = &'a [u8]>) -> Self {
        if self.varies {
            Self {
                has_keys: self.has_keys,
                ..Self::of_flags(row.access_by(args))
            }
        } else {
            self
        }
    }

    fn of_flags((first, others): (&str, &str)) -> Self {
        Self {
            first: Access::of_flags(first),
            others: Access::of_flags(others),
            ..Self::default()
        }
    }
}
