//! Splits a request by server, and merges the replies in the order of its keys.

pub(crate) mod all_equal;
pub(crate) mod all_servers;
pub(crate) mod context;
pub(crate) mod cursor;
pub(crate) mod functions;
pub(crate) mod info_keyspace;
pub(crate) mod keys;
pub(crate) mod numbers;
pub(crate) mod one_succeeded;
pub(crate) mod partial;
pub(crate) mod pubsub;
pub(crate) mod scan;
pub(crate) mod sets;

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::redis::command::MergeKind;
use crate::protocol::redis::merge::context::{MergeContext, MergeSpec};
use crate::protocol::redis::resp::encode::{write_bulk, write_header, write_simple};
use crate::protocol::redis::resp::inspect::SharedElements;
use crate::protocol::{Part, UpstreamError};

/// Writes the header of a fragment with the given number of keys.
pub(crate) fn begin_fragment(split: MergeSpec, part: Part, out: &mut BytesMut) {
    let per_key = match split.kind {
        MergeKind::Ok => 2,
        _ => 1,
    };
    let name = match split.kind {
        MergeKind::Sets(join) => join.fragment_name(part),
        _ => split.name,
    };
    write_header(b'*', part.keys * per_key + 1, out);
    write_bulk(name.as_bytes(), out);
}

/// Merges the replies to the fragments.
pub(crate) fn merge(
    context: &MergeContext,
    owners: &[u16],
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    if context.split.kind.is_named() {
        return all_servers::merge(context, replies, out);
    }
    let replies: Vec<Bytes> = replies.into_iter().collect::<Result<_, UpstreamError>>()?;
    merge_complete(context, owners, &replies, out)
}

/// Merges complete replies.
fn merge_complete(
    context: &MergeContext,
    owners: &[u16],
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    match context.split.kind {
        MergeKind::Values => merge_values(owners, replies, out),
        MergeKind::Ok => {
            if replies.iter().any(|reply| reply.first() != Some(&b'+')) {
                return Err(UpstreamError::Fragment);
            }
            write_simple("OK", out.tail());
            Ok(())
        }
        MergeKind::Sum => numbers::sum(replies, out).ok_or(UpstreamError::Fragment),
        MergeKind::Most
        | MergeKind::Union
        | MergeKind::Subscribers(_)
        | MergeKind::Receivers(_) => pubsub::merge(context, replies, out),
        MergeKind::All(_)
        | MergeKind::Cursor(_)
        | MergeKind::Info(_)
        | MergeKind::Parameters(_) => Err(UpstreamError::Fragment),
        MergeKind::Sets(join) => sets::merge(join, owners, replies, out),
    }
}

fn merge_values(
    owners: &[u16],
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let mut elements = Vec::with_capacity(replies.len());
    for (index, reply) in (0..=u16::MAX).zip(replies) {
        let keys = owners.iter().filter(|&&owner| owner == index).count();
        // Found before the first byte is written: half a merged reply could not be taken back.
        elements.push(SharedElements::read_exact(reply, keys).ok_or(UpstreamError::Fragment)?);
    }
    write_header(b'*', owners.len(), out.tail());
    for &owner in owners {
        let element = elements
            .get_mut(usize::from(owner))
            .and_then(SharedElements::next);
        out.share_part(element.ok_or(UpstreamError::Fragment)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(
        kind: MergeKind,
        owners: &[u16],
        replies: &[&'static str],
    ) -> Result<String, UpstreamError> {
        let replies: Vec<Bytes> = replies
            .iter()
            .map(|reply| Bytes::from_static(reply.as_bytes()))
            .collect();
        let mut out = WriteBuf::new();
        merge_complete(
            &MergeSpec { name: "x", kind }.into(),
            owners,
            &replies,
            &mut out,
        )?;
        Ok(String::from_utf8_lossy(out.tail()).into_owned())
    }

    #[test]
    fn values_follow_key_order() {
        assert_eq!(
            merged(
                MergeKind::Values,
                &[1, 0, 1],
                &["*1\r\n$1\r\na\r\n", "*2\r\n$-1\r\n$2\r\nbb\r\n"]
            ),
            Ok("*3\r\n$-1\r\n$1\r\na\r\n$2\r\nbb\r\n".into())
        );
    }

    #[test]
    fn resp3_values_merge_unchanged() {
        assert_eq!(
            merged(
                MergeKind::Values,
                &[1, 0, 1],
                &["*1\r\n_\r\n", "*2\r\n=5\r\ntxt:a\r\n_\r\n"]
            ),
            Ok("*3\r\n=5\r\ntxt:a\r\n_\r\n_\r\n".into())
        );
    }

    #[test]
    fn sums_and_statuses_merge() {
        assert_eq!(
            merged(MergeKind::Sum, &[0, 1], &[":2\r\n", ":40\r\n"]),
            Ok(":42\r\n".into())
        );
        assert_eq!(
            merged(MergeKind::Ok, &[0, 1], &["+OK\r\n", "+OK\r\n"]),
            Ok("+OK\r\n".into())
        );
    }

    #[test]
    fn unexpected_reply_fails_the_request() {
        for (kind, replies) in [
            (MergeKind::Values, ["*1\r\n$1\r\na\r\n", "-ERR no\r\n"]),
            (MergeKind::Values, ["*1\r\n$1\r\na\r\n", "*0\r\n"]),
            (MergeKind::Values, ["*1\r\n$1\r\na\r\n", "+OK\r\n"]),
            (MergeKind::Sum, [":1\r\n", "-ERR no\r\n"]),
            (MergeKind::Sum, [":1\r\n", "+OK\r\n"]),
            (MergeKind::Ok, ["+OK\r\n", "-OOM no\r\n"]),
        ] {
            assert_eq!(
                merged(kind, &[0, 1], &replies),
                Err(UpstreamError::Fragment),
                "{replies:?}"
            );
        }
    }
}
