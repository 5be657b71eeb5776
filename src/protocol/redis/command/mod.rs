//! What every command of Redis is to the proxy: one table for lookup, planning, `COMMAND` and the docs.
//!
//! [`Command::resolve`] turns the arguments of a request into a row whose arity is already checked;
//! [`Command::single_key`] and [`Command::collect_keys`] then say where its keys are. A command that is not offered has
//! a row too, so that its refusal can say why.

pub(crate) mod access;
pub mod differences;
pub(crate) mod disabled;
pub mod docs;
pub mod flags;
pub(crate) mod index;
pub(crate) mod keys;
pub(crate) mod policy;
pub(crate) mod table;
pub(crate) mod tips;

use crate::protocol::redis::Args;

pub use crate::protocol::redis::command::access::{Begin, Find, KeySpec};
pub use crate::protocol::redis::command::disabled::Disabled;
pub use crate::protocol::redis::command::keys::{KeysError, sort_patterns};
pub use crate::protocol::redis::command::policy::{
    Group, Keys, Local, MergeKind, Policy, Refusal, ResponsePolicy, Verb,
};

/// A row of the table: a command, or a subcommand of one.
#[derive(Debug)]
pub struct Command {
    /// Upper case; a subcommand is `PARENT|NAME`.
    pub name: &'static str,
    /// Arguments, the name counted (for a subcommand both names); negative: at least so many.
    pub arity: i16,
    /// Where its keys are.
    pub keys: Keys,
    /// What the proxy does with it.
    pub policy: Policy,
    /// What it works on.
    pub group: Group,
    /// Sum of what [`flags`] has.
    pub flags: u32,
    /// The version of Redis (of Valkey or of a module, where they alone have it) that brought it.
    pub since: &'static str,
    /// Its arguments in the notation of Redis's own pages.
    pub usage: &'static str,
    /// One sentence without its full stop.
    pub summary: &'static str,
    /// Its subcommands, refused ones included. Not empty: the first argument must name one (`COMMAND` alone excepted).
    pub subcommands: &'static [Self],
}

/// Why a request does not fit the table.
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
    /// The row for a request of `argc` arguments, name counted: subcommand found and arity checked. A refused command
    /// is found whatever its arity.
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

    /// The command of that name, in any case of letters. Allocates nothing.
    #[inline]
    #[must_use]
    pub fn lookup(name: &[u8]) -> Option<&'static Self> {
        index::find(name)
    }

    /// The command or subcommand that a text names: `GET`, `CONFIG|SET` or `CONFIG SET`, in any case of letters.
    #[must_use]
    pub fn named(text: &str) -> Option<&'static Self> {
        match text.split_once(['|', ' ']) {
            None => Self::lookup(text.as_bytes()),
            Some((parent, own)) => Self::lookup(parent.as_bytes())?.subcommand(own.as_bytes()),
        }
    }

    /// Every command without its subcommands, chapter by chapter.
    pub fn all() -> impl Iterator<Item = &'static Self> + Clone {
        table::GROUPS.iter().flat_map(|rows| rows.iter())
    }

    /// The subcommand of that name, in any case of letters.
    #[must_use]
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands
            .iter()
            .find(|row| row.own_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name without the parent's.
    #[must_use]
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// Whether clients may use it.
    #[must_use]
    pub const fn is_offered(&self) -> bool {
        !matches!(self.policy, Policy::Refused(_))
    }

    /// Whether a subscriber in RESP2 may use it.
    #[must_use]
    pub const fn suits_subscribers(&self) -> bool {
        matches!(
            self.policy,
            Policy::Subscribe(_)
                | Policy::Unsubscribe(_)
                | Policy::Local(Local::Ping | Local::Quit | Local::Reset)
        )
    }

    /// Whether `argc` arguments, name counted, are as many as it takes; pairs must be complete.
    #[inline]
    #[must_use]
    pub fn accepts(&self, argc: usize) -> bool {
        let whole = match self.keys {
            Keys::Range {
                first,
                last: -1,
                step,
            } if step > 1 => argc
                .saturating_sub(usize::from(first))
                .is_multiple_of(usize::from(step)),
            _ => true,
        };
        whole && self.fits_arity(argc)
    }

    /// As [`Self::accepts`], but pairs may be incomplete.
    #[inline]
    #[must_use]
    pub fn fits_arity(&self, argc: usize) -> bool {
        let bound = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 {
            argc >= bound
        } else {
            argc == bound
        }
    }

    /// Whether it has keys; what is only routed like a key is none.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.keys != Keys::None && self.access().0 != "not_key"
    }

    /// Position of its key, if it has exactly one and always there: the hot path.
    #[inline]
    #[must_use]
    pub const fn single_key(&self) -> Option<usize> {
        match self.keys {
            Keys::At(at) => Some(at as usize),
            _ => None,
        }
    }

    /// First key, last key and step as `COMMAND` reports them: what can be said of the keys without reading arguments.
    #[must_use]
    pub fn legacy_range(&self) -> (i16, i16, i16) {
        match self.keys {
            Keys::None | Keys::Counted { into: false, .. } | Keys::Streams => (0, 0, 0),
            Keys::At(at) => (at.into(), at.into(), 1),
            Keys::Range { first, last, step } => (first.into(), last.into(), step.into()),
            Keys::Counted { into: true, .. } | Keys::Sort | Keys::Radius { .. } => (1, 1, 1),
            Keys::Migrate => (3, 3, 1),
        }
    }

    /// Whether its keys can only be told from the arguments of a request.
    #[must_use]
    pub const fn has_movable_keys(&self) -> bool {
        matches!(
            self.keys,
            Keys::Counted { .. } | Keys::Sort | Keys::Radius { .. } | Keys::Streams | Keys::Migrate
        )
    }
}

#[cfg(test)]
mod tests;
