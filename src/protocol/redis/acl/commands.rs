//! The commands that a user may execute.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::command::Command;
use crate::protocol::redis::command::ids::COMMANDS;
use crate::protocol::redis::command::index;
use crate::stats::CommandId;

const WORDS: usize = COMMANDS.len().div_ceil(64);

type Bits = [u64; WORDS];

/// The rows of each category, with all subcommands of a row.
static CATEGORIES: LazyLock<HashMap<&str, Bits>> = LazyLock::new(|| {
    let mut categories = HashMap::new();
    for (id, row) in rows() {
        for category in row.categories() {
            let bits: &mut Bits = categories.entry(category).or_default();
            for (word, more) in bits.iter_mut().zip(bits_of(id)) {
                *word |= more;
            }
        }
    }
    categories
});

/// The commands that a user may execute: a bit for each row of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommandRules {
    bits: Bits,
    /// The rules start from all commands, and not from none.
    from_all: bool,
    /// Commands that are allowed with this first argument alone.
    first_arguments: Vec<(CommandId, Box<[u8]>)>,
    /// The rules since the last for all commands, without those that a later one has replaced: their names, and whether
    /// they allow.
    shown: Vec<(bool, String)>,
}

/// The commands of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Commands {
    All,
    Category(&'static str),
    /// A command with all its subcommands, or a subcommand.
    Row(CommandId),
    /// A command with this first argument; it can only be allowed.
    FirstArgument(CommandId, Box<[u8]>),
}

impl Commands {
    /// Parses what follows the sign of a rule.
    pub(crate) fn parse(text: &[u8], allow: bool) -> Result<Self, RuleError> {
        if let [b'@', category @ ..] = text {
            if category.eq_ignore_ascii_case(b"all") {
                return Ok(Self::All);
            }
            let mut known = Command::CATEGORIES.iter().chain(&Command::LATER_CATEGORIES);
            let known = known.find(|known| known.as_bytes().eq_ignore_ascii_case(category));
            return known
                .map(|known| Self::Category(known))
                .ok_or(RuleError::Unknown);
        }
        if !allow {
            return row(text).map(Self::Row);
        }
        let Some(bar) = memchr::memrchr(b'|', text) else {
            return row(text).map(Self::Row);
        };
        let (parent, sub) = text.split_at(bar);
        let sub = sub.get(1..).unwrap_or_default();
        let id = row(parent)?;
        let Some(command) = Command::by_id(id) else {
            return Err(RuleError::Unknown);
        };
        if command.name.contains('|') {
            Err(RuleError::FirstArgument)
        } else if sub.is_empty() {
            Err(RuleError::Syntax)
        } else if command.subcommands.is_empty() {
            Ok(Self::FirstArgument(id, sub.into()))
        } else {
            row(text).map(Self::Row)
        }
    }

    /// The name by which it is shown.
    fn name(&self) -> String {
        let name = |id: CommandId| Command::by_id(id).map_or("", |row| row.name);
        match self {
            Self::All => "@all".to_owned(),
            Self::Category(category) => format!("@{category}"),
            Self::Row(id) => name(*id).to_ascii_lowercase(),
            Self::FirstArgument(id, argument) => {
                let argument = String::from_utf8_lossy(argument);
                format!("{}|{argument}", name(*id).to_ascii_lowercase())
            }
        }
    }
}

impl CommandRules {
    /// Allows or forbids commands.
    pub(crate) fn apply(&mut self, allow: bool, commands: &Commands) {
        match commands {
            Commands::All => {
                *self = Self {
                    bits: [if allow { u64::MAX } else { 0 }; WORDS],
                    from_all: allow,
                    ..Self::default()
                };
                return;
            }
            Commands::Category(category) => {
                if let Some(bits) = CATEGORIES.get(category) {
                    self.set(bits, allow);
                }
            }
            Commands::Row(id) => self.set(&bits_of(*id), allow),
            Commands::FirstArgument(id, argument) => {
                let entry = (*id, argument.clone());
                if !self.first_arguments.contains(&entry) {
                    self.first_arguments.push(entry);
                }
            }
        }
        let name = commands.name();
        let is_replaced = |shown: &str| {
            let rest = shown.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        };
        self.shown.retain(|(_, shown)| !is_replaced(shown));
        self.shown.push((allow, name));
    }

    fn set(&mut self, bits: &Bits, allow: bool) {
        for (word, bits) in self.bits.iter_mut().zip(bits) {
            *word = if allow { *word | bits } else { *word & !bits };
        }
        self.first_arguments.retain(|(known, _)| !has(bits, *known));
    }

    /// Returns true if the user may execute the row at a position.
    #[inline]
    pub(crate) fn allow(&self, id: CommandId) -> bool {
        has(&self.bits, id)
    }

    /// Returns true if the user may execute a row with this first argument.
    pub(crate) fn allow_with(&self, id: CommandId, argument: Option<&[u8]>) -> bool {
        let mut known = self.first_arguments.iter();
        argument.is_some_and(|argument| {
            known.any(|(known, first)| *known == id && first.eq_ignore_ascii_case(argument))
        })
    }

    /// Returns true if the user may execute all commands.
    pub(crate) fn are_all(&self) -> bool {
        rows().all(|(id, _)| self.allow(id))
    }

    /// Where the rules start from, and those after it.
    pub(crate) fn shown(&self) -> (bool, &[(bool, String)]) {
        (self.from_all, &self.shown)
    }
}

/// The row that a text names: `get` or `config|set`, case-insensitive.
pub(crate) fn row(text: &[u8]) -> Result<CommandId, RuleError> {
    let mut words = text.splitn(2, |byte| *byte == b'|');
    let parent = index::find(words.next().unwrap_or_default());
    let parent = parent.and_then(|slot| Some((slot.id, slot.command?)));
    let (id, command) = parent.ok_or(RuleError::Unknown)?;
    match words.next() {
        None => Ok(id),
        Some(own) => {
            let found = command.id_of_subcommand(id, own);
            (found != id).then_some(found).ok_or(RuleError::Unknown)
        }
    }
}

/// The bits of a row and of its subcommands.
fn bits_of(id: CommandId) -> Bits {
    let subcommands = Command::by_id(id).map_or(0, |row| row.subcommands.len());
    let mut bits = Bits::default();
    for number in id.row()..=id.row() + subcommands {
        if let Some(word) = bits.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }
    bits
}

#[inline]
fn has(bits: &Bits, id: CommandId) -> bool {
    let word = bits.get(id.row() / 64);
    word.is_some_and(|word| word >> (id.row() % 64) & 1 != 0)
}

/// All rows with their positions, subcommands too.
fn rows() -> impl Iterator<Item = (CommandId, &'static Command)> {
    let ids = (0..COMMANDS.len()).filter_map(|row| u16::try_from(row).ok());
    ids.filter_map(|row| {
        let id = CommandId::at(row);
        Some((id, Command::by_id(id)?))
    })
}
