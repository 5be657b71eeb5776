//! A request that asks how far replicas, or the disk, are with what a client has written.
//!
//! ```text
//! mark --> server --accepted--> the request, and its reply is the answer
//!                 --refused---> the next mark; the refusal of the last one is the answer
//! ```
//!
//! Servers remember for each connection how far its own writes go. A client's writes went over connections that others
//! share, so a connection of its own has to be brought to where they end: it writes a *mark*, which is replicated and
//! changes nothing. All that the client wrote is answered by then, and so lies before it.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Transactions as _;
use crate::protocol::{Phrase, Protocol, Span, UpstreamError};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;

/// What is to be done about one server once its mark is answered.
#[derive(Debug)]
pub(crate) struct OffsetMarker<P: Protocol> {
    pub(crate) gather: Rc<Gather<P>>,
    pub(crate) index: u16,
    /// Where it goes: its queue holds this.
    pub(crate) upstream: Weak<UpstreamConn<P>>,
    /// The request behind the mark.
    pub(crate) request: Bytes,
    /// Marks that are not yet tried.
    pub(crate) marks: Cell<&'static [Phrase]>,
    /// Set when a server takes none: there will be no whole.
    pub(crate) is_refused: Rc<Cell<bool>>,
}

impl<P: Protocol> OffsetMarker<P> {
    /// Sends the next mark, or fails.
    pub(crate) fn send(self: Rc<Self>, now: Instant) {
        let next = self.upstream.upgrade().zip(self.marks.get().split_first());
        let Some((upstream, (&mark, others))) = next else {
            return self.fail(UpstreamError::Dropped, false);
        };
        self.marks.set(others);
        let mut frame = BytesMut::new();
        P::Stateful::write_server_command(mark, &mut frame);
        let frame = Frame::Borrowed(&frame);
        let expect = self.gather.expect();
        let responder = Responder::handler(self, expect);
        upstream.forward(frame, Span::default(), responder, now);
    }

    /// The request cannot be answered as a whole any more.
    fn give_up(&self) {
        self.is_refused.set(true);
        self.gather.replies().wake();
    }
}

impl<P: Protocol> ReplyHandler<P> for OffsetMarker<P> {
    /// A status or an error: neither comes in parts.
    fn part(&self, _part: &[u8]) {}

    /// The server has answered the mark.
    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool) {
        let now = Instant::now();
        if P::classify(reply.bytes()).is_error() {
            if !self.marks.get().is_empty() {
                return self.send(now);
            }
            return self.fail_with(UpstreamError::Dropped, reply.bytes(), begun);
        }
        let Some(upstream) = self.upstream.upgrade() else {
            return self.fail(UpstreamError::Dropped, begun);
        };
        let responder = Responder::fragment(Rc::clone(&self.gather), self.index);
        let frame = Frame::Shared(self.request.clone());
        upstream.forward(frame, Span::default(), responder, now);
    }

    /// No other mark is tried.
    fn fail_with(self: Rc<Self>, _error: UpstreamError, text: &[u8], _begun: bool) {
        self.gather.part(self.index, text);
        self.gather.finish();
        self.give_up();
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        self.gather.fail(self.index, error);
        self.give_up();
    }

    fn is_for(&self, replies: &Rc<ReplyQueue>) -> bool {
        Rc::ptr_eq(self.gather.replies(), replies)
    }
}
