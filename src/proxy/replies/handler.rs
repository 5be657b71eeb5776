//! The door for replies that mean more to the proxy than bytes for a client.
//!
//! Most replies go to a slot of a [`ReplyQueue`] or to a fragment of a gather, and [`Responder`] hands them there itself.
//! Whatever else waits for a reply (EXEC, a command that may block, a probe of the proxy's own) implements
//! [`ReplyHandler`] in the room of its feature: a new kind adds a file there, and no arm here.
//!
//! [`Responder`]: crate::proxy::replies::responder::Responder

use std::rc::Rc;

use crate::buf::Frame;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::queue::ReplyQueue;

/// What receives the reply to one request, or to several that report to the same place.
///
/// Exactly one of `complete`, `fail` and `fail_with` is called for each responder, whatever becomes of its connection.
/// `begun` says that `part` was called before.
pub(crate) trait ReplyHandler<P: Protocol> {
    /// Receives a part of the reply; more follows.
    fn part(&self, part: &[u8]);

    /// Receives the whole reply, or what is left of one that came in parts.
    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool);

    /// Receives why there will be no reply.
    fn fail(self: Rc<Self>, error: UpstreamError, begun: bool);

    /// Receives why there will be no reply, with the error reply that says so. It is no server's answer: an exchange of
    /// several requests ends with it.
    fn fail_with(self: Rc<Self>, error: UpstreamError, text: &[u8], begun: bool) {
        if begun {
            self.fail(error, begun);
        } else {
            self.complete(Frame::Borrowed(text), begun);
        }
    }

    /// Returns true if the client of `replies` waits for it.
    fn is_for(&self, replies: &Rc<ReplyQueue>) -> bool;

    /// Returns true if the server must answer within the pool's `timeout`.
    fn is_timed(&self) -> bool {
        true
    }

    /// The client whose whole request it is: the latency of such a request is counted.
    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        None
    }

    /// Returns true if it waits for the reply to EXEC.
    fn is_exec(&self) -> bool {
        false
    }
}
