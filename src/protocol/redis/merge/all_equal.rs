//! Merging of replies that must be equal on all servers: `FLUSHALL`, `SCRIPT LOAD` and the like.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::redis::merge::partial::FanOutReport;

/// Writes the common reply, or the error that they differ.
pub(crate) fn same(report: &FanOutReport<'_>, replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let (first, others) = replies.split_first()?;
    match others.iter().position(|other| other != first) {
        None => out.share(first.clone()),
        Some(at) => report.write_differ(at + 1, "returned different replies", out),
    }
    Some(())
}
