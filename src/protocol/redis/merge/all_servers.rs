//! Merges the replies to a request that all servers of the pool got, or the one that a cursor names.
//!
//! A complete reply needs the replies of all servers. If one fails or rejects the request, the error names it, with the
//! reason and whether others have executed the request: never a reply that is silently partial. An error that all
//! servers return alike is returned unchanged, as by one Redis.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::redis::command::{MergeKind, ResponsePolicy};
use crate::protocol::redis::merge::all_equal;
use crate::protocol::redis::merge::context::MergeContext;
use crate::protocol::redis::merge::functions;
use crate::protocol::redis::merge::keys;
use crate::protocol::redis::merge::numbers;
use crate::protocol::redis::merge::one_succeeded;
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::merge::pubsub;
use crate::protocol::redis::merge::scan;
use crate::protocol::redis::resp::inspect;
use crate::protocol::{ErrorCode, ReplyClass, UpstreamError};

/// Merges the replies, which are in the order of the servers.
pub(crate) fn merge(
    context: &MergeContext,
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let report = FanOutReport::new(context);
    // The client was unblocked, and some servers had replied just before.
    let unblocked = replies
        .iter()
        .flatten()
        .find(|reply| inspect::classify(reply) == ReplyClass::Error(ErrorCode::Unblocked));
    if let Some(reply) = unblocked {
        out.share(reply.clone());
        return Ok(());
    }
    match context.split.kind {
        MergeKind::Cursor(server) => scan::join(&report, server, replies, out),
        MergeKind::All(ResponsePolicy::OneSucceeded) => one_succeeded::join(&report, replies, out),
        MergeKind::All(policy) => {
            let Some(replies) = report.complete_replies(replies, policy.is_write(), out)? else {
                return Ok(());
            };
            if let Some((body, shared)) = &context.script {
                shared.scripts.on_load(body);
            }
            match &replies[..] {
                [reply] => out.share(reply.clone()),
                _ => join_all(policy, &report, &replies, out)?,
            }
            Ok(())
        }
        _ => match report.complete_replies(replies, false, out)? {
            Some(replies) => pubsub::merge(context, &replies, out),
            None => Ok(()),
        },
    }
}

fn join_all(
    policy: ResponsePolicy,
    report: &FanOutReport<'_>,
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let merged = match policy {
        ResponsePolicy::AggSum => numbers::sum(replies, out),
        ResponsePolicy::AggMin => numbers::agg_min(replies, out),
        ResponsePolicy::LogicalAnd => numbers::agg_min_each(replies, out),
        ResponsePolicy::Concat => keys::concat(replies, out),
        ResponsePolicy::AnyNonNil => keys::any(replies, out),
        ResponsePolicy::AllSucceeded
        | ResponsePolicy::AllEqual
        | ResponsePolicy::Script
        | ResponsePolicy::OneSucceeded => all_equal::same(report, replies, out),
        ResponsePolicy::Libraries => functions::libraries(report, replies, out),
        ResponsePolicy::Dump => functions::dump(report, replies, out),
        ResponsePolicy::BusyOrAny => functions::activity(report, replies, out),
    };
    merged.ok_or(UpstreamError::Fragment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::merge::context::MergeSpec;

    #[test]
    fn unblocked_wait_reply_wins_over_a_count() {
        let kind = MergeKind::All(ResponsePolicy::AggMin);
        let context = MergeContext::from(MergeSpec { name: "WAIT", kind });
        let replies = [
            &b":1\r\n"[..],
            b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
        ];
        let mut out = WriteBuf::new();
        let replies = replies.map(|reply| Ok(Bytes::from_static(reply))).to_vec();
        assert_eq!(merge(&context, replies, &mut out), Ok(()));
        assert!(out.tail().starts_with(b"-UNBLOCKED client"));
    }
}
