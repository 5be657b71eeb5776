//! A row of the command table, and what it says by itself.

use crate::protocol::redis::command::policy::{Group, Keys, Local, Policy};

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

impl Command {
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
