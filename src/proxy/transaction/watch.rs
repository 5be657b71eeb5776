//! Watched keys: the dedicated connection of WATCH, on which a transaction depends.
//!
//! ```text
//! WATCH --fence, acquire--> WatchState: all requests to its server use the lease --EXEC, UNWATCH ...--> release, fence
//! ```

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Transactions as _;
use crate::protocol::{ConnProfile, Protocol, ProxyReply, ServerCommand, Span};
use crate::proxy::pool::dedicated::Lease;
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::queue::TxPlacement;

/// The watched keys of a client.
#[derive(Debug)]
pub(crate) struct WatchState<P: Protocol> {
    lease: Lease<P>,
    pub(crate) home: TxPlacement,
    profile: ConnProfile,
}

impl<P: Protocol> WatchState<P> {
    /// Watches keys at `home`, over `lease`.
    pub(crate) fn new(lease: Lease<P>, home: TxPlacement, profile: ConnProfile) -> Self {
        Self {
            lease,
            home,
            profile,
        }
    }

    /// Returns true if the connection, and with it the watch of its server, is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// The profile in which keys are watched.
    pub(crate) fn profile(&self) -> ConnProfile {
        self.profile
    }

    /// The reason why the watch cannot decide a transaction in `profile`, if there is one.
    pub(crate) fn abort_reason(&self, profile: ConnProfile) -> Option<ProxyReply> {
        if self.lease.is_lost() {
            Some(ProxyReply::WatchLost)
        } else if self.profile != profile {
            Some(ProxyReply::WatchedElsewhere)
        } else {
            None
        }
    }

    /// Releases the lease: EXEC is sent, and unwatches the keys whatever its result.
    pub(crate) fn release(self) {
        self.lease.release();
    }

    /// Unwatches the keys.
    pub(crate) fn end(self, expect: P::Expect) {
        if let Some(upstream) = self.lease.upstream()
            && !self.lease.is_lost()
        {
            let mut unwatch = BytesMut::new();
            P::Stateful::write_server_command(ServerCommand::Unwatch, &mut unwatch);
            let frame = Frame::Borrowed(&unwatch);
            let responder = Responder::discard(expect);
            upstream.forward(frame, Span::default(), responder, Instant::now());
        }
        self.lease.release();
    }
}
