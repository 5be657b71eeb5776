//! What all connections of one worker share: the read buffer, the account of what clients are owed, their pace, and
//! the places for connections of their own.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::buf::Scratch;
use crate::net::Places;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::park_delay::{Pace, Pause};

/// One a worker.
#[derive(Debug, Default)]
pub struct Commons {
    pub(crate) scratch: Scratch,
    pub(crate) ledger: Ledger,
    pub(crate) pace: Pace,
    pub(crate) places: Places,
}

impl Commons {
    /// `pause` is what the worker's thread asks before it blocks.
    pub fn new(pause: Pause) -> Self {
        Self {
            pace: Pace::new(pause),
            ..Self::default()
        }
    }

    /// Connections that clients have for themselves take a place here.
    #[must_use]
    pub fn with_places(self, places: Places) -> Self {
        Self { places, ..self }
    }
}

/// Bytes that the worker holds for its clients.
///
/// What many clients are owed at once, a large message that is published to them, is held once and booked once, for as
/// long as any of them has not got it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Those that one client alone is owed.
    owed_bytes: Cell<usize>,
    /// Those that several are owed. Used by one thread, and atomic since buffers may be sent to others.
    common_bytes: Arc<AtomicUsize>,
    limits: FlowLimits,
}

/// What one client alone is owed, as the ledger has it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    owed: Cell<Owed>,
}

/// Bytes that a client is owed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) bytes: usize,
    /// Those of them that others are owed, too.
    pub(crate) common_bytes: usize,
}

/// Whether a client may be owed so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Sound,
    /// It is owed more than one client may be, or than is fair while the worker as a whole holds too much.
    Overdrawn,
}

impl Ledger {
    /// Books what a client is owed now.
    pub(crate) fn book(&self, account: &Account, owed: Owed) -> Standing {
        let before = account.owed.replace(owed);
        let total = (self.owed_bytes.get() + owed.own_bytes()).saturating_sub(before.own_bytes());
        self.owed_bytes.set(total);
        if owed.bytes > self.limits.owed_fair_bytes
            && owed.bytes > before.bytes
            && owed.bytes > self.most_bytes()
        {
            Standing::Overdrawn
        } else {
            Standing::Sound
        }
    }

    /// The same bytes, booked once until the last of those who share them has let go.
    pub(crate) fn common(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Common::new(bytes, &self.common_bytes))
    }

    /// What one client may be owed at present.
    fn most_bytes(&self) -> usize {
        let held_bytes = self.owed_bytes.get() + self.common_bytes.load(Ordering::Relaxed);
        if held_bytes > self.limits.worker_owed_bytes {
            self.limits.owed_fair_bytes
        } else {
            self.limits.owed_most_bytes
        }
    }
}

impl Owed {
    fn own_bytes(self) -> usize {
        self.bytes.saturating_sub(self.common_bytes)
    }
}

/// Bytes that several clients are owed.
struct Common {
    bytes: Bytes,
    booked_bytes: Arc<AtomicUsize>,
}

impl Common {
    fn new(bytes: Bytes, booked_bytes: &Arc<AtomicUsize>) -> Self {
        booked_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Self {
            bytes,
            booked_bytes: Arc::clone(booked_bytes),
        }
    }
}

impl AsRef<[u8]> for Common {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        let len = self.bytes.len();
        self.booked_bytes.fetch_sub(len, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(bytes: usize) -> Owed {
        Owed {
            bytes,
            common_bytes: 0,
        }
    }

    #[test]
    fn one_client_may_be_owed_much_but_not_while_all_are_owed_too_much() {
        let ledger = Ledger::default();
        let limits = FlowLimits::default();
        let (first, second) = (Account::default(), Account::default());
        let most = limits.owed_most_bytes;
        assert_eq!(ledger.book(&first, own(most)), Standing::Sound);
        assert_eq!(ledger.book(&first, own(most + 1)), Standing::Overdrawn);
        assert_eq!(ledger.book(&first, own(0)), Standing::Sound);

        assert_eq!(ledger.book(&first, own(most)), Standing::Sound);
        assert_eq!(ledger.book(&second, own(most)), Standing::Sound);
        let third = Account::default();
        let rest = limits.worker_owed_bytes - 2 * most;
        assert_eq!(ledger.book(&third, own(rest)), Standing::Sound);
        assert_eq!(ledger.book(&third, own(rest + 1)), Standing::Overdrawn);
        let small = Account::default();
        let fair = own(limits.owed_fair_bytes);
        assert_eq!(ledger.book(&small, fair), Standing::Sound);
        let less = ledger.book(&second, own(most - 1));
        assert_eq!(less, Standing::Sound, "what shrinks is let go on");
    }

    #[test]
    fn what_many_are_owed_is_booked_once_until_the_last_has_it() {
        let ledger = Ledger::default();
        let fair_bytes = ledger.limits.owed_fair_bytes;
        let message = ledger.common(Bytes::from(vec![b'x'; 4 * fair_bytes]));
        let owed = Owed {
            bytes: message.len(),
            common_bytes: message.len(),
        };
        let all: Vec<_> = (0..10_000)
            .map(|_| (Account::default(), message.clone()))
            .collect();
        for (account, _) in &all {
            assert_eq!(ledger.book(account, owed), Standing::Sound);
        }
        let first = &all[0].0;
        let worker_bytes = ledger.limits.worker_owed_bytes;
        let large = Account::default();
        // To that client alone it is too much; what is said of the first is what the sum of all is.
        ledger.book(&large, own(worker_bytes - message.len()));
        ledger.book(first, own(0));
        let fits = ledger.book(first, owed);
        assert_eq!(fits, Standing::Sound, "the message is booked once");
        ledger.book(&large, own(worker_bytes - message.len() + 1));
        ledger.book(first, own(0));
        assert_eq!(ledger.book(first, owed), Standing::Overdrawn);
        drop((all, message));
        let sound = ledger.book(&Account::default(), owed);
        assert_eq!(sound, Standing::Sound, "it is let go");
    }
}
