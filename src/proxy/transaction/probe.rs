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
//! in its handshake.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Transactions as _;
use crate::protocol::{Protocol, Span, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::tx_support::PROBE;
use crate::proxy::upstream::tx_support::ProbeFailure;
use crate::proxy::upstream::tx_support::ProbeReplies;
use crate::proxy::upstream::tx_support::ProbeResult;

/// A probe on its way. Shared by the responders of its requests.
#[derive(Debug)]
pub(crate) struct TxProbe<P: Protocol> {
    /// Its queue holds this.
    upstream: Weak<UpstreamConn<P>>,
    probe_replies: RefCell<ProbeReplies>,
    fate: Rc<ProbeFailure>,
}

impl<P: Protocol> TxProbe<P> {
    /// Asks over an open connection. Returns where it is noted if there will be no reply.
    pub(crate) fn send(upstream: &Rc<UpstreamConn<P>>, now: Instant) -> Rc<ProbeFailure> {
        let fate = Rc::new(ProbeFailure::default());
        upstream.tx_support.ask(&fate);
        let probe = Rc::new(Self {
            upstream: Rc::downgrade(upstream),
            probe_replies: RefCell::default(),
            fate: Rc::clone(&fate),
        });
        for question in PROBE {
            let mut bytes = BytesMut::new();
            P::Stateful::write_server_command(question, &mut bytes);
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
            upstream.tx_support.set_desynced();
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
