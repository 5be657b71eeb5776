//! Abandoned connections to a server, which it is told to close before it gets anything else.
//!
//! A connection whose requests have timed out is abandoned: the server may execute them much later, after requests that
//! newer connections have sent, and overwrite what those have written. So every connection of every worker first sends
//! the command that closes the abandoned ones: a new one in its handshake, and an open one before its next request.
//!
//! ```text
//! timeout --> AbandonedConns of the server --> each connection: CLIENT KILL ADDR, then requests
//! ```
//!
//! Where there is no such command, as in memcached, or no address, as over a unix socket, it is half-closed instead, and
//! each connection waits for its end.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Context;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::net::Stream;
use crate::protocol::Connections as _;
use crate::protocol::{ErrorCode, Protocol, ReplyClass, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::half_close::half_close;
use crate::proxy::upstream::server::Server;

/// Abandons a connection with requests that its server may have received.
pub(crate) fn abandon<P: Protocol>(server: &Rc<Server<P>>, stream: Stream) {
    if P::Stateful::CLOSES_OTHERS && !matches!(stream, Stream::Unix(_)) {
        server.shared.abandoned.add(stream);
    } else {
        half_close(server, stream);
    }
}

/// Returns true if the proxy gives up a connection because of this error, rather than the server.
pub(crate) fn is_given_up(error: UpstreamError) -> bool {
    matches!(error, UpstreamError::TimedOut | UpstreamError::BadReply)
}

/// Returns true if the server may close the connection later, after this reply: it executes nothing now.
pub(crate) fn is_busy(reply: ReplyClass) -> bool {
    matches!(
        reply,
        ReplyClass::Error(ErrorCode::Busy | ErrorCode::Loading)
    )
}

/// The commands that one open connection has sent.
#[derive(Debug, Default)]
pub(crate) struct SentCloses {
    /// The last abandoned connection that was seen.
    seen: Rc<Cell<u64>>,
}

impl SentCloses {
    /// Sends the commands for connections that were abandoned since the last call, before the first request that is not
    /// sent; without one, later. Returns false if nothing may be sent yet.
    #[inline]
    pub(crate) fn send<P: Protocol>(
        &self,
        upstream: &UpstreamConn<P>,
        cx: &Context<'_>,
        now: Instant,
    ) -> bool {
        let last = upstream.server.shared.abandoned.last();
        last == self.seen.get() || self.send_new(upstream, last, cx, now)
    }

    #[cold]
    fn send_new<P: Protocol>(
        &self,
        upstream: &UpstreamConn<P>,
        last: u64,
        cx: &Context<'_>,
        now: Instant,
    ) -> bool {
        if upstream.queued_bytes() == 0 {
            return true;
        }
        if upstream.server.shared.abandoned.is_held(cx.waker()) {
            return false;
        }
        let seen = self.seen.replace(last);
        for (number, address) in upstream.server.shared.abandoned.after(seen) {
            let mut request = BytesMut::new();
            P::Stateful::write_close_other(&address.to_string(), &mut request);
            let closing = Rc::new(Closing {
                server: Rc::clone(&upstream.server),
                number,
                seen: Rc::clone(&self.seen),
            });
            let responder = Responder::handler(closing, P::HANDSHAKE);
            upstream.forward_first(request.freeze(), responder, now);
        }
        true
    }
}

/// Waits for the reply to one of the commands.
struct Closing<P: Protocol> {
    server: Rc<Server<P>>,
    number: u64,
    seen: Rc<Cell<u64>>,
}

impl<P: Protocol> ReplyHandler<P> for Closing<P> {
    fn part(&self, _part: &[u8]) {}

    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool) {
        if !begun && is_busy(P::classify(reply.bytes())) {
            // All that are left are tried again with the next request.
            self.seen.set(0);
        } else {
            self.server.shared.abandoned.close(self.number);
        }
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _begun: bool) {
        if !is_given_up(error) {
            // The server was restarted, or closes a connection that sends the command.
            self.server.shared.abandoned.close(self.number);
        }
    }
}
