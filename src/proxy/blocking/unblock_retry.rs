//! A request that may come to its server before what it is about.
//!
//! ```text
//! client A: BLPOP ---------connection of its own----------> server
//! client B: CLIENT UNBLOCK A --shared connection--> server --0--> A waits still: again
//! ```
//!
//! Requests of two connections may arrive in any order, though the proxy sent the one before the other. The attempts end as
//! soon as the server, or the worker of the other client, has read what is on its way. It may also be another server that
//! hangs, for as long as it likes: so there is a pause between attempts, and a last one, whose reply is the answer.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::buf::Frame;
use crate::protocol::Blocking as _;
use crate::protocol::{Protocol, Span, UpstreamError};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};

/// How long a server has to read what is on its way.
const PAUSE: Duration = Duration::from_millis(20);

/// How often it is asked again: for a second.
const MAX_RETRIES: u8 = 50;

/// What is kept of such a request until its reply is there.
#[derive(Debug)]
pub(crate) struct UnblockRetry<P: Protocol> {
    pub(crate) gather: Rc<Gather<P>>,
    pub(crate) index: u16,
    /// Where it went: its queue holds this.
    pub(crate) upstream: Weak<UpstreamConn<P>>,
    pub(crate) settings: Rc<P::Settings>,
    /// What the client sent.
    pub(crate) original: Bytes,
    /// What the server got of it.
    pub(crate) part: Bytes,
    /// How often it was sent again.
    pub(crate) tries: Cell<u8>,
}

impl<P: Protocol> UnblockRetry<P> {
    /// What receives the reply.
    pub(crate) fn responder(self: Rc<Self>) -> Responder<P> {
        let expect = self.gather.expect();
        Responder::handler(self, expect)
    }

    async fn retry_later(self: Rc<Self>, upstream: Rc<UpstreamConn<P>>) {
        let frame = Frame::Shared(self.part.clone());
        // A task that is dropped drops the responder, and that answers.
        let responder = self.responder();
        sleep(PAUSE).await;
        let now = Instant::now();
        match upstream.admit(now) {
            Admission::Down(error) => responder.fail(error),
            Admission::Open | Admission::Full => {
                upstream.forward(frame, Span::default(), responder, now);
            }
        }
    }

    /// Ends with this reply, early or not.
    fn finish(&self, reply: &[u8]) {
        self.gather.part(self.index, reply);
        self.gather.finish();
    }
}

impl<P: Protocol> ReplyHandler<P> for UnblockRetry<P> {
    /// A number or an error: neither comes in parts.
    fn part(&self, _part: &[u8]) {}

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        let tries = self.tries.get();
        // No other server is asked on behalf of a client that is gone.
        if tries < MAX_RETRIES
            && !self.gather.replies().is_detached()
            && P::Stateful::unblock_raced(&self.settings, &self.original, &self.part, reply.bytes())
            && let Some(upstream) = self.upstream.upgrade()
        {
            self.tries.set(tries + 1);
            // Another task: the server is left in peace meanwhile.
            spawn_local(self.retry_later(upstream));
            return;
        }
        self.finish(reply.bytes());
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        self.gather.fail(self.index, error);
    }

    fn fail_with(self: Rc<Self>, _error: UpstreamError, text: &[u8], _begun: bool) {
        self.finish(text);
    }

    fn is_for(&self, replies: &Rc<ReplyQueue>) -> bool {
        Rc::ptr_eq(self.gather.replies(), replies)
    }
}
