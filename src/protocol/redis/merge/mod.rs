//! Splits a request by server, and joins the replies in the order of its keys.

pub(crate) mod all_equal;
pub(crate) mod all_servers;
pub(crate) mod functions;
pub(crate) mod info_keyspace;
pub(crate) mod keys;
pub(crate) mod numbers;
pub(crate) mod one_succeeded;
pub(crate) mod partial;
pub(crate) mod pubsub;
pub(crate) mod scan;
pub(crate) mod sets;

use std::sync::Arc;
use std::vec;

use bytes::{BufMut, Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::redis::command::{MergeKind, ResponsePolicy};
use crate::protocol::redis::local::Settings;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::number::Number;
use crate::protocol::redis::resp::reply::ReplyScanner;
use crate::protocol::redis::state::shared::PoolShared;
use crate::protocol::redis::{Args, Redis};
use crate::protocol::{Part, Passed, Placement, Protocol, UpstreamError};

/// How one request is split: its name in lower case, and how the replies join.
#[derive(Debug, Clone, Copy)]
pub struct MergeSpec {
    /// The command's name, as Twemproxy writes it in a fragment.
    pub name: &'static str,
    /// How the replies join.
    pub kind: MergeKind,
}

/// What is kept of a request until its replies are joined.
#[derive(Debug)]
pub struct MergeContext {
    /// How it was split.
    pub split: MergeSpec,
    /// Of a request that names channels: for each, in its order, who hears it beyond those whom servers count.
    pub crowds: Vec<SubscriberCount>,
    /// What the proxy itself says.
    pub own: Bytes,
    /// The names of the servers, for a request that names none by its keys.
    pub servers: Option<Arc<[String]>>,
    /// The body of a script that is loaded, and where it is remembered then.
    pub script: Option<(Bytes, Arc<PoolShared>)>,
}

/// Who hears a channel.
#[derive(Debug, Clone, Copy)]
pub struct SubscriberCount {
    /// Clients that no server counts.
    pub uncounted: u64,
    /// Every server is subscribed to for the same clients, so that their numbers must not be added up.
    pub everywhere: bool,
}

impl From<MergeSpec> for MergeContext {
    fn from(split: MergeSpec) -> Self {
        Self {
            split,
            crowds: Vec::new(),
            own: Bytes::new(),
            servers: None,
            script: None,
        }
    }
}

/// Keeps what joining will need.
pub(crate) fn merge_context(split: MergeSpec, frame: &[u8], settings: &Settings) -> MergeContext {
    let kind = split.kind;
    let mut context = MergeContext::from(split);
    if kind.is_named() || matches!(kind, MergeKind::Info(_) | MergeKind::Parameters(_)) {
        context.servers = Some(Arc::clone(&settings.servers));
    }
    match kind {
        MergeKind::Subscribers(topic) => {
            let crowd = |name| SubscriberCount {
                uncounted: settings
                    .shared
                    .pubsub_stats
                    .local_subscribers
                    .uncounted_subscribers(topic, name),
                everywhere: Redis::placement(settings, topic, name) == Placement::Everywhere,
            };
            context.crowds = Args::new(frame).skip(2).map(crowd).collect();
        }
        MergeKind::All(ResponsePolicy::Script) => {
            let body = Args::new(frame).nth(2).unwrap_or_default();
            let body = Bytes::copy_from_slice(body);
            context.script = Some((body, Arc::clone(&settings.shared)));
        }
        _ => {}
    }
    context
}

/// Writes the header of a fragment with so many keys.
pub(crate) fn begin_fragment(split: MergeSpec, part: Part, out: &mut BytesMut) {
    let per_key = match split.kind {
        MergeKind::Ok => 2,
        _ => 1,
    };
    let name = match split.kind {
        MergeKind::Sets(join) => join.fragment_name(part),
        _ => split.name,
    };
    write_number(b'*', part.keys * per_key + 1, out);
    write_bulk(name.as_bytes(), out);
}

/// Joins the replies to the fragments.
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
    join_whole(context, owners, &replies, out)
}

/// Joins replies of which none is missing.
pub(crate) fn join_whole(
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
            out.copy(b"+OK\r\n");
            Ok(())
        }
        MergeKind::Sum => {
            let mut sum = 0_i64;
            for reply in replies {
                sum = sum.saturating_add(read_integer(reply)?);
            }
            out.copy(format!(":{sum}\r\n").as_bytes());
            Ok(())
        }
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

/// The number of a reply that is one.
pub(crate) fn read_integer(reply: &[u8]) -> Result<i64, UpstreamError> {
    match reply.split_first() {
        Some((b':', number)) => match number::read(number) {
            Number::Line(value, _) => Ok(value),
            Number::Partial | Number::Bad => Err(UpstreamError::Fragment),
        },
        _ => Err(UpstreamError::Fragment),
    }
}

fn merge_values(
    owners: &[u16],
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let mut elements = Vec::with_capacity(replies.len());
    for (index, reply) in replies.iter().enumerate() {
        let keys = owners
            .iter()
            .filter(|&&owner| usize::from(owner) == index)
            .count();
        // Found before the first byte is written: half a joined reply could not be taken back.
        elements.push(Elements::find(reply, keys).ok_or(UpstreamError::Fragment)?);
    }
    write_number(b'*', owners.len(), out.tail());
    for &owner in owners {
        let element = elements
            .get_mut(usize::from(owner))
            .and_then(Elements::next);
        out.share_part(element.ok_or(UpstreamError::Fragment)?);
    }
    Ok(())
}

/// The elements of an array reply, in their order.
#[derive(Debug)]
struct Elements<'r> {
    reply: &'r Bytes,
    /// Where the next one starts.
    at: usize,
    /// Where each that is left ends.
    ends: vec::IntoIter<usize>,
}

impl<'r> Elements<'r> {
    /// `None` where the reply is no array of so many elements.
    fn find(reply: &'r Bytes, expected: usize) -> Option<Self> {
        let (b'*', header) = reply.split_first()? else {
            return None;
        };
        let Number::Line(count, used) = number::read(header) else {
            return None;
        };
        if usize::try_from(count) != Ok(expected) {
            return None;
        }
        let at = 1 + used;
        let mut ends = Vec::with_capacity(expected);
        let mut end = at;
        for _ in 0..expected {
            let Ok(Passed::Whole { len, .. }) = ReplyScanner::default().scan(reply.get(end..)?)
            else {
                return None;
            };
            end += len;
            ends.push(end);
        }
        Some(Self {
            reply,
            at,
            ends: ends.into_iter(),
        })
    }

    /// The next element, as a part of the reply that can be shared.
    fn next(&mut self) -> Option<(&'r Bytes, usize, usize)> {
        let end = self.ends.next()?;
        let start = std::mem::replace(&mut self.at, end);
        Some((self.reply, start, end))
    }
}

/// Writes a bulk string.
pub(crate) fn write_bulk(bytes: &[u8], out: &mut BytesMut) {
    write_number(b'$', bytes.len(), out);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Writes a header line such as `$3\r\n`.
pub(crate) fn write_number(kind: u8, value: usize, out: &mut BytesMut) {
    let mut digits = [0_u8; 24];
    let mut at = digits.len();
    let mut left = value;
    while let Some(slot) = at.checked_sub(1).and_then(|at| digits.get_mut(at)) {
        *slot = b'0' + u8::try_from(left % 10).unwrap_or(0);
        at -= 1;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.put_u8(kind);
    out.put_slice(digits.get(at..).unwrap_or_default());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(
        kind: MergeKind,
        owners: &[u16],
        replies: &[&'static str],
    ) -> Result<String, UpstreamError> {
        let replies: Vec<Bytes> = replies
            .iter()
            .map(|reply| Bytes::from_static(reply.as_bytes()))
            .collect();
        let mut out = WriteBuf::new();
        join_whole(
            &MergeSpec { name: "x", kind }.into(),
            owners,
            &replies,
            &mut out,
        )?;
        Ok(String::from_utf8_lossy(out.tail()).into_owned())
    }

    #[test]
    fn values_come_in_the_order_of_the_keys() {
        assert_eq!(
            joined(
                MergeKind::Values,
                &[1, 0, 1],
                &["*1\r\n$1\r\na\r\n", "*2\r\n$-1\r\n$2\r\nbb\r\n"]
            ),
            Ok("*3\r\n$-1\r\n$1\r\na\r\n$2\r\nbb\r\n".into())
        );
    }

    #[test]
    fn values_of_resp3_join_as_they_are() {
        assert_eq!(
            joined(
                MergeKind::Values,
                &[1, 0, 1],
                &["*1\r\n_\r\n", "*2\r\n=5\r\ntxt:a\r\n_\r\n"]
            ),
            Ok("*3\r\n=5\r\ntxt:a\r\n_\r\n_\r\n".into())
        );
    }

    #[test]
    fn sums_and_statuses_join() {
        assert_eq!(
            joined(MergeKind::Sum, &[0, 1], &[":2\r\n", ":40\r\n"]),
            Ok(":42\r\n".into())
        );
        assert_eq!(
            joined(MergeKind::Ok, &[0, 1], &["+OK\r\n", "+OK\r\n"]),
            Ok("+OK\r\n".into())
        );
    }

    #[test]
    fn a_reply_that_does_not_fit_fails_the_whole() {
        for (kind, replies) in [
            (MergeKind::Values, ["*1\r\n$1\r\na\r\n", "-ERR no\r\n"]),
            (MergeKind::Values, ["*1\r\n$1\r\na\r\n", "*0\r\n"]),
            (MergeKind::Values, ["*1\r\n$1\r\na\r\n", "+OK\r\n"]),
            (MergeKind::Sum, [":1\r\n", "-ERR no\r\n"]),
            (MergeKind::Sum, [":1\r\n", "+OK\r\n"]),
            (MergeKind::Ok, ["+OK\r\n", "-OOM no\r\n"]),
        ] {
            assert_eq!(
                joined(kind, &[0, 1], &replies),
                Err(UpstreamError::Fragment),
                "{replies:?}"
            );
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        for value in [0, 7, 10, 1024, usize::MAX] {
            let mut out = BytesMut::new();
            write_number(b'$', value, &mut out);
            assert_eq!(out, format!("${value}\r\n").as_bytes());
        }
    }
}
