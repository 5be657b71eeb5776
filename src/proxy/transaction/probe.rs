//! Whether a server takes transactions over a connection.
//!
//! ```text
//! the first transaction --> [BEGIN COMMIT DISCARD] --> taken: it goes, and so do all that follow
//!                                                 --> refused: it fails, and nothing of it was sent
//! ```
//!
//! A server that refuses the beginning of a transaction carries out what stands behind it piece by piece, and a block that
//! is sent in one piece cannot be called back. So the server is asked before: once a connection, and not before there is a
//! transaction. The transaction waits meanwhile. A connection that takes another's place, with transactions queued, is asked
//! in its greeting.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Phrase, Protocol, Span, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::queue::ProbeFailure;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::disconnect::Disconnect;

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

/// The questions on their way. Shared by their tickets.
#[derive(Debug)]
pub(crate) struct TxProbe<P: Protocol> {
    /// Its queue holds this.
    upstream: Weak<UpstreamConn<P>>,
    probe_replies: RefCell<ProbeReplies>,
    fate: Rc<ProbeFailure>,
}

impl TxSupport {
    pub(crate) fn standing(&self) -> TxState {
        self.standing.borrow().clone()
    }

    /// Whether what was asked has made the connection useless. Said once.
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

    /// Whether the next connection is to be asked in its greeting.
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
        let is_refused = P::is_refusal(reply);
        self.heard += 1;
        match self.heard {
            1 => self.is_open = !is_refused,
            // A server that says so has ended it: that there is nothing to discard then is no wonder.
            _ => self.is_open &= is_refused && !P::is_abort(reply),
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

impl<P: Protocol> TxProbe<P> {
    /// Asks over an open connection. Returns where it is noted if there will be no reply.
    pub(crate) fn send(upstream: &Rc<UpstreamConn<P>>, now: Instant) -> Rc<ProbeFailure> {
        let fate = Rc::new(ProbeFailure::default());
        *upstream.tx_support.standing.borrow_mut() = TxState::Asked(Rc::clone(&fate));
        let probe = Rc::new(Self {
            upstream: Rc::downgrade(upstream),
            probe_replies: RefCell::default(),
            fate: Rc::clone(&fate),
        });
        for question in PROBE {
            let mut bytes = BytesMut::new();
            P::write_server_command(question, &mut bytes);
            let handler: Rc<dyn ReplyHandler<P>> = Rc::<Self>::clone(&probe);
            let responder = Responder::handler(handler, P::HANDSHAKE);
            upstream.forward(Frame::Borrowed(&bytes), Span::default(), responder, now);
        }
        fate
    }
}

impl<P: Protocol> ReplyHandler<P> for TxProbe<P> {
    /// Statuses and errors: they do not come in parts.
    fn part(&self, _part: &[u8]) {}

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        let verdict = self.probe_replies.borrow_mut().note::<P>(reply.bytes());
        let (Some(verdict), Some(upstream)) = (verdict, self.upstream.upgrade()) else {
            return;
        };
        upstream.tx_support.set(&verdict);
        if let ProbeResult::Desynced(_) = verdict {
            // Their replies would say that they are queued. The driver closes the connection when it has read this batch.
            upstream.tx_support.desynced.set(true);
            upstream.fail_all(&Disconnect::Error(UpstreamError::Closed), None);
        }
        upstream.wake_waiting();
    }

    /// Whoever waits for the result fails as well: probing again at once could go on without end.
    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        // The first one counts.
        let _ = self.fate.set(error);
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.tx_support.forget();
            upstream.wake_waiting();
        }
    }

    fn is_for(&self, _replies: &Rc<ReplyQueue>) -> bool {
        false
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
    fn a_server_takes_transactions_if_it_begins_and_carries_out_one() {
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
    fn a_refusal_is_believed_for_a_second_and_beyond_the_connection_that_it_has_cost() {
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
