//! The disabled commands of a pool.

use crate::protocol::redis::command::Command;

/// Bits of the filter, in words.
const WORDS: usize = 8;

/// A set of rows. If nothing is disabled, a lookup costs one branch; else one load, unless the row is in the set or one
/// of few that share its bit.
#[derive(Debug, Clone, Default)]
pub struct Disabled {
    filter: [u64; WORDS],
    /// The names: a row may have several addresses in the program, so its address does not identify it.
    names: Vec<&'static str>,
}

impl Disabled {
    /// The commands of these names, with all their subcommands. Unknown names are omitted: the configuration was
    /// checked with [`Command::named`].
    pub fn of(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut disabled = Self::default();
        for command in names
            .into_iter()
            .filter_map(|name| Command::named(name.as_ref()))
        {
            for row in [command].into_iter().chain(command.subcommands) {
                let (word, bit) = place(row);
                if let Some(word) = disabled.filter.get_mut(word) {
                    *word |= bit;
                }
                disabled.names.push(row.name);
            }
        }
        disabled
    }

    /// The names of disabled commands, without the subcommands of a disabled command.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let is_whole = |name: &&'static str| {
            let parent = name.split_once('|').map(|(parent, _)| parent);
            parent.is_none_or(|parent| !self.names.contains(&parent))
        };
        self.names.iter().copied().filter(is_whole)
    }

    /// Returns true if `command` is disabled.
    #[inline]
    #[must_use]
    pub fn has(&self, command: &Command) -> bool {
        !self.names.is_empty() && self.finds(command)
    }

    fn finds(&self, command: &Command) -> bool {
        let (word, bit) = place(command);
        self.filter.get(word).is_some_and(|word| word & bit != 0)
            && self.names.contains(&command.name)
    }
}

/// The word and the bit of a row.
fn place(row: &Command) -> (usize, u64) {
    let (first, last) = match row.name.as_bytes() {
        [first, .., last] => (*first, *last),
        _ => (0, 0),
    };
    let number = row.name.len() * 37 + usize::from(first) * 11 + usize::from(last);
    (number / 64 % WORDS, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_commands_and_subcommands_are_disabled() {
        let disabled = Disabled::of(["flushall", "CONFIG", "client kill", "Command|Docs"]);
        for row in Command::all().flat_map(|row| [row].into_iter().chain(row.subcommands)) {
            let parent = row.name.split('|').next();
            let expected = parent == Some("CONFIG")
                || ["FLUSHALL", "CLIENT|KILL", "COMMAND|DOCS"].contains(&row.name);
            assert_eq!(disabled.has(row), expected, "{}", row.name);
            assert!(!Disabled::default().has(row), "{}", row.name);
        }
    }

    #[test]
    fn disabled_names_accept_several_spellings() {
        for (text, name) in [
            ("get", Some("GET")),
            ("Config", Some("CONFIG")),
            ("config|get", Some("CONFIG|GET")),
            ("CONFIG GET", Some("CONFIG|GET")),
            ("CONFIG  GET", None),
            ("CONFIG NOSUCH", None),
            ("NOSUCH", None),
            ("", None),
        ] {
            assert_eq!(Command::named(text).map(|row| row.name), name, "{text}");
        }
    }
}
