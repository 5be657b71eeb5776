//! Joins the replies to a request that every server of the pool got, or the one that a cursor names.
//!
//! A whole is told only where every server has told its part. Where one failed or refused, the client reads which one it
//! was and why, and whether others have done what was asked: never an answer that is silently partial. What all servers
//! refuse in the same words reads as one Redis would have it.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::Fault;
use crate::protocol::redis::command::{Join, SplitKind};
use crate::protocol::redis::merge::all_equal;
use crate::protocol::redis::merge::functions;
use crate::protocol::redis::merge::keys;
use crate::protocol::redis::merge::numbers;
use crate::protocol::redis::merge::one_succeeded;
use crate::protocol::redis::merge::partial::Asked;
use crate::protocol::redis::merge::scan;
use crate::protocol::redis::merge::{Joint, join_whole};

/// Joins the replies, which are in the order of the servers.
pub(crate) fn gather(
    joint: &Joint,
    replies: Vec<Result<Bytes, Fault>>,
    out: &mut WriteBuf,
) -> Result<(), Fault> {
    let asked = Asked::new(joint);
    // Its end was asked for, and some servers had answered just before.
    let unblocked = replies
        .iter()
        .flatten()
        .find(|reply| reply.starts_with(b"-UNBLOCKED"));
    if let Some(reply) = unblocked {
        out.share(reply.clone());
        return Ok(());
    }
    match joint.split.kind {
        SplitKind::Cursor(server) => scan::join(&asked, server, replies, out),
        SplitKind::All(Join::Kill) => one_succeeded::join(&asked, replies, out),
        SplitKind::All(join) => {
            let Some(replies) = asked.wholes(replies, join.is_deed(), out)? else {
                return Ok(());
            };
            if let Some((body, hall)) = &joint.script {
                hall.scripts.on_load(body);
            }
            match &replies[..] {
                [reply] => out.share(reply.clone()),
                _ => join_all(join, &asked, &replies, out)?,
            }
            Ok(())
        }
        _ => match asked.wholes(replies, false, out)? {
            Some(replies) => join_whole(joint, &[], &replies, out),
            None => Ok(()),
        },
    }
}

fn join_all(
    join: Join,
    asked: &Asked<'_>,
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), Fault> {
    let joined = match join {
        Join::Sum => numbers::sum(replies, out),
        Join::Least => numbers::least(replies, out),
        Join::LeastEach => numbers::least_each(replies, out),
        Join::Chain => keys::chain(replies, out),
        Join::Any => keys::any(replies, out),
        Join::Consent | Join::Same | Join::Script | Join::Kill => {
            all_equal::same(asked, replies, out)
        }
        Join::Libraries => functions::libraries(asked, replies, out),
        Join::Dump => functions::dump(asked, replies, out),
        Join::Activity => functions::activity(asked, replies, out),
    };
    joined.ok_or(Fault::Fragment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::Split;

    #[test]
    fn a_wait_that_is_ended_reads_so_though_one_server_had_answered() {
        let kind = SplitKind::All(Join::Least);
        let joint = Joint::from(Split { name: "WAIT", kind });
        let replies = [
            &b":1\r\n"[..],
            b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
        ];
        let mut out = WriteBuf::new();
        let replies = replies.map(|reply| Ok(Bytes::from_static(reply))).to_vec();
        assert_eq!(gather(&joint, replies, &mut out), Ok(()));
        assert!(out.tail().starts_with(b"-UNBLOCKED client"));
    }
}
