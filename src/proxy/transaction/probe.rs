//! The probe whether a server accepts transactions over a connection.
//!
//! ```text
//! the first transaction --> [MULTI EXEC DISCARD] --> accepted: it is sent, and so are all later ones
//!                                                --> refused: it fails, and none of it was sent
//! ```
//!
//! A server that refuses MULTI executes the commands after it one by one, and a block that is sent in one piece cannot
//! be recalled. So the server is probed before: once per connection, and not before there is a transaction. The
//! transaction waits meanwhile. A connection that replaces another, with transactions queued, is probed in its
//! handshake.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Transactions as _;
use crate::protocol::{Protocol, Span, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::tx_support::PROBE;
use crate::proxy::upstream::tx_support::ProbeFailure;
use crate::proxy::upstream::tx_support::ProbeReplies;
use crate::proxy::upstream::tx_support::ProbeResult;

/// A probe in flight, shared by the responders of its commands.
#[derive(Debug)]
pub(crate) struct TxProbe<P: Protocol> {
    /// Its connection, whose queue holds this.
    upstream: Weak<UpstreamConn<P>>,
    probe_replies: RefCell<ProbeReplies>,
    failure: Rc<ProbeFailure>,
}

impl<P: Protocol> TxProbe<P> {
    /// Sends a probe over an open connection. Returns the cell that receives the error if there is no reply.
    pub(crate) fn send(upstream: &Rc<UpstreamConn<P>>, now: Instant) -> Rc<ProbeFailure> {
        let failure = Rc::new(ProbeFailure::default());
        upstream.tx_support.ask(&failure);
        let probe = Rc::new(Self {
            upstream: Rc::downgrade(upstream),
            probe_replies: RefCell::default(),
            failure: Rc::clone(&failure),
        });
        for command in PROBE {
            let mut bytes = BytesMut::new();
            P::Stateful::write_server_command(command, &mut bytes);
            let handler: Rc<dyn ReplyHandler<P>> = Rc::<Self>::clone(&probe);
            let responder = Responder::handler(handler, P::HANDSHAKE);
            upstream.forward(Frame::Borrowed(&bytes), Span::default(), responder, now);
        }
        failure
    }
}

impl<P: Protocol> ReplyHandler<P> for TxProbe<P> {
    /// Does nothing: statuses and errors do not arrive in parts.
    fn part(&self, _part: &[u8]) {}

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        let result = self.probe_replies.borrow_mut().note::<P>(reply.bytes());
        let (Some(result), Some(upstream)) = (result, self.upstream.upgrade()) else {
            return;
        };
        upstream.tx_support.set(&result);
        if let ProbeResult::Desynced(_) = result {
            // The replies to pending requests would be QUEUED. The driver closes the connection when it has read this
            // batch.
            upstream.tx_support.set_desynced();
            upstream.fail_all(&Disconnect::Error(UpstreamError::Closed), None);
        }
        upstream.wake_waiting();
    }

    /// Fails the transactions that wait for the result: probing again at once could go on without end.
    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        // The first one counts.
        let _ = self.failure.set(error);
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.tx_support.forget();
            upstream.wake_waiting();
        }
    }
}
