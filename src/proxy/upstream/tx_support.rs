//! The known support of a connection's server for transactions (MULTI, EXEC).
//!
//! Probed once per connection, by the probe of `transaction/` or in the handshake of a connection that replaces
//! another.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::Transactions as _;
use crate::protocol::{Protocol, ServerCommand, UpstreamError};

/// Lifetime of a cached refusal: the permissions at a server can change.
const REFUSAL_TTL: Duration = Duration::from_secs(1);

/// The commands of a probe, in their order. Whatever the replies to the first two, the last ends the transaction.
pub(crate) const PROBE: [ServerCommand; 3] = [
    ServerCommand::Multi,
    ServerCommand::Exec,
    ServerCommand::Discard,
];

/// The cached probe result of one connection.
#[derive(Debug, Default)]
pub(crate) struct TxSupport {
    state: RefCell<TxState>,
    /// A connection was probed, and transactions may be queued when it ends. Unset if a probe desyncs the connection.
    wanted: Cell<bool>,
    /// The driver must close the connection.
    desynced: Cell<bool>,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum TxState {
    /// Not probed.
    #[default]
    Unknown,
    /// The reply is pending; sessions that wait for room are woken by it. Those of them that wait for this probe fail
    /// with it.
    Asked(Rc<ProbeFailure>),
    Taken,
    /// With this error reply, at that time.
    Refused(Bytes, Instant),
    /// As `Refused`, and the probe cost the connection: this result outlives it.
    Desynced(Bytes, Instant),
}

/// The replies to a probe, one after another.
#[derive(Debug, Default)]
pub(crate) struct ProbeReplies {
    received: u8,
    is_open: bool,
    refusal: Option<Bytes>,
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    Taken,
    Refused(Bytes),
    /// As `Refused`, and the connection is unusable: its server takes every command as part of a transaction.
    Desynced(Bytes),
}

/// The error that ended a probe without a result; empty while the probe is in flight.
pub(crate) type ProbeFailure = OnceCell<UpstreamError>;

impl TxSupport {
    pub(crate) fn state(&self) -> TxState {
        self.state.borrow().clone()
    }

    /// Notes that a probe is sent.
    pub(crate) fn ask(&self, failure: &Rc<ProbeFailure>) {
        *self.state.borrow_mut() = TxState::Asked(Rc::clone(failure));
    }

    /// Has the driver close the connection.
    pub(crate) fn set_desynced(&self) {
        self.desynced.set(true);
    }

    /// Returns true, once, if the probe has made the connection unusable.
    pub(crate) fn take_desynced(&self) -> bool {
        self.desynced.take()
    }

    /// As [`Self::state`], but `Unknown` in place of an expired refusal.
    pub(crate) fn state_at(&self, now: Instant) -> TxState {
        match self.state() {
            TxState::Refused(_, since) | TxState::Desynced(_, since)
                if now.saturating_duration_since(since) > REFUSAL_TTL =>
            {
                TxState::Unknown
            }
            state => state,
        }
    }

    /// Returns true if the next connection must be probed in its handshake.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    pub(crate) fn set(&self, result: &ProbeResult) {
        self.wanted.set(!matches!(result, ProbeResult::Desynced(_)));
        *self.state.borrow_mut() = match result {
            ProbeResult::Taken => TxState::Taken,
            ProbeResult::Refused(error) => TxState::Refused(error.clone(), Instant::now()),
            ProbeResult::Desynced(error) => TxState::Desynced(error.clone(), Instant::now()),
        };
    }

    /// Forgets the result when the connection has ended, unless it outlives that.
    pub(crate) fn forget(&self) {
        let mut state = self.state.borrow_mut();
        if !matches!(*state, TxState::Desynced(..)) {
            *state = TxState::Unknown;
        }
    }
}

impl ProbeReplies {
    /// Takes the next reply. Returns the result after the last.
    pub(crate) fn note<P: Protocol>(&mut self, reply: &[u8]) -> Option<ProbeResult> {
        let is_refused = P::classify(reply).is_error();
        self.received += 1;
        match self.received {
            1 => self.is_open = !is_refused,
            // A server that replies so has ended the transaction: that DISCARD then fails is expected.
            _ => self.is_open &= is_refused && !P::Stateful::is_abort(reply),
        }
        if is_refused && self.received < 3 {
            self.refusal
                .get_or_insert_with(|| Bytes::copy_from_slice(reply));
        }
        let error = || self.refusal.clone();
        match (self.received, error(), self.is_open) {
            (..3, ..) => None,
            (_, None, _) => Some(ProbeResult::Taken),
            (_, Some(error), false) => Some(ProbeResult::Refused(error)),
            (_, Some(error), true) => Some(ProbeResult::Desynced(error)),
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
            // The reply of a Redis to `EXEC` that is busy, or whose user lacks the permission.
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
        let error = Bytes::from(NO);
        for (result, is_wanted) in [
            (ProbeResult::Refused(error.clone()), true),
            (ProbeResult::Desynced(error), false),
        ] {
            let probe = TxSupport::default();
            probe.set(&result);
            assert_eq!(probe.is_wanted(), is_wanted, "{result:?}");
            let state = probe.state_at(soon());
            let is_cached = |state| matches!(state, TxState::Refused(..) | TxState::Desynced(..));
            assert!(is_cached(state), "{result:?}");
            probe.forget();
            let state = probe.state_at(soon());
            assert_eq!(is_cached(state), !is_wanted, "{result:?}");
            assert!(matches!(probe.state_at(later()), TxState::Unknown));
            probe.set(&ProbeResult::Taken);
            assert!(probe.is_wanted());
            probe.forget();
            assert!(matches!(probe.state_at(soon()), TxState::Unknown));
        }
    }
}
