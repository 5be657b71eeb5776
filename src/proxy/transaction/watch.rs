//! Watched keys: the dedicated connection that WATCH went over, and what a transaction depends on.
//!
//! ```text
//! WATCH --fence, acquire--> WatchState: all requests to its server use the lease --EXEC, UNWATCH ...--> release, fence
//! ```

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Transactions as _;
use crate::protocol::{ConnProfile, Phrase, Protocol, Span};
use crate::proxy::pool::dedicated::Lease;
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::queue::TxPlacement;

/// A client watches keys.
#[derive(Debug)]
pub(crate) struct WatchState<P: Protocol> {
    lease: Lease<P>,
    pub(crate) home: TxPlacement,
    profile: ConnProfile,
}

impl<P: Protocol> WatchState<P> {
    /// Where keys are watched, over `lease`.
    pub(crate) fn new(lease: Lease<P>, home: TxPlacement, profile: ConnProfile) -> Self {
        Self {
            lease,
            home,
            profile,
        }
    }

    /// Returns true if the connection, and with it what its server had noted, is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// The profile in which keys are watched.
    pub(crate) fn profile(&self) -> ConnProfile {
        self.profile
    }

    /// Why what is watched cannot decide a transaction in `lane`.
    pub(crate) fn abort_reason(&self, profile: ConnProfile) -> Option<Phrase> {
        if self.lease.is_lost() {
            Some(Phrase::WatchLost)
        } else if self.profile != profile {
            Some(Phrase::WatchedElsewhere)
        } else {
            None
        }
    }

    /// The transaction is on its way, and whatever comes of it, nothing is watched then.
    pub(crate) fn release(self) {
        self.lease.release();
    }

    /// Forgets what is watched.
    pub(crate) fn end(self, expect: P::Expect) {
        if let Some(upstream) = self.lease.upstream()
            && !self.lease.is_lost()
        {
            let mut unwatch = BytesMut::new();
            P::Stateful::write_server_command(Phrase::Unwatch, &mut unwatch);
            let frame = Frame::Borrowed(&unwatch);
            let responder = Responder::discard(expect);
            upstream.forward(frame, Span::default(), responder, Instant::now());
        }
        self.lease.release();
    }
}
