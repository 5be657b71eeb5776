//! Blocking commands: which requests block, how they are unblocked, and how popped elements are restored.

use std::time::Duration;

use bytes::BytesMut;

use crate::protocol::redis::command::{MergeKind, ResponsePolicy};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::inspect::strings;
use crate::protocol::{ServerCommand, Span, UnblockReason};

/// Returns true if a request blocks: some commands do only with an option.
pub(crate) fn waits(mut args: Args<'_>) -> bool {
    let name = args.next().unwrap_or_default();
    let is_reader = [&b"XREAD"[..], b"XREADGROUP"]
        .iter()
        .any(|reader| name.eq_ignore_ascii_case(reader));
    !is_reader
        || args
            .take_while(|arg| !arg.eq_ignore_ascii_case(b"STREAMS"))
            .any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"))
}

/// The markers of WAIT, or of WAITAOF. A server may be too old for the first, or its user may lack the permission to publish;
/// the second counts as a write on the server, and only that goes to the AOF.
pub(crate) fn markers(kind: MergeKind) -> &'static [ServerCommand] {
    match kind {
        MergeKind::All(ResponsePolicy::AggMin) => &[
            ServerCommand::OffsetMarker,
            ServerCommand::DurableOffsetMarker,
        ],
        _ => &[ServerCommand::DurableOffsetMarker],
    }
}

/// Writes a request that blocks for a limited time as it is after a part of that time. Returns the whole time; `None` if it is
/// not limited.
pub(crate) fn write_shortened(
    request: &[u8],
    waited: Duration,
    out: &mut BytesMut,
) -> Option<Duration> {
    let mut words: Vec<_> = Args::new(request).collect();
    let (place, in_millis) = timeout(&words);
    let number = words
        .get(place)
        .and_then(|word| str::from_utf8(word).ok()?.parse().ok());
    let limit = number.filter(|limit: &f64| *limit > 0.0)?;
    let unit = if in_millis { 1000.0 } else { 1.0 };
    // A server refuses what is beyond that.
    let limit = Duration::try_from_secs_f64(limit / unit).ok()?;
    let left = (limit.as_secs_f64() - waited.as_secs_f64()).max(0.001);
    let left = if in_millis {
        format!("{:.0}", (left * unit).ceil())
    } else {
        format!("{left:.3}")
    };
    if let Some(word) = words.get_mut(place) {
        *word = left.as_bytes();
    }
    write_request(&words, out);
    Some(limit)
}

/// The place of the time limit among the words of a request that blocks, and whether it is in milliseconds.
fn timeout(words: &[&[u8]]) -> (usize, bool) {
    let name = words.first().copied().unwrap_or_default();
    let is = |names: [&[u8]; 2]| names.iter().any(|other| name.eq_ignore_ascii_case(other));
    if is([b"BLMPOP", b"BZMPOP"]) {
        return (1, false);
    }
    if is([b"XREAD", b"XREADGROUP"]) {
        let is_block = |word: &&[u8]| word.eq_ignore_ascii_case(b"BLOCK");
        let block = words.iter().position(is_block);
        return (block.map_or(words.len(), |block| block + 1), true);
    }
    (words.len().saturating_sub(1), false)
}

/// Returns true if a request reads what comes after its arrival: `$` is the last entry of a stream when the server gets
/// it.
pub(crate) fn reads_latest(request: &[u8]) -> bool {
    let mut args = Args::new(request);
    let name = args.next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"XREAD") && args.any(|arg| arg == b"$")
}

/// Writes the request that unblocks the connection with this reply to `CLIENT ID`, if its server has not replied
/// already. Servers before Redis 5 have no such ID.
pub(crate) fn write_unblock(reply: &[u8], reason: UnblockReason, out: &mut BytesMut) -> bool {
    let Some((b':', digits)) = reply.split_first() else {
        return false;
    };
    let id = digits.trim_ascii_end();
    let reason: &[u8] = match reason {
        UnblockReason::Timeout => b"TIMEOUT",
        UnblockReason::Error => b"ERROR",
    };
    write_request(&[b"CLIENT", b"UNBLOCK", id, reason], out);
    true
}

/// Writes the request that restores popped elements in their place. Commands that move elements have moved them, and
/// those that read a stream leave it unchanged: there is nothing to restore.
///
/// Returns the place of their key in it.
pub(crate) fn restore_popped(request: &[u8], reply: &[u8], out: &mut BytesMut) -> Option<Span> {
    let name = Args::new(request).next()?.to_ascii_uppercase();
    let strings: Vec<&[u8]> = strings(reply).collect();
    let (key, taken) = strings.split_first()?;
    if reply.first() != Some(&b'*') || taken.is_empty() {
        return None;
    }
    match name.as_slice() {
        b"BLPOP" => push(b"LPUSH", key, taken, out),
        b"BRPOP" => push(b"RPUSH", key, taken, out),
        b"BLMPOP" => push(end(request), key, taken, out),
        b"BZPOPMIN" | b"BZPOPMAX" | b"BZMPOP" => {
            // A score that was set meanwhile would have replaced this one.
            let mut words: Vec<&[u8]> = vec![b"ZADD", key, b"NX"];
            for pair in taken.chunks_exact(2) {
                words.extend(pair.iter().rev());
            }
            write_request(&words, out);
        }
        _ => return None,
    }
    let mut args = Args::new(out);
    args.next_span();
    Some(args.next_span()?.key)
}

/// The last of several elements was popped last, and is pushed first.
fn push(command: &[u8], key: &[u8], taken: &[&[u8]], out: &mut BytesMut) {
    let mut words = vec![command, key];
    words.extend(taken.iter().rev());
    write_request(&words, out);
}

/// The end of the list that `BLMPOP timeout numkeys key [key ...] LEFT|RIGHT` pops from.
fn end(request: &[u8]) -> &'static [u8] {
    let mut args = Args::new(request);
    let keys = args
        .nth(2)
        .and_then(|count| str::from_utf8(count).ok()?.parse().ok());
    let end = keys.and_then(|keys: usize| args.nth(keys));
    if end.is_some_and(|end| end.eq_ignore_ascii_case(b"RIGHT")) {
        b"RPUSH"
    } else {
        b"LPUSH"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &str) -> BytesMut {
        let mut out = BytesMut::new();
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        write_request(&words, &mut out);
        out
    }

    #[test]
    fn popped_elements_are_restored_in_place() {
        for (command, reply, expected) in [
            ("BLPOP a k 0", "*2\r\n$1\r\nk\r\n$1\r\nx\r\n", "LPUSH k x"),
            ("brpop k 0", "*2\r\n$1\r\nk\r\n$1\r\nx\r\n", "RPUSH k x"),
            (
                "BLMPOP 0 2 left k LEFT COUNT 3",
                "*2\r\n$1\r\nk\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
                "LPUSH k c b a",
            ),
            (
                "BLMPOP 0 1 k RIGHT COUNT 2",
                "*2\r\n$1\r\nk\r\n*2\r\n$1\r\nc\r\n$1\r\nb\r\n",
                "RPUSH k b c",
            ),
            (
                "BZPOPMIN k 0",
                "*3\r\n$1\r\nk\r\n$1\r\nm\r\n$3\r\n1.5\r\n",
                "ZADD k NX 1.5 m",
            ),
            (
                "BZPOPMAX k 0",
                "*3\r\n$1\r\nk\r\n$1\r\nm\r\n,inf\r\n",
                "ZADD k NX inf m",
            ),
            (
                "BZMPOP 0 1 k MIN COUNT 2",
                "*2\r\n$1\r\nk\r\n*2\r\n*2\r\n$1\r\nm\r\n,1\r\n*2\r\n$1\r\nn\r\n,2\r\n",
                "ZADD k NX 1 m 2 n",
            ),
        ] {
            let mut out = BytesMut::new();
            let key = restore_popped(&request(command), reply.as_bytes(), &mut out);
            assert_eq!(out, request(expected), "{command}");
            assert_eq!(key.unwrap().of(&out), b"k", "{command}");
        }
    }

    #[test]
    fn empty_or_moving_replies_restore_nothing() {
        for (command, reply) in [
            ("BLPOP k 0", "*-1\r\n"),
            ("BLPOP k 0", "_\r\n"),
            (
                "BLPOP k 0",
                "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
            ),
            ("BLMOVE a b LEFT LEFT 0", "$1\r\nx\r\n"),
            ("BRPOPLPUSH a b 0", "$1\r\nx\r\n"),
            (
                "XREAD BLOCK 0 STREAMS k 0",
                "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
            ),
        ] {
            let mut out = BytesMut::new();
            let key = restore_popped(&request(command), reply.as_bytes(), &mut out);
            assert_eq!(key, None, "{command}");
            assert!(out.is_empty(), "{command}");
        }
    }

    #[test]
    fn time_that_was_waited_shortens_the_limit() {
        for (command, expected) in [
            ("BLPOP k 0", ""),
            ("blpop k 0.0", ""),
            ("BRPOP k 0.5", "BRPOP k 0.250"),
            ("BRPOP k 0.1", "BRPOP k 0.001"),
            ("BLMOVE a b LEFT RIGHT 1", "BLMOVE a b LEFT RIGHT 0.750"),
            ("BZPOPMIN 1 2 0", ""),
            ("BLMPOP 1 1 k LEFT", "BLMPOP 0.750 1 k LEFT"),
            ("BZMPOP 0 1 k MIN COUNT 2", ""),
            (
                "XREAD COUNT 1 block 300 STREAMS k 0",
                "XREAD COUNT 1 block 50 STREAMS k 0",
            ),
            ("XREAD block 10 STREAMS k 0", "XREAD block 1 STREAMS k 0"),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS k 5", ""),
            ("BLPOP k x", ""),
        ] {
            let mut out = BytesMut::new();
            let waited = Duration::from_millis(250);
            let limit = write_shortened(&request(command), waited, &mut out);
            assert_eq!(limit.is_some(), !expected.is_empty(), "{command}");
            if limit.is_some() {
                assert_eq!(out, request(expected), "{command}");
            }
        }
    }

    #[test]
    fn stream_reads_block_only_with_block() {
        for (command, expected) in [
            ("BLPOP k 0", true),
            ("XREAD STREAMS BLOCK 0", false),
            ("XREAD COUNT 1 block 0 STREAMS k 0", true),
            ("XREADGROUP GROUP g c STREAMS k >", false),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS k >", true),
        ] {
            assert_eq!(waits(Args::new(&request(command))), expected, "{command}");
        }
    }
}
