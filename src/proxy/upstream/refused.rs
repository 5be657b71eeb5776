//! Requests that a server has refused, while the replies to what was sent after them come in.

use bytes::{Bytes, BytesMut};

use crate::protocol::Transactions as _;
use crate::protocol::{Protocol, ProxyReply, UpstreamError};
use crate::proxy::upstream::in_flight::{InFlight, Unsent};

/// What goes to the next primary, in this order.
#[derive(Debug)]
pub(crate) struct Refused<P: Protocol> {
    /// Requests that were refused, and reads that came after them: what those found is not what they are to find.
    requests: Vec<(InFlight<P>, Bytes)>,
    /// The first refusal.
    reply: Bytes,
    /// What was not sent then.
    rest: Unsent<P>,
}

impl<P: Protocol> Refused<P> {
    /// None yet.
    pub(crate) fn new(reply: &[u8], rest: Unsent<P>) -> Self {
        Self {
            requests: Vec::new(),
            reply: Bytes::copy_from_slice(reply),
            rest,
        }
    }

    /// Adds the next one.
    pub(crate) fn push(&mut self, request: InFlight<P>, bytes: Bytes) {
        self.requests.push((request, bytes));
    }

    /// Answers those so far with the refusal: one that came later was executed.
    pub(crate) fn answer(&mut self) {
        let [mut plain, mut aborted] = [(); 2].map(|()| BytesMut::new());
        P::Stateful::write_proxy_reply(ProxyReply::Aborted, &mut plain);
        P::Stateful::write_exec_abort(&self.reply, &plain, &mut aborted);
        for (InFlight { responder, .. }, _) in self.requests.drain(..) {
            let reply = if responder.is_exec() {
                &aborted[..]
            } else {
                &self.reply
            };
            responder.fail_with(UpstreamError::NoPrimary, reply);
        }
    }

    /// What is to be sent again.
    pub(crate) fn into_unsent(self) -> Unsent<P> {
        let Self {
            requests, mut rest, ..
        } = self;
        rest.prepend(requests);
        rest
    }
}
