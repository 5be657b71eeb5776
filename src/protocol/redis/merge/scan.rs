//! `SCAN`: one server after another, in one cursor ([`cursor`](super::cursor)).
//!
//! A server that returns 0 is done, and the next one starts at its own 0; 0 reaches the client only after the last
//! server. So the proxy keeps no state, and any proxy of the pool can continue a scan. The tag is a digest of the names
//! of the servers in their order: after a change of the servers an index would mean another one, so an older cursor is
//! rejected. With one server, the cursor is forwarded unchanged.
//!
//! `survey::scan` is for pools with `placement_guard`.

use std::hash::Hasher;

use bytes::{BufMut, Bytes, BytesMut};
use fnv::FnvHasher;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::merge::cursor::{Stops, TAGS};
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::write_bulk;
use crate::protocol::redis::resp::encode::write_error_line;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::resp::inspect::Header;
use crate::protocol::redis::resp::number::parse_cursor;
use crate::topology::ServerIndex;

/// The reason why a cursor is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CursorError {
    /// It is not a number, or missing.
    Invalid,
    /// It is from a scan of other servers.
    Stale,
}

/// Writes the request with the server's own cursor, and returns the server.
pub(crate) fn rewrite(
    frame: &[u8],
    servers: &[String],
    out: &mut BytesMut,
) -> Result<ServerIndex, CursorError> {
    let cursor = cursor_of(frame).ok_or(CursorError::Invalid)?;
    let (own, server) = decode(cursor, servers).ok_or(CursorError::Stale)?;
    write_with_cursor(frame, own, out);
    Ok(server)
}

/// The cursor of a request.
pub(crate) fn cursor_of(frame: &[u8]) -> Option<u64> {
    parse_cursor(Args::new(frame).nth(1)?)
}

/// Writes a request with this cursor.
pub(crate) fn write_with_cursor(frame: &[u8], own: u64, out: &mut BytesMut) {
    let mut args = Args::new(frame);
    args.next_span();
    let span = args.next_span().unwrap_or_default();
    let head = frame.get(..span.unit.start).unwrap_or_default();
    let tail = frame.get(span.unit.end..).unwrap_or_default();
    out.put_slice(head);
    write_bulk(own.to_string().as_bytes(), out);
    out.put_slice(tail);
}

/// Writes the reply of one server, with the cursor for the next request.
pub(crate) fn join(
    report: &FanOutReport<'_>,
    server: ServerIndex,
    mut replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let reply = match replies.pop().ok_or(UpstreamError::Dropped)? {
        Ok(reply) => reply,
        Err(error) if report.servers.len() > 1 => {
            report.write_missing(server, error, out);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if inspect::is_error(&reply) {
        out.share(reply);
        return Ok(());
    }
    let page = Page::read(&reply).ok_or(UpstreamError::Fragment)?;
    let Some(cursor) = next_cursor(page.own, server, report.servers) else {
        write_cursor_too_large(out.tail());
        return Ok(());
    };
    write_cursor(cursor, out.tail());
    out.share_part((&reply, page.keys_at, reply.len()));
    Ok(())
}

/// A server's reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// The server's cursor.
    pub(crate) own: u64,
    /// The start of the array of keys.
    pub(crate) keys_at: usize,
}

impl Page {
    /// `None` if it is no reply to SCAN.
    pub(crate) fn read(reply: &[u8]) -> Option<Self> {
        let header = Header::read(reply).filter(|header| header.count == 2)?;
        let first = inspect::elements(reply)?.next()?;
        let digits = inspect::bulk(first)?;
        Some(Self {
            own: str::from_utf8(digits).ok()?.parse().ok()?,
            keys_at: header.len + first.len(),
        })
    }
}

/// Writes the start of a reply, up to its keys.
pub(crate) fn write_cursor(cursor: u64, out: &mut BytesMut) {
    out.put_slice(b"*2\r\n");
    write_bulk(cursor.to_string().as_bytes(), out);
}

/// Writes that a cursor exceeds 64 bits.
pub(crate) fn write_cursor_too_large(out: &mut BytesMut) {
    let text = "ERR the cursor of this server is too large to encode the server in it; scan each server directly";
    write_error_line(&[text.as_bytes()], out);
}

/// The cursor of a server and its index, in a client's cursor; `None` if it is from a scan of other servers.
fn decode(cursor: u64, servers: &[String]) -> Option<(u64, ServerIndex)> {
    if cursor == 0 || servers.len() == 1 {
        return Some((cursor, ServerIndex::new(0)));
    }
    let (own, stop) = stops(servers)?.decode(cursor)?;
    Some((own, ServerIndex::new(u16::try_from(stop).ok()?)))
}

/// The client's cursor after a server's reply with its own cursor; `None` if it exceeds 64 bits.
fn next_cursor(own: u64, server: ServerIndex, servers: &[String]) -> Option<u64> {
    if servers.len() == 1 {
        return Some(own);
    }
    let stops = stops(servers)?;
    match stops.next(own, server.index()) {
        Some((own, stop)) => stops.encode(own, stop),
        None => Some(0),
    }
}

/// The servers in their order.
fn stops(servers: &[String]) -> Option<Stops> {
    Some(Stops {
        count: u64::try_from(servers.len()).ok()?,
        tags: TAGS,
        tag: tag(servers),
    })
}

/// A digest of the names of the servers in their order, the same in every proxy of the pool.
fn tag(servers: &[String]) -> u64 {
    let mut digest = FnvHasher::default();
    for name in servers {
        digest.write(name.as_bytes());
        digest.write_u8(0);
    }
    let digest = digest.finish();
    (digest ^ (digest >> 32)) % TAGS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("s{n}")).collect()
    }

    #[test]
    fn finished_server_moves_the_cursor_to_the_next() {
        let servers = servers(4);
        for (own, server, position) in [
            (0, 0, Some(1)),
            (0, 2, Some(3)),
            (0, 3, None),
            (7, 0, Some(28)),
            (7, 3, Some(31)),
        ] {
            let cursor = position.map_or(0, |position: u64| position * TAGS + tag(&servers));
            assert_eq!(
                next_cursor(own, ServerIndex::new(server), &servers),
                Some(cursor)
            );
        }
    }

    #[test]
    fn cursor_of_one_server_is_passed_on() {
        for cursor in [0, 1, 7, u64::MAX] {
            assert_eq!(
                next_cursor(cursor, ServerIndex::new(0), &servers(1)),
                Some(cursor)
            );
            let decoded = decode(cursor, &servers(1));
            assert_eq!(decoded, Some((cursor, ServerIndex::new(0))));
        }
    }

    #[test]
    fn cursor_that_does_not_fit_is_an_error() {
        let servers = servers(4);
        let largest = u64::MAX / TAGS / 4 - 1;
        assert!(next_cursor(largest, ServerIndex::new(3), &servers).is_some());
        assert_eq!(
            next_cursor(largest + 2, ServerIndex::new(0), &servers),
            None
        );
        assert_eq!(next_cursor(u64::MAX, ServerIndex::new(0), &servers), None);
    }

    #[test]
    fn cursor_from_other_servers_is_refused() {
        let before = servers(4);
        let mut renamed = before.clone();
        renamed[3] = "t3".into();
        let mut swapped = before.clone();
        swapped.swap(0, 1);
        let cursor = next_cursor(7, ServerIndex::new(2), &before).unwrap();
        assert_eq!(decode(cursor, &before), Some((7, ServerIndex::new(2))));
        for servers in [servers(5), servers(3), renamed, swapped] {
            assert_eq!(decode(cursor, &servers), None, "{servers:?}");
            assert!(decode(0, &servers).is_some(), "a scan begins anywhere");
        }
    }

    proptest! {
        #[test]
        fn cursor_encodes_its_server(own in 1_u64.., server in 0..2000_u16, more in 1_usize..2000) {
            let servers = servers(usize::from(server) + more);
            let Some(cursor) = next_cursor(own, ServerIndex::new(server), &servers) else {
                return Ok(());
            };
            let text = cursor.to_string();
            let frame = format!("*2\r\n$4\r\nSCAN\r\n${}\r\n{text}\r\n", text.len());
            let mut out = BytesMut::new();
            let found = rewrite(frame.as_bytes(), &servers, &mut out);
            prop_assert_eq!(found, Ok(ServerIndex::new(server)));
            let args: Vec<&[u8]> = Args::new(&out).collect();
            let own = own.to_string();
            prop_assert_eq!(args, [b"SCAN", own.as_bytes()]);
        }
    }
}
