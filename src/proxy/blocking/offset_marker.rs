//! WAIT or WAITAOF on one server, sent after a marker of the client's replication offset.
//!
//! ```text
//! marker --> server --accepted--> the request, whose reply is returned
//!                   --rejected--> the next marker; the error of the last one is returned
//! ```
//!
//! Servers track for each connection the replication offset of its own last write. A client's writes went over shared
//! connections, so its dedicated connection has to reach their offset: it writes a *marker*, which is replicated and
//! changes nothing. All writes of the client are answered by then, and so precede it.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Transactions as _;
use crate::protocol::{Protocol, ServerCommand, Span, UpstreamError};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;

/// The request to one server, sent once its marker is accepted.
#[derive(Debug)]
pub(crate) struct OffsetMarker<P: Protocol> {
    pub(crate) gather: Rc<Gather<P>>,
    pub(crate) index: u16,
    /// Its connection, whose queue holds this.
    pub(crate) upstream: Weak<UpstreamConn<P>>,
    /// The request after the marker.
    pub(crate) request: Bytes,
    /// Markers that are not yet tried.
    pub(crate) marks: Cell<&'static [ServerCommand]>,
    /// Set when a server accepts none: there will be no merged reply.
    pub(crate) is_refused: Rc<Cell<bool>>,
}

impl<P: Protocol> OffsetMarker<P> {
    /// Sends the next marker, or fails.
    pub(crate) fn send(self: Rc<Self>, now: Instant) {
        let next = self.upstream.upgrade().zip(self.marks.get().split_first());
        let Some((upstream, (&marker, others))) = next else {
            return self.fail(UpstreamError::Dropped, false);
        };
        self.marks.set(others);
        let mut frame = BytesMut::new();
        P::Stateful::write_server_command(marker, &mut frame);
        let frame = Frame::Borrowed(&frame);
        let expect = self.gather.expect();
        let responder = Responder::handler(self, expect);
        upstream.forward(frame, Span::default(), responder, now);
    }

    /// Notes that there will be no merged reply.
    fn set_refused(&self) {
        self.is_refused.set(true);
        self.gather.replies().wake();
    }
}

impl<P: Protocol> ReplyHandler<P> for OffsetMarker<P> {
    /// Does nothing: a status or an error does not arrive in parts.
    fn part(&self, _part: &[u8]) {}

    /// Handles the reply to the marker.
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

    /// Fails; no other marker is tried.
    fn fail_with(self: Rc<Self>, _error: UpstreamError, text: &[u8], _begun: bool) {
        self.gather.fail_with(self.index, text);
        self.set_refused();
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        self.gather.fail(self.index, error);
        self.set_refused();
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(self.gather.replies())
    }
}
