//! A request that its server may not understand, and that the proxy can then say in other words.
//!
//! ```text
//! EVALSHA --> server --NOSCRIPT--> nothing behind it to this server: EVAL, and its reply is the answer
//!                                  else: the error is the answer, and SCRIPT LOAD goes to the server for the next time
//! ```
//!
//! A server that lacks what a request refers to has done nothing, so nothing is done twice. What the same client has sent
//! behind it to this server must not be overtaken: the server would carry out the first request last.

use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Protocol, Span};
use crate::proxy::replies::queue::{Pipeline, Seq};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::upstream::conn::Upstream;

/// What is kept of such a request until its reply is there.
#[derive(Debug)]
pub(crate) struct Retold<P: Protocol> {
    pub(crate) pipeline: Rc<Pipeline>,
    pub(crate) seq: Seq,
    /// Where it went: its queue holds this.
    pub(crate) upstream: Weak<Upstream<P>>,
    pub(crate) settings: Rc<P::Settings>,
    /// The request, as the client sent it.
    pub(crate) frame: Bytes,
}

impl<P: Protocol> Retold<P> {
    /// The whole reply.
    pub(crate) fn complete(self, reply: Frame<'_>, expect: P::Expect) {
        let is_retold = P::is_lack(reply.bytes()) && self.tell_again(expect);
        if !is_retold {
            self.pipeline.complete(self.seq, reply);
        }
    }

    /// Returns whether another reply will answer the request.
    fn tell_again(&self, expect: P::Expect) -> bool {
        let Some(upstream) = self.upstream.upgrade() else {
            return false;
        };
        let mut told = BytesMut::new();
        let is_last = !upstream.serves(&self.pipeline);
        let (is_known, ticket) = if is_last {
            let is_known = P::write_retold(&self.settings, &self.frame, &mut told);
            let ticket = || Ticket::whole(Rc::clone(&self.pipeline), self.seq, expect);
            (is_known, is_known.then(ticket))
        } else {
            let is_known = P::write_lesson(&self.settings, P::lacked(&self.frame), &mut told);
            (is_known, is_known.then(|| Ticket::nobody(expect)))
        };
        if let Some(ticket) = ticket {
            let frame = Frame::Shared(told.freeze());
            upstream.forward(frame, Span::default(), ticket, Instant::now());
        }
        is_last && is_known
    }
}
