//! Requests that a server has refused, while the replies to what was sent after them come in.

use std::collections::HashSet;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::protocol::Transactions as _;
use crate::protocol::{Protocol, ProxyReply, UpstreamError};
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::in_flight::{InFlight, Unsent};

/// A request that is kept, with its bytes.
type Kept<P> = (InFlight<P>, Bytes);

/// What goes to the next primary, in this order.
#[derive(Debug)]
pub(crate) struct Refused<P: Protocol> {
    /// Requests that were refused, and reads of their clients that came after them: what those found is not what they are to
    /// find. Each alone, or those of a transaction together, EXEC last.
    requests: Vec<Vec<Kept<P>>>,
    /// The clients of these.
    clients: HashSet<*const ReplyQueue>,
    /// The first refusal.
    reply: Bytes,
    /// What was not sent then.
    rest: Unsent<P>,
    /// The bytes of all these.
    bytes: usize,
}

impl<P: Protocol> Refused<P> {
    /// None yet.
    pub(crate) fn new(reply: &[u8], rest: Unsent<P>) -> Self {
        Self {
            requests: Vec::new(),
            clients: HashSet::new(),
            reply: Bytes::copy_from_slice(reply),
            bytes: rest.copies.iter().map(Bytes::len).sum(),
            rest,
        }
    }

    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the next one, or the next transaction.
    pub(crate) fn push(&mut self, requests: Vec<Kept<P>>) {
        self.bytes += requests.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        self.clients.extend(client_of(&requests));
        self.requests.push(requests);
    }

    /// Returns true if a read is to be sent again, since requests of its client before it are.
    pub(crate) fn holds_back(&self, read: &Responder<P>) -> bool {
        let client = read.client().map(Rc::as_ptr);
        let is_free = read.may_be_sent_again() || read.is_exec() && read.is_in_transaction();
        is_free && client.is_some_and(|client| self.clients.contains(&client))
    }

    /// Answers those of the client whose request was executed after them with the refusal.
    pub(crate) fn answer_client_of(&mut self, executed: &Responder<P>) {
        let client = executed.client().map(Rc::as_ptr);
        if client.is_none_or(|client| !self.clients.remove(&client)) {
            return;
        }
        let is_concerned = |requests: &mut Vec<Kept<P>>| client_of(requests) == client;
        let requests: Vec<_> = self.requests.extract_if(.., is_concerned).collect();
        let [mut plain, mut aborted] = [(); 2].map(|()| BytesMut::new());
        P::Stateful::write_proxy_reply(ProxyReply::Aborted, &mut plain);
        P::Stateful::write_exec_abort(&self.reply, &plain, &mut aborted);
        for (InFlight { responder, .. }, bytes) in requests.into_iter().flatten() {
            self.bytes -= bytes.len();
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
        rest.prepend(requests.into_iter().flatten().collect());
        rest
    }
}

/// The client of a request, or of a transaction.
fn client_of<P: Protocol>(requests: &[Kept<P>]) -> Option<*const ReplyQueue> {
    let (last, _) = requests.last()?;
    last.responder.client().map(Rc::as_ptr)
}
