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

use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::buf::Frame;
use crate::protocol::{Protocol, Span, UpstreamError};
use crate::proxy::replies::gather::Gather;
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
    pub(crate) tries: u8,
}

impl<P: Protocol> UnblockRetry<P> {
    /// The whole reply.
    pub(crate) fn complete(mut self, reply: &[u8]) {
        // Nobody else is to be asked for one that has left.
        let may_ask = self.tries < MAX_RETRIES && self.gather.replies().gathered(0, 0);
        if may_ask
            && P::unblock_raced(&self.settings, &self.original, &self.part, reply)
            && let Some(upstream) = self.upstream.upgrade()
        {
            self.tries += 1;
            // Another task: the server is to be left in peace meanwhile.
            spawn_local(self.retry_later(upstream));
            return;
        }
        self.finish(reply);
    }

    async fn retry_later(self, upstream: Rc<UpstreamConn<P>>) {
        let frame = Frame::Shared(self.part.clone());
        // A task that is dropped drops the ticket, and that answers.
        let responder = Responder::unblock_retry(self);
        sleep(PAUSE).await;
        let now = Instant::now();
        match upstream.admit(now) {
            Admission::Down(error) => responder.fail(error),
            Admission::Open | Admission::Full => {
                upstream.forward(frame, Span::default(), responder, now);
            }
        }
    }

    /// With this reply, early or not.
    pub(crate) fn finish(self, reply: &[u8]) {
        self.gather.part(self.index, reply);
        self.gather.finish();
    }

    pub(crate) fn fail(self, error: UpstreamError) {
        self.gather.fail(self.index, error);
    }
}
