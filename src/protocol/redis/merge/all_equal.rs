//! Joins of what all servers say alike: `FLUSHALL`, `SCRIPT LOAD` and the like.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::redis::merge::partial::FanOutReport;

/// What all say, or that they do not agree.
pub(crate) fn same(asked: &FanOutReport<'_>, replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let (first, others) = replies.split_first()?;
    match others.iter().position(|other| other != first) {
        None => out.share(first.clone()),
        Some(at) => asked.write_differ(at + 1, "returned different replies", out),
    }
    Some(())
}
