//! Retries a CLIENT UNBLOCK that may reach its server before the blocking request.
//!
//! ```text
//! client A: BLPOP ----------dedicated connection----------> server
//! client B: CLIENT UNBLOCK A --shared connection--> server --0--> A is still blocked: retry
//! ```
//!
//! Requests of two connections may arrive in any order, though the proxy sent one before the other. The attempts end as
//! soon as the server, or the worker of the other client, has read its input. That may also be another server that
//! hangs, without limit: so there is a delay between attempts, and a last one, whose reply is returned.

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

/// The time for a server to read its input between two attempts.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Maximum number of retries: for a second.
const MAX_RETRIES: u8 = 50;

/// An unblock request that waits for its reply.
#[derive(Debug)]
pub(crate) struct UnblockRetry<P: Protocol> {
    pub(crate) gather: Rc<Gather<P>>,
    pub(crate) index: u16,
    /// Its connection, whose queue holds this.
    pub(crate) upstream: Weak<UpstreamConn<P>>,
    pub(crate) settings: Rc<P::Settings>,
    /// The request of the client.
    pub(crate) original: Bytes,
    /// The part of it that is sent to the server.
    pub(crate) part: Bytes,
    /// Number of retries so far.
    pub(crate) tries: Cell<u8>,
}

impl<P: Protocol> UnblockRetry<P> {
    /// The responder of the reply.
    pub(crate) fn responder(self: Rc<Self>) -> Responder<P> {
        let expect = self.gather.expect();
        Responder::handler(self, expect)
    }

    async fn retry_later(self: Rc<Self>, upstream: Rc<UpstreamConn<P>>) {
        let frame = Frame::Shared(self.part.clone());
        // A task that is dropped drops the responder, which then answers.
        let responder = self.responder();
        sleep(RETRY_AFTER).await;
        let now = Instant::now();
        match upstream.admit(now) {
            Admission::Down(error) => responder.fail(error),
            Admission::Open | Admission::Full => {
                upstream.forward(frame, Span::default(), responder, now);
            }
        }
    }

    /// Ends with this reply.
    fn finish(&self, reply: &[u8]) {
        self.gather.part(self.index, reply);
        self.gather.finish();
    }
}

impl<P: Protocol> ReplyHandler<P> for UnblockRetry<P> {
    /// Does nothing: an integer or an error does not arrive in parts.
    fn part(&self, _part: &[u8]) {}

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        let tries = self.tries.get();
        // Nothing is retried for a client that is gone.
        if tries < MAX_RETRIES
            && !self.gather.replies().is_detached()
            && P::Stateful::unblock_raced(&self.settings, &self.original, &self.part, reply.bytes())
            && let Some(upstream) = self.upstream.upgrade()
        {
            self.tries.set(tries + 1);
            // In a separate task, since the retry is delayed.
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

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(self.gather.replies())
    }
}
