//! Merges the servers' pub/sub counts and lists.

use std::collections::HashSet;

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::command::MergeKind;
use crate::protocol::redis::merge::context::{MergeContext, SubscriberCount};
use crate::protocol::redis::resp::encode::{write_header, write_integer};
use crate::protocol::redis::resp::inspect::{SharedElements, integer, is_error};

/// Merges the replies of all servers, or corrects that of a single one.
pub(crate) fn merge(
    context: &MergeContext,
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    if let Some(error) = replies.iter().find(|reply| is_error(reply)) {
        out.copy(error);
        return Ok(());
    }
    match context.split.kind {
        MergeKind::Union => union(replies, out),
        MergeKind::Subscribers(_) => subscribers(&context.crowds, replies, out),
        MergeKind::Receivers(uncounted) => {
            let counted = most(replies)?;
            write_integer(add_uncounted(counted, uncounted), out.tail());
            Ok(())
        }
        _ => {
            write_integer(most(replies)?, out.tail());
            Ok(())
        }
    }
}

/// The maximum: patterns are subscribed to on every server.
fn most(replies: &[Bytes]) -> Result<i64, UpstreamError> {
    let mut most = 0;
    for reply in replies {
        most = most.max(integer(reply).ok_or(UpstreamError::Fragment)?);
    }
    Ok(most)
}

fn union(replies: &[Bytes], out: &mut WriteBuf) -> Result<(), UpstreamError> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for reply in replies {
        let elements = SharedElements::read(reply).ok_or(UpstreamError::Fragment)?;
        for (bytes, start, end) in elements {
            if seen.insert(bytes.get(start..end).unwrap_or_default()) {
                all.push((bytes, start, end));
            }
        }
    }
    write_header(b'*', all.len(), out.tail());
    for element in all {
        out.share_part(element);
    }
    Ok(())
}

/// Writes each name of the request with the sum of its subscribers.
fn subscribers(
    counts: &[SubscriberCount],
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let mut elements = Vec::with_capacity(replies.len());
    for reply in replies {
        let pairs = SharedElements::read_exact(reply, counts.len() * 2);
        elements.push(pairs.ok_or(UpstreamError::Fragment)?);
    }
    write_header(b'*', counts.len() * 2, out.tail());
    for count_of_channel in counts {
        let (mut name, mut counted) = (None, 0_i64);
        for reply in &mut elements {
            name = reply.next();
            let (bytes, start, end) = reply.next().ok_or(UpstreamError::Fragment)?;
            let count = integer(bytes.get(start..end).unwrap_or_default());
            let count = count.ok_or(UpstreamError::Fragment)?;
            counted = if count_of_channel.everywhere {
                counted.max(count)
            } else {
                counted.saturating_add(count)
            };
        }
        out.share_part(name.ok_or(UpstreamError::Fragment)?);
        write_integer(
            add_uncounted(counted, count_of_channel.uncounted),
            out.tail(),
        );
    }
    Ok(())
}

/// Adds the clients that no server counts. If a server reports none, the proxy's own connection is not subscribed
/// either.
fn add_uncounted(counted: i64, uncounted: u64) -> i64 {
    if counted == 0 {
        return 0;
    }
    counted.saturating_add(i64::try_from(uncounted).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ChannelKind;
    use crate::protocol::redis::merge::context::MergeSpec;

    fn merged(kind: MergeKind, crowds: &[(u64, bool)], replies: &[&'static str]) -> String {
        let replies: Vec<Bytes> = replies
            .iter()
            .map(|reply| Bytes::from_static(reply.as_bytes()))
            .collect();
        let crowds = crowds
            .iter()
            .map(|&(uncounted, everywhere)| SubscriberCount {
                uncounted,
                everywhere,
            });
        let context = MergeContext {
            crowds: crowds.collect(),
            ..MergeSpec { name: "x", kind }.into()
        };
        let mut out = WriteBuf::new();
        match merge(&context, &replies, &mut out) {
            Ok(()) => String::from_utf8_lossy(out.tail()).into_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn pubsub_replies_merge() {
        let channels = MergeKind::Subscribers(ChannelKind::Channel);
        for (kind, crowds, replies, expected) in [
            (
                MergeKind::Most,
                &[][..],
                &[":2\r\n", ":3\r\n"][..],
                ":3\r\n",
            ),
            (
                MergeKind::Union,
                &[],
                &[
                    "*1\r\n$1\r\na\r\n",
                    "*0\r\n",
                    "*2\r\n$1\r\nb\r\n$1\r\na\r\n",
                ],
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            (
                MergeKind::Union,
                &[],
                &["*0\r\n", "-NOPERM\r\n"],
                "-NOPERM\r\n",
            ),
            (MergeKind::Union, &[], &["*0\r\n", ":1\r\n"], "Fragment"),
            (
                channels,
                &[(3, false), (0, false), (4, true)],
                &[
                    "*6\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n$1\r\nc\r\n:1\r\n",
                    "*6\r\n$1\r\na\r\n:0\r\n$1\r\nb\r\n:0\r\n$1\r\nc\r\n:1\r\n",
                ],
                "*6\r\n$1\r\na\r\n:4\r\n$1\r\nb\r\n:0\r\n$1\r\nc\r\n:5\r\n",
            ),
            (channels, &[], &["*0\r\n"], "*0\r\n"),
            (channels, &[(0, false)], &["*0\r\n"], "Fragment"),
            (MergeKind::Receivers(9), &[], &[":1\r\n"], ":10\r\n"),
            (MergeKind::Receivers(9), &[], &[":0\r\n"], ":0\r\n"),
            (
                MergeKind::Receivers(9),
                &[],
                &["-OOM no\r\n"],
                "-OOM no\r\n",
            ),
        ] {
            assert_eq!(merged(kind, crowds, replies), expected, "{kind:?}");
        }
    }
}
