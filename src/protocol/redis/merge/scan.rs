//! `SCAN`: server after server, in one cursor.
//!
//! ```text
//! client's cursor = server's cursor * servers + index of the server
//! ```
//!
//! A server that says 0 is done, and the next one begins at its own 0; 0 reaches the client only behind the last server.
//! So the proxy remembers nothing, and any proxy of the pool can go on.

use bytes::{BufMut, Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::write_bulk;
use crate::protocol::redis::resp::encode::write_error_line;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::resp::inspect::Header;
use crate::protocol::redis::resp::number::parse_cursor;

/// Writes the request with the cursor as its server knows it, and returns the server. `None` where it is no cursor.
pub(crate) fn rewrite(frame: &[u8], servers: usize, out: &mut BytesMut) -> Option<u16> {
    let mut args = Args::new(frame);
    args.next_span()?;
    let span = args.next_span()?;
    let servers = u64::try_from(servers).ok().filter(|servers| *servers > 0)?;
    let cursor = parse_cursor(span.key.of(frame))?;
    let own = (cursor / servers).to_string();
    out.put_slice(frame.get(..span.unit.start)?);
    write_bulk(own.as_bytes(), out);
    out.put_slice(frame.get(span.unit.end..)?);
    u16::try_from(cursor % servers).ok()
}

/// The reply of one server, with the cursor that says where to go on.
pub(crate) fn join(
    asked: &FanOutReport<'_>,
    server: u16,
    mut replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let reply = match replies.pop().ok_or(UpstreamError::Dropped)? {
        Ok(reply) => reply,
        Err(error) if asked.servers.len() > 1 => {
            asked.write_missing(server, error, out);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if inspect::is_error(&reply) {
        out.share(reply);
        return Ok(());
    }
    let header = Header::read(&reply).filter(|header| header.count == 2);
    let header = header.ok_or(UpstreamError::Fragment)?;
    let first = inspect::elements(&reply).and_then(|mut elements| elements.next());
    let first = first.ok_or(UpstreamError::Fragment)?;
    let own = inspect::bulk(first).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    let Some(cursor) = next_cursor(
        own.ok_or(UpstreamError::Fragment)?,
        server,
        asked.servers.len(),
    ) else {
        let text = "ERR the cursor of this server is too large to encode the server in it; scan each server directly";
        write_error_line(&[text.as_bytes()], out.tail());
        return Ok(());
    };
    let cursor = cursor.to_string();
    out.copy(b"*2\r\n");
    write_bulk(cursor.as_bytes(), out.tail());
    out.share_part((&reply, header.len + first.len(), reply.len()));
    Ok(())
}

/// Where the scan goes on; `None` where the number does not fit.
fn next_cursor(own: u64, server: u16, servers: usize) -> Option<u64> {
    let next = usize::from(server) + 1;
    match own {
        0 if next < servers => u64::try_from(next).ok(),
        0 => Some(0),
        _ => own
            .checked_mul(u64::try_from(servers).ok()?)?
            .checked_add(server.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finished_server_moves_the_cursor_to_the_next() {
        for (own, server, servers, expected) in [
            (0, 0, 4, Some(1)),
            (0, 2, 4, Some(3)),
            (0, 3, 4, Some(0)),
            (0, 0, 1, Some(0)),
            (7, 0, 4, Some(28)),
            (7, 3, 4, Some(31)),
            (u64::MAX, 0, 1, Some(u64::MAX)),
            (u64::MAX / 4, 3, 4, Some(u64::MAX)),
            (u64::MAX / 4 + 1, 0, 4, None),
        ] {
            assert_eq!(next_cursor(own, server, servers), expected);
        }
    }

    proptest! {
        #[test]
        fn cursor_encodes_its_server(own in 1_u64.., server: u16, more in 1_usize..2000) {
            let servers = usize::from(server) + more;
            let Some(cursor) = next_cursor(own, server, servers) else {
                return Ok(());
            };
            let text = cursor.to_string();
            let frame = format!("*2\r\n$4\r\nSCAN\r\n${}\r\n{text}\r\n", text.len());
            let mut out = BytesMut::new();
            prop_assert_eq!(rewrite(frame.as_bytes(), servers, &mut out), Some(server));
            let args: Vec<&[u8]> = Args::new(&out).collect();
            let own = own.to_string();
            prop_assert_eq!(args, [b"SCAN", own.as_bytes()]);
        }
    }
}
