//! A row of the command table, and its properties.

use crate::protocol::redis::command::policy::{Group, Keys, Local, Policy};

/// A row of the table: a command, or a subcommand of one.
#[derive(Debug)]
pub struct Command {
    /// Upper case; a subcommand is `PARENT|NAME`.
    pub name: &'static str,
    /// Arguments, including the name (for a subcommand both names); negative: a minimum.
    pub arity: i16,
    /// The positions of its keys.
    pub keys: Keys,
    /// The way the proxy handles it.
    pub policy: Policy,
    /// Its group.
    pub group: Group,
    /// The sum of its [`flags`](crate::protocol::redis::command::flags).
    pub flags: u32,
    /// The version of Redis (of Valkey or of a module, if only they have it) that introduced it.
    pub since: &'static str,
    /// Its arguments in the notation of Redis's own pages.
    pub usage: &'static str,
    /// One sentence without its full stop.
    pub summary: &'static str,
    /// Its subcommands, including unsupported ones. If not empty, the first argument must name one (`COMMAND` alone
    /// excepted).
    pub subcommands: &'static [Self],
}

impl Command {
    /// The subcommand of this name, case-insensitive.
    #[must_use]
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands
            .iter()
            .find(|row| row.own_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name without that of the subcommand.
    #[must_use]
    pub fn whole_name(&self) -> &'static str {
        self.name
            .split_once('|')
            .map_or(self.name, |(whole, _)| whole)
    }

    /// The name without the parent's.
    #[must_use]
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// Returns true if clients may use it.
    #[must_use]
    pub const fn is_offered(&self) -> bool {
        !matches!(self.policy, Policy::Refused(_))
    }

    /// Returns true if it is allowed in subscriber mode of RESP2.
    #[must_use]
    pub const fn suits_subscribers(&self) -> bool {
        matches!(
            self.policy,
            Policy::Subscribe(_)
                | Policy::Unsubscribe(_)
                | Policy::Local(Local::Ping | Local::Quit | Local::Reset)
        )
    }

    /// Returns true if `argc` arguments, including the name, match its arity; pairs must be complete.
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

    /// Returns true if it has keys; arguments that are only routed like a key are not keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.keys != Keys::None && self.access().0 != "not_key"
    }

    /// The position of its key, if it has exactly one, always present: the hot path.
    #[inline]
    #[must_use]
    pub const fn single_key(&self) -> Option<usize> {
        match self.keys {
            Keys::At(at) => Some(at as usize),
            _ => None,
        }
    }

    /// First key, last key and step as `COMMAND` reports them: the keys that are known without parsing arguments.
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

    /// Returns true if its keys depend on the arguments of a request.
    #[must_use]
    pub const fn has_movable_keys(&self) -> bool {
        matches!(
            self.keys,
            Keys::Counted { .. } | Keys::Sort | Keys::Radius { .. } | Keys::Streams | Keys::Migrate
        )
    }
}
