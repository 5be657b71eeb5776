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
use crate::protocol::{Phrase, Protocol, Span, UpstreamError};
use crate::proxy::replies::gather::Gather;
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
    pub(crate) marks: &'static [Phrase],
    /// Set when a server takes none: there will be no whole.
    pub(crate) is_refused: Rc<Cell<bool>>,
}

impl<P: Protocol> OffsetMarker<P> {
    /// Sends the next mark, or fails.
    pub(crate) fn send(mut self, now: Instant) {
        let next = self.upstream.upgrade().zip(self.marks.split_first());
        let Some((upstream, (&mark, others))) = next else {
            return self.fail(UpstreamError::Dropped);
        };
        self.marks = others;
        let mut frame = BytesMut::new();
        P::write_server_command(mark, &mut frame);
        let frame = Frame::Borrowed(&frame);
        upstream.forward(frame, Span::default(), Responder::offset_marker(self), now);
    }

    /// The server has answered the mark.
    pub(crate) fn complete(self, reply: &[u8]) {
        let now = Instant::now();
        if P::is_refusal(reply) {
            if !self.marks.is_empty() {
                return self.send(now);
            }
            return self.fail_with(reply);
        }
        let Some(upstream) = self.upstream.upgrade() else {
            return self.fail(UpstreamError::Dropped);
        };
        let responder = Responder::fragment(Rc::clone(&self.gather), self.index);
        let frame = Frame::Shared(self.request);
        upstream.forward(frame, Span::default(), responder, now);
    }

    /// There is no whole, and these words say why. No other mark is tried.
    pub(crate) fn fail_with(self, words: &[u8]) {
        self.gather.part(self.index, words);
        self.gather.finish();
        self.give_up();
    }

    pub(crate) fn fail(self, error: UpstreamError) {
        self.gather.fail(self.index, error);
        self.give_up();
    }

    fn give_up(&self) {
        self.is_refused.set(true);
        self.gather.replies().wake();
    }
}
