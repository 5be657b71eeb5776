//! Requests on their way to a server.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::Protocol;
use crate::proxy::replies::responder::Responder;

/// A request that is queued or sent.
#[derive(Debug)]
pub(crate) struct InFlight<P: Protocol> {
    pub(crate) responder: Responder<P>,
    pub(crate) since: Instant,
    pub(crate) len: usize,
}

/// Requests of which nothing is sent, taken from a queue.
#[derive(Debug)]
pub(crate) struct Unsent<P: Protocol> {
    pub(super) in_flight: VecDeque<InFlight<P>>,
    /// Their bytes.
    pub(super) copies: VecDeque<Bytes>,
}

impl<P: Protocol> Unsent<P> {
    /// Puts others before them.
    pub(crate) fn prepend(&mut self, requests: Vec<(InFlight<P>, Bytes)>) {
        for (request, bytes) in requests.into_iter().rev() {
            self.in_flight.push_front(request);
            self.copies.push_front(bytes);
        }
    }
}
