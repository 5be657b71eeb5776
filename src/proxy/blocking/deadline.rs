//! Unblocks the request of a dedicated connection, within a deadline, and what a client is told of such connections.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep};

use crate::buf::Frame;
use crate::protocol::{Blocking as _, Transactions as _};
use crate::protocol::{Protocol, ProxyReply, ServerClientId, Span, UnblockReason};
use crate::proxy::forward::Forwarder;
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::topology::ServerId;

/// Time for a server to end a blocking request, or to restore popped elements, before its connection is closed.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval of unblocks: the first one may have arrived before the blocking request.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(20);

/// A timer that fires repeatedly.
pub(crate) type Alarm = Pin<Box<Sleep>>;

/// Has a server end the blocking request of a leased connection. If the server has left the pool, it is told over a
/// connection of its own.
pub(crate) fn unblock<P: Protocol>(fw: &Forwarder<P>, lease: &Lease<P>, reason: UnblockReason) {
    let Some(upstream) = lease.upstream() else {
        return;
    };
    let mut unblock = BytesMut::new();
    let dedicated = upstream.dedicated.as_deref();
    let client_id = dedicated.and_then(|dedicated| dedicated.server_client_id.get());
    let can_unblock =
        client_id.is_some_and(|id| P::Stateful::write_unblock(id, reason, &mut unblock));
    let now = Instant::now();
    let index = fw.view.index_of(upstream.server.id());
    let shared = match index {
        Some(index) => fw.view.upstream(index, fw.profile, fw.session).cloned(),
        None => lease.bypass(fw.profile, &fw.pool.context),
    };
    match shared.filter(|shared| shared.admits_without_key(now)) {
        Some(shared) if can_unblock => {
            let responder = Responder::discard(P::HANDSHAKE);
            shared.forward(Frame::Borrowed(&unblock), Span::default(), responder, now);
        }
        _ => {
            if let Some(dedicated) = dedicated {
                dedicated.is_shut.set(true);
                upstream.wake_driver();
            }
        }
    }
}

/// The place where a client is blocked, as other clients see it.
pub(crate) fn place<P: Protocol>(upstream: &UpstreamConn<P>) -> Option<(ServerId, ServerClientId)> {
    let dedicated = upstream.dedicated.as_deref()?;
    let id = Arc::clone(&dedicated.server_client_id);
    Some((upstream.server.id(), id))
}

/// Sets the deadline of a server to end the blocking request of a connection.
pub(crate) fn set_deadline<P: Protocol>(upstream: &UpstreamConn<P>) {
    if let Some(dedicated) = upstream.dedicated.as_deref() {
        dedicated.deadline.set(Some(Instant::now() + END_TIMEOUT));
        upstream.wake_driver();
    }
}

/// The text of a reply of the proxy.
pub(super) fn text_of<P: Protocol>(reply: ProxyReply) -> Bytes {
    let mut text = BytesMut::new();
    P::Stateful::write_proxy_reply(reply, &mut text);
    text.freeze()
}

/// The reply to a client for which there is no dedicated connection.
pub(super) fn obstacle_of(denied: LeaseError) -> ProxyReply {
    match denied {
        LeaseError::Exhausted(most) => ProxyReply::Exhausted(most),
        LeaseError::NoRoom(most) => ProxyReply::NoRoom(most),
        LeaseError::Down(_) => ProxyReply::KeysMoved,
    }
}

/// Has a dedicated connection fail when it cannot be opened at once: its client waits for a primary without it.
pub(super) fn opens_once<P: Protocol>(upstream: &UpstreamConn<P>) {
    if let Some(dedicated) = upstream.dedicated.as_deref() {
        dedicated.opens_once.set(true);
    }
}
