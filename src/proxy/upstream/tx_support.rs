//! Whether the server of a connection accepts transactions (MULTI, EXEC), as far as is known.
//!
//! Asked once a connection, by the probe of `transaction/` or in the handshake of a connection that takes another's place.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::Transactions as _;
use crate::protocol::{Phrase, Protocol, UpstreamError};

/// How long a refusal is believed: who may do what can change at a server.
const REFUSAL_TTL: Duration = Duration::from_secs(1);

/// The requests that ask, in their order. Whatever becomes of the first two, the last ends it.
pub(crate) const PROBE: [Phrase; 3] = [Phrase::Multi, Phrase::Exec, Phrase::Discard];

/// What is known of one connection.
#[derive(Debug, Default)]
pub(crate) struct TxSupport {
    standing: RefCell<TxState>,
    /// Some connection was asked, and transactions may be queued when it ends. Not where to ask spoils a connection.
    wanted: Cell<bool>,
    /// The connection is to be closed.
    desynced: Cell<bool>,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum TxState {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// The reply is to come; those who wait for room are woken then.
    /// Those of them that wait for this attempt fail with it.
    Asked(Rc<ProbeFailure>),
    Taken,
    /// With these words, at that time.
    Refused(Bytes, Instant),
    /// As `Refused`, and to ask has cost the connection: this is believed beyond its end.
    Desynced(Bytes, Instant),
}

/// The replies to the questions, one after another.
#[derive(Debug, Default)]
pub(crate) struct ProbeReplies {
    heard: u8,
    is_open: bool,
    refusal: Option<Bytes>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    Taken,
    Refused(Bytes),
    /// As `Refused`, and the connection is of no more use: whatever it gets, its server takes for part of a transaction.
    Desynced(Bytes),
}

/// The error that ended a probe without a result: none as long as it is on its way.
pub(crate) type ProbeFailure = OnceCell<UpstreamError>;

impl TxSupport {
    pub(crate) fn standing(&self) -> TxState {
        self.standing.borrow().clone()
    }

    /// The probe is sent.
    pub(crate) fn ask(&self, fate: &Rc<ProbeFailure>) {
        *self.standing.borrow_mut() = TxState::Asked(Rc::clone(fate));
    }

    /// Has the driver close the connection.
    pub(crate) fn set_desynced(&self) {
        self.desynced.set(true);
    }

    /// Returns true, once, if the probe has made the connection useless.
    pub(crate) fn take_desynced(&self) -> bool {
        self.desynced.take()
    }

    /// As [`Self::standing`], but that a refusal of long ago is to be asked for again.
    pub(crate) fn standing_at(&self, now: Instant) -> TxState {
        match self.standing() {
            TxState::Refused(_, since) | TxState::Desynced(_, since)
                if now.saturating_duration_since(since) > REFUSAL_TTL =>
            {
                TxState::Unknown
            }
            standing => standing,
        }
    }

    /// Whether the next connection is to be asked in its handshake.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    pub(crate) fn set(&self, verdict: &ProbeResult) {
        self.wanted
            .set(!matches!(verdict, ProbeResult::Desynced(_)));
        *self.standing.borrow_mut() = match verdict {
            ProbeResult::Taken => TxState::Taken,
            ProbeResult::Refused(words) => TxState::Refused(words.clone(), Instant::now()),
            ProbeResult::Desynced(words) => TxState::Desynced(words.clone(), Instant::now()),
        };
    }

    /// The connection has ended, and with it what was known of it alone.
    pub(crate) fn forget(&self) {
        let mut standing = self.standing.borrow_mut();
        if !matches!(*standing, TxState::Desynced(..)) {
            *standing = TxState::Unknown;
        }
    }
}

impl ProbeReplies {
    /// Takes the next reply. Returns what came of it all behind the last.
    pub(crate) fn note<P: Protocol>(&mut self, reply: &[u8]) -> Option<ProbeResult> {
        let is_refused = P::classify(reply).is_error();
        self.heard += 1;
        match self.heard {
            1 => self.is_open = !is_refused,
            // A server that says so has ended it: that there is nothing to discard then is no wonder.
            _ => self.is_open &= is_refused && !P::Stateful::is_abort(reply),
        }
        if is_refused && self.heard < 3 {
            self.refusal
                .get_or_insert_with(|| Bytes::copy_from_slice(reply));
        }
        let words = || self.refusal.clone();
        match (self.heard, words(), self.is_open) {
            (..3, ..) => None,
            (_, None, _) => Some(ProbeResult::Taken),
            (_, Some(words), false) => Some(ProbeResult::Refused(words)),
            (_, Some(words), true) => Some(ProbeResult::Desynced(words)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::Redis;

    const OK: &str = "+OK\r\n";
    const NONE: &str = "*0\r\n";
    const NO: &str = "-ERR no\r\n";
    const ABORT: &str = "-EXECABORT Transaction discarded because of: BUSY\r\n";

    #[test]
    fn probe_succeeds_if_multi_and_exec_do() {
        let refused = || Some(ProbeResult::Refused(Bytes::from(NO)));
        for (replies, expected) in [
            ([OK, NONE, NO], Some(ProbeResult::Taken)),
            ([NO, NO, NO], refused()),
            ([OK, NO, OK], refused()),
            ([NO, NO, OK], refused()),
            ([OK, NO, NO], Some(ProbeResult::Desynced(Bytes::from(NO)))),
            // So a Redis refuses `EXEC` that is busy, or whose user may not.
            (
                [OK, ABORT, NO],
                Some(ProbeResult::Refused(Bytes::from(ABORT))),
            ),
            ([NO, ABORT, NO], refused()),
            (
                [OK, "-EXECABORTED\r\n", NO],
                Some(ProbeResult::Desynced(Bytes::from("-EXECABORTED\r\n"))),
            ),
        ] {
            let mut probe_replies = ProbeReplies::default();
            let [first, second, third] =
                replies.map(|reply| probe_replies.note::<Redis>(reply.as_bytes()));
            assert_eq!((first, second), (None, None));
            assert_eq!(third, expected, "{replies:?}");
        }
    }

    #[test]
    fn probe_refusal_is_cached_for_its_ttl() {
        let soon = || Instant::now() + REFUSAL_TTL / 2;
        let later = || Instant::now() + REFUSAL_TTL * 2;
        let words = Bytes::from(NO);
        for (verdict, is_wanted) in [
            (ProbeResult::Refused(words.clone()), true),
            (ProbeResult::Desynced(words), false),
        ] {
            let probe = TxSupport::default();
            probe.set(&verdict);
            assert_eq!(probe.is_wanted(), is_wanted, "{verdict:?}");
            let standing = probe.standing_at(soon());
            let is_believed =
                |standing| matches!(standing, TxState::Refused(..) | TxState::Desynced(..));
            assert!(is_believed(standing), "{verdict:?}");
            probe.forget();
            let standing = probe.standing_at(soon());
            assert_eq!(is_believed(standing), !is_wanted, "{verdict:?}");
            assert!(matches!(probe.standing_at(later()), TxState::Unknown));
            probe.set(&ProbeResult::Taken);
            assert!(probe.is_wanted());
            probe.forget();
            assert!(matches!(probe.standing_at(soon()), TxState::Unknown));
        }
    }
}
