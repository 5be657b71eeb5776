//! Blocking commands.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::protocol::{ProtocolTypes, Span};
use crate::topology::ServerId;

/// The ID that a server gives to a dedicated connection (CLIENT ID), once it has sent it. Shared by all workers.
pub type ServerClientId = Arc<OnceLock<Bytes>>;

/// The reply to a client that is unblocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnblockReason {
    /// The reply as at the timeout.
    Timeout,
    /// An error.
    Error,
}

/// The place where a client is blocked.
#[derive(Debug, Clone)]
pub enum BlockedOn {
    /// On these servers, on the connections with these IDs; it is not blocked if there are none.
    Servers(Vec<(ServerId, ServerClientId)>),
    /// In the proxy: its server has no primary.
    Proxy(Arc<ProxyWait>),
}

impl Default for BlockedOn {
    /// Nowhere.
    fn default() -> Self {
        Self::Servers(Vec::new())
    }
}

/// A wait in the proxy, which a client of any worker may end.
#[derive(Debug)]
pub struct ProxyWait {
    waker: Waker,
    order: Mutex<Option<UnblockReason>>,
}

impl ProxyWait {
    /// The wait of the task with this waker.
    #[must_use]
    pub const fn new(waker: Waker) -> Self {
        let order = Mutex::new(None);
        Self { waker, order }
    }

    /// Orders its end.
    pub fn unblock(&self, reason: UnblockReason) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        *order = Some(reason);
        drop(order);
        self.waker.wake_by_ref();
    }

    /// The order to end it, if there was one.
    #[must_use]
    pub fn order(&self) -> Option<UnblockReason> {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a request that may block, tried without blocking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryResult<'r> {
    /// The reply.
    Ready(&'r [u8]),
    /// Nothing was done: the request would have blocked.
    WouldBlock,
    /// Nothing was done: the server did not queue it, and gives the reason when it is sent outside the transaction.
    Rejected,
    /// Nothing was done, and the server still treats further commands as part of the transaction.
    Desynced,
}

/// Blocking commands.
pub trait Blocking<P: ProtocolTypes> {
    /// Records where a client is blocked.
    fn set_blocked_on(client: &P::Client, blocked_on: BlockedOn);

    /// Evaluates the reply to a request that was tried in its own transaction, where it does not block.
    #[must_use]
    fn try_result(reply: &[u8]) -> TryResult<'_>;

    /// Returns true if trying a request that may block changes its meaning.
    #[must_use]
    fn reads_latest(request: &[u8]) -> bool;

    /// Writes a request that blocks for a limited time as it is after a part of that time; the rest stays above zero.
    /// Returns the whole time; `None` if it is not limited.
    fn write_shortened(request: &[u8], waited: Duration, out: &mut BytesMut) -> Option<Duration>;

    /// Writes the request that unblocks another connection, by its ID on the server. Returns false if there is none:
    /// that connection is then closed.
    fn write_unblock(id: &[u8], reason: UnblockReason, out: &mut BytesMut) -> bool;

    /// Returns true if a reply to a part of a request to [`Targets::PerServer`](crate::protocol::Targets::PerServer)
    /// shows that the request arrived before the one that it is to unblock: then it is retried.
    fn unblock_raced(settings: &P::Settings, original: &[u8], part: &[u8], reply: &[u8]) -> bool;

    /// Writes the request that restores the value that a blocking request popped from a key. Returns the place of that key in
    /// it; `None` if it popped none.
    fn restore_popped(request: &[u8], reply: &[u8], out: &mut BytesMut) -> Option<Span>;
}
