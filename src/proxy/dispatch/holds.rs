//! Requests for keys that are being moved to another server: they wait for the decision.
//!
//! Only pools with a move under way come here, so it may cost a second look at the keys.

use bytes::BytesMut;
use tokio::time::Instant;

use crate::protocol::Connections as _;
use crate::protocol::{InMove, Plan, PlanOf, Protocol, Route, TxOp, UpstreamError};
use crate::proxy::dispatch::pinned::Pinned;
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::PoolMetric;
use crate::topology::is_mark;

/// Decides whether a request must wait, or be refused, since keys are being moved; `None` if it may be executed.
#[cold]
pub(crate) fn hold<P: Protocol>(
    fw: &Forwarder<P>,
    pinned: Option<&Pinned<P>>,
    (plan, tag): (&PlanOf<P>, P::CommandTag),
    frame: &[u8],
    buffers: &mut PlanBuffers,
    now: Instant,
) -> Option<Dispatched<P>> {
    if let Plan::AllServers(..) | Plan::Rewrite(..) = plan
        && P::Stateful::write_move_refusal(InMove::Command(tag), &mut buffers.reply)
    {
        return Some(fw.answer(&buffers.reply, PoolMetric::RequestsRefused));
    }
    let is_queued = pinned.is_some_and(|pinned| pinned.tx.is_in_multi());
    let keys = if is_queued {
        Vec::new()
    } else {
        keys::<P>(plan, frame, buffers)
    };
    if keys.iter().any(|key| is_mark(key)) {
        let mut reply = BytesMut::new();
        P::Stateful::write_move_refusal(InMove::MarkKey, &mut reply);
        return Some(fw.answer(&reply, PoolMetric::RequestsRefused));
    }
    let is_exec = matches!(plan, Plan::Transaction(TxOp::Exec(_)));
    let is_held = keys.iter().any(|key| fw.view.is_held(key))
        || is_exec && pinned.is_some_and(|pinned| pinned.tx.is_held(&fw.view));
    if !is_held {
        return None;
    }
    let is_overdue = fw.view.servers().any(|(index, handle)| {
        let guard = handle.server.guard.as_ref();
        let is_source = is_exec || keys.iter().any(|key| fw.view.route(key) == Some(index));
        is_source && guard.is_some_and(|guard| guard.is_overdue(now))
    });
    Some(if is_overdue {
        fw.fail(UpstreamError::Moving, P::HANDSHAKE)
    } else {
        Dispatched::Held
    })
}

/// The keys of a request that is sent to their servers at once.
fn keys<'f, P: Protocol>(
    plan: &PlanOf<P>,
    frame: &'f [u8],
    buffers: &'f PlanBuffers,
) -> Vec<&'f [u8]> {
    match plan {
        Plan::Forward(Route::Key(key), _) => vec![key.of(frame)],
        Plan::Forward(Route::Decoded, _) => vec![&buffers.reply],
        Plan::ForwardInstead { key, .. } => vec![key.of(&buffers.reply)],
        Plan::ForwardSameServer(_)
        | Plan::ForwardScript(..)
        | Plan::MultiShard(..)
        | Plan::Blocking(_)
        | Plan::Transaction(TxOp::Watch(_)) => {
            buffers.keys.iter().map(|key| key.key.of(frame)).collect()
        }
        _ => Vec::new(),
    }
}
