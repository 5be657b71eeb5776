//! Splits a request by server, and merges the replies in the order of its keys.

use bytes::{BufMut, Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::memcached::command::AllServers;
use crate::protocol::memcached::reply::value_of;
use crate::protocol::{KeySpan, UpstreamError};

/// The way a request is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeSpec {
    /// By its keys. Every fragment starts with the same prefix of the frame: the name and what precedes the keys.
    Keys {
        /// Bytes before the first key and its space.
        prefix: usize,
    },
    /// Not at all: every server gets the whole request.
    AllServers {
        /// The command.
        which: AllServers,
        /// True if the client suppressed the reply.
        is_muted: bool,
    },
}

/// The data of a split request that is kept until its replies can be merged.
#[derive(Debug)]
pub enum MergeContext {
    /// The names of its keys: servers omit the values that they do not have.
    Keys {
        /// All names, concatenated.
        names: Box<[u8]>,
        /// The end of each name.
        ends: Box<[usize]>,
    },
    /// As [`MergeSpec::AllServers`].
    AllServers {
        /// The command.
        which: AllServers,
        /// True if the client suppressed the reply.
        is_muted: bool,
    },
}

/// Keeps the data that merging the replies needs.
pub(crate) fn merge_context(split: MergeSpec, frame: &[u8], keys: &[KeySpan]) -> MergeContext {
    match split {
        MergeSpec::Keys { .. } => {
            let bytes = keys.iter().map(|key| key.key.len()).sum();
            let mut names = Vec::with_capacity(bytes);
            let mut ends = Vec::with_capacity(keys.len());
            for key in keys {
                names.extend_from_slice(key.key.of(frame));
                ends.push(names.len());
            }
            MergeContext::Keys {
                names: names.into(),
                ends: ends.into(),
            }
        }
        MergeSpec::AllServers { which, is_muted } => MergeContext::AllServers { which, is_muted },
    }
}

/// Writes the bytes before the keys of a fragment.
pub(crate) fn begin_fragment(split: MergeSpec, frame: &[u8], out: &mut BytesMut) {
    if let MergeSpec::Keys { prefix } = split {
        out.put_slice(frame.get(..prefix).unwrap_or_default());
    }
}

/// Writes the bytes after the keys of a fragment.
pub(crate) fn end_fragment(split: MergeSpec, out: &mut BytesMut) {
    if let MergeSpec::Keys { .. } = split {
        out.put_slice(b"\r\n");
    }
}

/// Merges the replies. An error line of a server is the whole reply.
pub(crate) fn merge(
    context: &MergeContext,
    owners: &[u16],
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    match context {
        MergeContext::Keys { names, ends } => merge_values(names, ends, owners, replies, out),
        MergeContext::AllServers { is_muted: true, .. } => Ok(()),
        MergeContext::AllServers { which, .. } => all_servers::merge(*which, &replies, out.tail()),
    }
}

fn merge_values(
    names: &[u8],
    ends: &[usize],
    owners: &[u16],
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let mut blocks = Vec::with_capacity(replies.len());
    for reply in replies {
        let reply = reply?;
        if !is_ended(&reply) {
            out.copy(last_line(&reply));
            return Ok(());
        }
        blocks.push(Blocks { reply, at: 0 });
    }
    // Found before the first byte is written: half a merged reply could not be taken back.
    let mut found = Vec::with_capacity(ends.len());
    let mut start = 0;
    for (&end, &owner) in ends.iter().zip(owners) {
        let key = names.get(start..end).unwrap_or_default();
        start = end;
        let of_owner = blocks
            .get_mut(usize::from(owner))
            .ok_or(UpstreamError::Fragment)?;
        if let Some((start, end)) = of_owner.take(key) {
            found.push((owner, start, end));
        }
    }
    if !blocks.iter().all(Blocks::is_empty) {
        return Err(UpstreamError::Fragment);
    }
    for (owner, start, end) in found {
        if let Some(blocks) = blocks.get(usize::from(owner)) {
            out.share_part((&blocks.reply, start, end));
        }
    }
    out.copy(END);
    Ok(())
}

const END: &[u8] = b"END\r\n";

/// Returns true if a reply ends with the line `END`, not with an error.
fn is_ended(reply: &[u8]) -> bool {
    reply
        .strip_suffix(END)
        .is_some_and(|before| before.is_empty() || before.ends_with(b"\n"))
}

fn last_line(reply: &[u8]) -> &[u8] {
    let text = reply.strip_suffix(b"\n").unwrap_or(reply);
    let start = memchr::memrchr(b'\n', text).map_or(0, |lf| lf + 1);
    reply.get(start..).unwrap_or_default()
}

/// Iterates over the `VALUE` blocks of a reply, which come in the order of the keys.
#[derive(Debug)]
struct Blocks {
    reply: Bytes,
    at: usize,
}

impl Blocks {
    /// The range of the next block, if it is the one of `key`.
    fn take(&mut self, key: &[u8]) -> Option<(usize, usize)> {
        let rest = self.reply.get(self.at..)?;
        // Rejects most misses without a search for the line end.
        if rest.get(VALUE.len()..)?.get(..key.len())? != key {
            return None;
        }
        let lf = memchr::memchr(b'\n', rest)?;
        let value = value_of(rest.get(..lf)?.strip_suffix(b"\r")?)?;
        if value.key != key {
            return None;
        }
        let len = lf + 1 + usize::try_from(value.data_bytes).ok()? + 2;
        if rest.len() < len {
            return None;
        }
        let start = self.at;
        self.at += len;
        Some((start, self.at))
    }

    /// Returns true if all blocks were taken.
    fn is_empty(&self) -> bool {
        self.reply.get(self.at..) == Some(END)
    }
}

const VALUE: &[u8] = b"VALUE ";

pub(crate) mod all_servers;

#[cfg(test)]
mod tests;
