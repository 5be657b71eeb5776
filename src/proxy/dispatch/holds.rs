//! Requests in a pool whose keys may be moved: those for marks are refused, and those for keys that are being moved wait for
//! the decision. In a pool that reads from replicas: whether one may answer.
//!
//! Other pools do not come here, and nearly all requests leave after a look at their key, so the rest may cost a second one.

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Connections as _;
use crate::protocol::{InMove, Plan, PlanOf, Protocol, Route, Span, TxOp, UpstreamError};
use crate::proxy::dispatch::pinned::Pinned;
use crate::proxy::forward::{Dispatched, Forwarder, replica_read};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{CommandId, RefusalReason};
use crate::topology::is_mark;

/// Decides whether a request must wait, or be refused; `None` if it may be executed.
#[inline]
pub(crate) fn look<P: Protocol>(
    fw: &mut Forwarder<P>,
    pinned: Option<&mut Pinned<P>>,
    (plan, command): (&PlanOf<P>, CommandId),
    (frame, stripped): (&Frame<'_>, Span),
    buffers: &mut PlanBuffers,
    now: Instant,
) -> Option<Dispatched<P>> {
    if fw.view.reads_replicas {
        return match pinned {
            None => replica_read::look(fw, (plan, command), (frame, stripped), buffers, now),
            // Its requests depend on each other.
            Some(_) => replica_read::note_write(fw),
        };
    }
    let frame = frame.bytes();
    if let Plan::Forward(Route::Key(key), _) = plan
        && !fw.view.is_moving
        && !is_mark(key.of(frame))
    {
        return None;
    }
    let mut refusal = BytesMut::new();
    if let Some(reason) = refusal_of(fw, (plan, command), frame, buffers, &mut refusal) {
        if let Some(pinned) = pinned {
            // As an error while requests are queued.
            pinned.tx.abort();
        }
        return Some(fw.refuse(&refusal, reason));
    }
    if !fw.view.is_moving {
        return None;
    }
    hold(fw, pinned, plan, frame, buffers, now)
}

/// The reason for which a request is refused, if it is; the error is written.
#[cold]
fn refusal_of<P: Protocol>(
    fw: &Forwarder<P>,
    (plan, command): (&PlanOf<P>, CommandId),
    frame: &[u8],
    buffers: &PlanBuffers,
    refusal: &mut BytesMut,
) -> Option<RefusalReason> {
    if let Plan::AllServers(..) | Plan::Rewrite(..) = plan
        && fw.view.is_moving
        && (P::Stateful::write_move_refusal(InMove::Command(command), refusal)
            || fw.view.topology.router.is_replacement()
                && P::Stateful::write_move_refusal(InMove::WhileReplacing(command), refusal))
    {
        return Some(RefusalReason::Moving);
    }
    let names_mark = match plan {
        // The channels of a move have names like its marks.
        Plan::Publish(_, channel, ..) => is_mark(channel.of(frame)),
        _ => keys::<P>(plan, frame, buffers).any(is_mark),
    };
    let is_refused = names_mark && P::Stateful::write_move_refusal(InMove::MarkKey, refusal);
    is_refused.then_some(RefusalReason::UnsupportedUse)
}

/// Decides whether a request must wait, since its keys are being moved.
#[cold]
fn hold<P: Protocol>(
    fw: &mut Forwarder<P>,
    pinned: Option<&mut Pinned<P>>,
    plan: &PlanOf<P>,
    frame: &[u8],
    buffers: &PlanBuffers,
    now: Instant,
) -> Option<Dispatched<P>> {
    let tx = pinned.map(|pinned| &mut pinned.tx);
    let is_queued = tx.as_ref().is_some_and(|tx| tx.is_in_multi());
    let is_exec = matches!(plan, Plan::Transaction(TxOp::Exec(_)));
    let keys = || keys::<P>(plan, frame, buffers).filter(|_| !is_queued);
    let is_held = keys().any(|key| fw.view.is_held(key))
        || is_exec && tx.as_ref().is_some_and(|tx| tx.is_held(&fw.view));
    if !is_held {
        return None;
    }
    let is_overdue = fw.view.servers().any(|(index, handle)| {
        let guard = handle.server.guard.as_ref();
        let is_source = is_exec || keys().any(|key| fw.view.route(key) == Some(index));
        is_source && guard.is_some_and(|guard| guard.is_overdue(now))
    });
    if !is_overdue {
        return Some(Dispatched::Held);
    }
    if let Some(tx) = tx.filter(|_| is_exec) {
        tx.forget_transaction(fw);
        tx.unwatch(fw);
    }
    Some(fw.fail(UpstreamError::Moving, P::HANDSHAKE))
}

/// The keys of a request.
fn keys<'f, P: Protocol>(
    plan: &PlanOf<P>,
    frame: &'f [u8],
    buffers: &'f PlanBuffers,
) -> impl Iterator<Item = &'f [u8]> {
    let (one, are_listed) = match plan {
        Plan::Forward(Route::Key(key), _) => (Some(key.of(frame)), false),
        Plan::Forward(Route::Decoded, _) => (Some(&buffers.reply[..]), false),
        Plan::ForwardInstead { key, .. } => (Some(key.of(&buffers.reply)), false),
        Plan::ForwardSameServer(_)
        | Plan::ForwardScript(..)
        | Plan::MultiShard(..)
        | Plan::Blocking(_)
        | Plan::Transaction(TxOp::Watch(_)) => (None, true),
        _ => (None, false),
    };
    let listed = buffers.keys.iter().filter(move |_| are_listed);
    one.into_iter().chain(listed.map(|key| key.key.of(frame)))
}
