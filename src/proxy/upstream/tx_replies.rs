//! The replies to the requests of a transaction before EXEC, kept until that of EXEC is known.
//!
//! ```text
//! MULTI SET EXEC --> +OK -READONLY -EXECABORT      nothing was done: all of it goes to the next primary
//!                --> +OK +QUEUED *1 +OK            it was executed: the replies are passed on
//! ```

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::protocol::{Connections as _, Transactions as _};
use crate::protocol::{Effect, Protocol};
use crate::proxy::upstream::in_flight::InFlight;

/// Those of one transaction.
#[derive(Debug)]
pub(crate) struct TxReplies<P: Protocol> {
    replied: Vec<Replied<P>>,
    /// The bytes of these.
    bytes: usize,
}

#[derive(Debug)]
struct Replied<P: Protocol> {
    request: InFlight<P>,
    bytes: Bytes,
    reply: Bytes,
}

impl<P: Protocol> Default for TxReplies<P> {
    fn default() -> Self {
        Self {
            replied: Vec::new(),
            bytes: 0,
        }
    }
}

impl<P: Protocol> TxReplies<P> {
    /// Returns true if none is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.replied.is_empty()
    }

    /// Bytes of the requests and replies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the reply to a request, of which `bytes` is a copy.
    pub(crate) fn push(&mut self, request: InFlight<P>, bytes: Bytes, reply: &[u8]) {
        let reply = Bytes::copy_from_slice(reply);
        self.bytes += bytes.len() + reply.len();
        self.replied.push(Replied {
            request,
            bytes,
            reply,
        });
    }

    /// The error of a server that has refused the transaction, and so has done nothing, if the reply to EXEC says that.
    pub(crate) fn refusal(&self, reply_to_exec: &[u8]) -> Option<Bytes> {
        if !P::Stateful::is_abort(reply_to_exec) {
            return None;
        }
        let is_refusal =
            |reply: &Bytes| P::Stateful::effect(&[], P::HANDSHAKE, reply) == Effect::Refused;
        let mut cause = BytesMut::new();
        let has_cause = P::Stateful::write_abort_cause(reply_to_exec, &mut cause);
        let mut replies = self.replied.iter().map(|replied| &replied.reply);
        let of_request = replies.find(|reply| is_refusal(reply)).cloned();
        of_request.or_else(|| has_cause.then(|| cause.freeze()).filter(is_refusal))
    }

    /// The effect of a transaction that was executed.
    pub(crate) fn effect(&self, of_exec: P::Expect) -> Effect {
        let is_read = |replied: &Replied<P>| {
            P::Stateful::effect(&replied.bytes, of_exec, &[]) == Effect::Read
        };
        match self.replied.split_first() {
            Some((_multi, requests)) if requests.iter().all(is_read) => Effect::Read,
            _ => Effect::Changed,
        }
    }

    /// Takes the requests, and the bytes of each.
    pub(crate) fn take(&mut self) -> Vec<(InFlight<P>, Bytes)> {
        self.bytes = 0;
        let replied = self.replied.drain(..);
        replied
            .map(|replied| (replied.request, replied.bytes))
            .collect()
    }

    /// Passes the replies on.
    pub(crate) fn complete(&mut self) {
        self.bytes = 0;
        for Replied { request, reply, .. } in self.replied.drain(..) {
            request.responder.complete(Frame::Borrowed(&reply));
        }
    }
}
