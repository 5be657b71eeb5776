//! The extension point for replies that the proxy itself interprets.
//!
//! Most replies go to a slot of a [`ReplyQueue`] or to a fragment of a gather, and [`Responder`] passes them there
//! itself. Everything else that waits for a reply (EXEC, a command that may block, the proxy's own probe) implements
//! [`ReplyHandler`] in the module of its feature: a new kind adds a file there, and no match arm here.
//!
//! [`Responder`]: crate::proxy::replies::responder::Responder

use std::rc::Rc;

use bytes::Bytes;

use crate::buf::Frame;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::queue::ReplyQueue;

/// The receiver of the reply to one request, or to several that share it.
///
/// Exactly one of `complete`, `fail` and `fail_with` is called for each responder, even if its connection fails.
/// `begun`: `part` was called before.
pub(crate) trait ReplyHandler<P: Protocol> {
    /// Receives a part of the reply; more follows.
    fn part(&self, part: &[u8]);

    /// Receives the complete reply, or the rest of one that arrived in parts.
    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool);

    /// Receives the error in place of a reply.
    fn fail(self: Rc<Self>, error: UpstreamError, begun: bool);

    /// Receives the error in place of a reply, with an error reply for the client. No server sent it: an exchange of
    /// several requests ends with it.
    fn fail_with(self: Rc<Self>, error: UpstreamError, text: &[u8], begun: bool) {
        if begun {
            self.fail(error, begun);
        } else {
            self.complete(Frame::Borrowed(text), begun);
        }
    }

    /// The reply queue of the client that waits for it; `None` for a request of the proxy itself.
    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        None
    }

    /// Returns true if the server must answer within the pool's `timeout`.
    fn is_timed(&self) -> bool {
        true
    }

    /// The reply queue of a whole request, whose latency is recorded.
    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        None
    }

    /// Returns true if the request may be sent again, if the server has refused it.
    fn may_be_sent_again(&self) -> bool {
        false
    }

    /// What is to be sent before the transaction that begins with the request, if that goes to another server than at first.
    fn prerequisites(&self) -> &[Bytes] {
        &[]
    }

    /// Returns true if it waits for the reply to EXEC.
    fn is_exec(&self) -> bool {
        false
    }
}
