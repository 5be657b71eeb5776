//! Merging of the libraries that servers have loaded: `FUNCTION LIST`, `DUMP` and `STATS`.
//!
//! Libraries go through the proxy to all servers alike. If they still differ, the reply is an error.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::resp::inspect::{bulk, elements, sorted};

const DIFFER: &str = "have different libraries; to make them equal, FUNCTION DUMP one of them and FUNCTION RESTORE it with FLUSH";

/// Writes the libraries of all servers.
pub(crate) fn libraries(
    report: &FanOutReport<'_>,
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Option<()> {
    agreed(report, replies, |reply| Some(sorted(reply)), out)
}

/// Writes the dump of one server, if all have the same libraries.
pub(crate) fn dump(report: &FanOutReport<'_>, replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    agreed(report, replies, |reply| chunks(bulk(reply)?), out)
}

/// Writes the reply of a server that is running a function, or else of any.
pub(crate) fn activity(
    report: &FanOutReport<'_>,
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Option<()> {
    let engines = |reply: &Bytes| elements(reply)?.nth(3).map(sorted);
    let counts: Option<Vec<_>> = replies.iter().map(engines).collect();
    let counts = counts?;
    if let Some(at) = other_than_first(&counts) {
        report.write_differ(at, DIFFER, out);
        return Some(());
    }
    let runs = |reply: &&Bytes| {
        elements(reply)
            .and_then(|mut elements| elements.nth(1))
            .is_some_and(|script| !matches!(script, b"*-1\r\n" | b"$-1\r\n" | b"_\r\n"))
    };
    let busy = replies.iter().find(runs);
    out.share(busy.or_else(|| replies.first())?.clone());
    Some(())
}

/// Writes the first reply, if all are equal in their canonical form.
fn agreed(
    report: &FanOutReport<'_>,
    replies: &[Bytes],
    canonical: impl Fn(&Bytes) -> Option<Vec<u8>>,
    out: &mut WriteBuf,
) -> Option<()> {
    let forms: Option<Vec<_>> = replies.iter().map(canonical).collect();
    match other_than_first(&forms?) {
        None => out.share(replies.first()?.clone()),
        Some(at) => report.write_differ(at, DIFFER, out),
    }
    Some(())
}

fn other_than_first(forms: &[Vec<u8>]) -> Option<usize> {
    let first = forms.first()?;
    forms.iter().position(|form| form != first)
}

/// The libraries of a dump without their order and its checksum, which depends on the order. Each is an opcode and a
/// string, encoded as in an RDB file; two bytes of version and eight of checksum follow them.
fn chunks(dump: &[u8]) -> Option<Vec<u8>> {
    const FOOTER_BYTES: usize = 10;
    let mut rest = dump.get(..dump.len().checked_sub(FOOTER_BYTES)?)?;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at_checked(1 + string_len(rest.get(1..)?)?)?;
        chunks.push(chunk);
        rest = after;
    }
    chunks.sort_unstable();
    Some(chunks.concat())
}

/// Length of a string in the encoding of an RDB file.
fn string_len(bytes: &[u8]) -> Option<usize> {
    const COMPRESSED: u8 = 0xC3;
    if bytes.first() == Some(&COMPRESSED) {
        let (packed, first) = length(bytes.get(1..)?)?;
        let (_, second) = length(bytes.get(1 + first..)?)?;
        return (1 + first + second).checked_add(packed);
    }
    let (len, used) = length(bytes)?;
    used.checked_add(len)
}

/// Decodes a length in the encoding of an RDB file, and returns the number of its own bytes.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let (first, rest) = bytes.split_first()?;
    match (first >> 6, first) {
        (0, _) => Some((usize::from(*first), 1)),
        (1, _) => Some((
            usize::from(first & 0x3F) << 8 | usize::from(*rest.first()?),
            2,
        )),
        (2, 0x80) => {
            let len = u32::from_be_bytes(*rest.first_chunk()?);
            Some((usize::try_from(len).ok()?, 5))
        }
        (2, 0x81) => {
            let len = u64::from_be_bytes(*rest.first_chunk()?);
            Some((usize::try_from(len).ok()?, 9))
        }
        _ => None,
    }
}
