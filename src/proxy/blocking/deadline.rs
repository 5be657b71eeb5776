//! How long a server has to end what blocks on a connection, and how it is asked to.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, Sleep};

use crate::buf::Frame;
use crate::protocol::Blocking as _;
use crate::protocol::{Protocol, ServerClientId, Span, UnblockReason};
use crate::proxy::forward::Forwarder;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::topology::ServerId;

/// How long a server has to end what blocks, or to take back what it gave, before its connection is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// When it is told again: it may not have known of what blocks when it was told first.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Rings again and again.
pub(crate) type Alarm = Pin<Box<Sleep>>;

/// Has a server end what waits on a connection.
pub(crate) fn unblock<P: Protocol>(
    fw: &Forwarder<P>,
    server: ServerId,
    upstream: &UpstreamConn<P>,
    how: UnblockReason,
) {
    let mut unblock = BytesMut::new();
    let dedicated = upstream.dedicated.as_deref();
    let identity = dedicated.and_then(|dedicated| dedicated.server_client_id.get());
    let can_unblock = identity.is_some_and(|id| P::Stateful::write_unblock(id, how, &mut unblock));
    let now = Instant::now();
    let shared = fw.backends.upstream(server, fw.profile, fw.session);
    match shared.filter(|shared| shared.admit(now) == Admission::Open) {
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

/// As others may know where a client waits.
pub(crate) fn place<P: Protocol>(
    server: ServerId,
    upstream: &UpstreamConn<P>,
) -> Option<(u16, ServerClientId)> {
    let dedicated = upstream.dedicated.as_deref()?;
    let index = u16::try_from(server.index()).ok()?;
    Some((index, Arc::clone(&dedicated.server_client_id)))
}

/// From now on a server has some time to end what waits on a connection, and no more.
pub(crate) fn set_deadline<P: Protocol>(upstream: &UpstreamConn<P>) {
    if let Some(dedicated) = upstream.dedicated.as_deref() {
        dedicated.deadline.set(Some(Instant::now() + PATIENCE));
        upstream.wake_driver();
    }
}
