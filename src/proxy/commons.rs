//! What all connections of one worker share: the read buffer, the account of what clients are owed, and their pace.

use std::cell::Cell;

use super::limits::FlowLimits;
use super::pace::{Pace, Pause};
use crate::buf::Scratch;

/// One a worker.
#[derive(Debug, Default)]
pub struct Commons {
    pub(super) scratch: Scratch,
    pub(super) ledger: Ledger,
    pub(super) pace: Pace,
}

impl Commons {
    /// `pause` is what the worker's thread asks before it blocks.
    pub fn new(pause: Pause) -> Self {
        Self {
            pace: Pace::new(pause),
            ..Self::default()
        }
    }
}

/// Bytes that the worker holds for its clients.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    owed_bytes: Cell<usize>,
    limits: FlowLimits,
}

/// What one client is owed, as the ledger has it.
#[derive(Debug, Default)]
pub(super) struct Account {
    owed_bytes: Cell<usize>,
}

/// Whether a client may be owed so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Sound,
    /// It is owed more than one client may be, or than is fair while the worker as a whole holds too much.
    Overdrawn,
}

impl Ledger {
    /// Books that a client is now owed so many bytes.
    pub(super) fn book(&self, account: &Account, owed_bytes: usize) -> Standing {
        let before = account.owed_bytes.replace(owed_bytes);
        let total = (self.owed_bytes.get() + owed_bytes).saturating_sub(before);
        self.owed_bytes.set(total);
        let fair = if total > self.limits.worker_owed_bytes {
            self.limits.owed_fair_bytes
        } else {
            self.limits.owed_most_bytes
        };
        if owed_bytes > fair && owed_bytes > before {
            Standing::Overdrawn
        } else {
            Standing::Sound
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_may_be_owed_much_but_not_while_all_are_owed_too_much() {
        let ledger = Ledger::default();
        let limits = FlowLimits::default();
        let (first, second) = (Account::default(), Account::default());
        let most = limits.owed_most_bytes;
        assert_eq!(ledger.book(&first, most), Standing::Sound);
        assert_eq!(ledger.book(&first, most + 1), Standing::Overdrawn);
        assert_eq!(ledger.book(&first, 0), Standing::Sound);

        assert_eq!(ledger.book(&first, most), Standing::Sound);
        assert_eq!(ledger.book(&second, most), Standing::Sound);
        let third = Account::default();
        let rest = limits.worker_owed_bytes - 2 * most;
        assert_eq!(ledger.book(&third, rest), Standing::Sound);
        assert_eq!(ledger.book(&third, rest + 1), Standing::Overdrawn);
        let small = Account::default();
        assert_eq!(ledger.book(&small, limits.owed_fair_bytes), Standing::Sound);
        assert_eq!(
            ledger.book(&second, most - 1),
            Standing::Sound,
            "what shrinks is let go on"
        );
    }
}
