//! Exchanges with a server on a new connection, before it is used for requests.

use std::future::poll_fn;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::buf::WriteBuf;
use crate::net::Stream;
use crate::protocol::{Passed, Protocol, ReplyKind, UpstreamError};
use crate::proxy::upstream::disconnect::Disconnect;

/// Maximum size of a reply.
const REPLY_BYTES: usize = 1 << 20;

/// Reads that many replies, and nothing behind them.
pub(crate) async fn read_replies<P: Protocol>(
    stream: &mut Stream,
    count: usize,
) -> Result<Vec<Bytes>, Disconnect> {
    let mut bytes = BytesMut::new();
    let mut replies = Vec::with_capacity(count);
    for _ in 0..count {
        replies.push(read_reply::<P>(stream, &mut bytes).await?.0);
    }
    if bytes.is_empty() {
        Ok(replies)
    } else {
        Err(Disconnect::Error(UpstreamError::BadReply))
    }
}

/// Writes all of a buffer.
pub(crate) async fn write_all(out: &mut WriteBuf, stream: &mut Stream) -> Result<(), Disconnect> {
    while !out.is_empty() {
        poll_fn(|cx| out.poll_write(stream, cx))
            .await
            .map_err(|error| io_error(&error))?;
    }
    Ok(())
}

/// Reads one reply; `bytes` is what was read behind the one before.
pub(crate) async fn read_reply<P: Protocol>(
    stream: &mut Stream,
    bytes: &mut BytesMut,
) -> Result<(Bytes, ReplyKind), Disconnect> {
    let mut scanner = P::ReplyScanner::default();
    let mut passed = 0;
    loop {
        let rest = bytes.get(passed..).unwrap_or_default();
        match P::scan_reply(&mut scanner, rest, P::HANDSHAKE) {
            Ok(Passed::Whole { len, kind, .. }) => {
                return Ok((bytes.split_to(passed + len).freeze(), kind));
            }
            Ok(Passed::Part { len }) => passed += len,
            Err(_) => return Err(Disconnect::Error(UpstreamError::BadReply)),
        }
        if bytes.len() > REPLY_BYTES {
            return Err(Disconnect::Error(UpstreamError::BadReply));
        }
        if stream
            .read_buf(bytes)
            .await
            .map_err(|error| io_error(&error))?
            == 0
        {
            return Err(Disconnect::Error(UpstreamError::Closed));
        }
    }
}

fn io_error(error: &io::Error) -> Disconnect {
    Disconnect::Error(UpstreamError::from(error))
}
