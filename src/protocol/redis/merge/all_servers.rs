//! Joins the replies to a request that every server of the pool got, or the one that a cursor names.
//!
//! A whole is told only where every server has told its part. Where one failed or refused, the client reads which one it
//! was and why, and whether others have done what was asked: never an answer that is silently partial. What all servers
//! refuse in the same words reads as one Redis would have it.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
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

/// Joins the replies, which are in the order of the servers.
pub(crate) fn merge(
    context: &MergeContext,
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let asked = FanOutReport::new(context);
    // Its end was asked for, and some servers had answered just before.
    let unblocked = replies
        .iter()
        .flatten()
        .find(|reply| reply.starts_with(b"-UNBLOCKED"));
    if let Some(reply) = unblocked {
        out.share(reply.clone());
        return Ok(());
    }
    match context.split.kind {
        MergeKind::Cursor(server) => scan::join(&asked, server, replies, out),
        MergeKind::All(ResponsePolicy::OneSucceeded) => one_succeeded::join(&asked, replies, out),
        MergeKind::All(join) => {
            let Some(replies) = asked.wholes(replies, join.is_write(), out)? else {
                return Ok(());
            };
            if let Some((body, shared)) = &context.script {
                shared.scripts.on_load(body);
            }
            match &replies[..] {
                [reply] => out.share(reply.clone()),
                _ => join_all(join, &asked, &replies, out)?,
            }
            Ok(())
        }
        _ => match asked.wholes(replies, false, out)? {
            Some(replies) => pubsub::merge(context, &replies, out),
            None => Ok(()),
        },
    }
}

fn join_all(
    join: ResponsePolicy,
    asked: &FanOutReport<'_>,
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let joined = match join {
        ResponsePolicy::AggSum => numbers::sum(replies, out),
        ResponsePolicy::AggMin => numbers::least(replies, out),
        ResponsePolicy::LogicalAnd => numbers::least_each(replies, out),
        ResponsePolicy::Concat => keys::chain(replies, out),
        ResponsePolicy::AnyNonNil => keys::any(replies, out),
        ResponsePolicy::AllSucceeded
        | ResponsePolicy::AllEqual
        | ResponsePolicy::Script
        | ResponsePolicy::OneSucceeded => all_equal::same(asked, replies, out),
        ResponsePolicy::Libraries => functions::libraries(asked, replies, out),
        ResponsePolicy::Dump => functions::dump(asked, replies, out),
        ResponsePolicy::BusyOrAny => functions::activity(asked, replies, out),
    };
    joined.ok_or(UpstreamError::Fragment)
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
