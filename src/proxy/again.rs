//! A request that may come to its server before what it is about.
//!
//! ```text
//! client A: BLPOP ---------connection of its own----------> server
//! client B: CLIENT UNBLOCK A --shared connection--> server --0--> A waits still: again
//! ```
//!
//! Requests of two connections may arrive in any order, though the proxy sent the one before the other. Each attempt takes
//! a round trip, and they end as soon as the server, or the worker of the other client, has read what is on its way.

use std::rc::{Rc, Weak};

use bytes::Bytes;
use tokio::time::Instant;

use super::gather::Gather;
use super::ticket::Ticket;
use super::upstream::Upstream;
use crate::buf::Frame;
use crate::protocol::{Fault, Protocol, Span};

/// What is kept of such a request until its reply is there.
#[derive(Debug)]
pub(super) struct Again<P: Protocol> {
    pub(super) gather: Rc<Gather<P>>,
    pub(super) index: u16,
    /// Where it went: its queue holds this.
    pub(super) upstream: Weak<Upstream<P>>,
    pub(super) settings: Rc<P::Settings>,
    /// What the client sent.
    pub(super) original: Bytes,
    /// What the server got of it.
    pub(super) part: Bytes,
}

impl<P: Protocol> Again<P> {
    /// The whole reply.
    pub(super) fn complete(self, reply: &[u8]) {
        if P::is_early(&self.settings, &self.original, &self.part, reply)
            && let Some(upstream) = self.upstream.upgrade()
        {
            let frame = Frame::Shared(self.part.clone());
            let ticket = Ticket::again(self);
            return upstream.forward(frame, Span::default(), ticket, Instant::now());
        }
        self.gather.part(self.index, reply);
        self.gather.finish();
    }

    pub(super) fn fail(self, fault: Fault) {
        self.gather.fail(self.index, fault);
    }
}
