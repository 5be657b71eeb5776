//! What a new connection says to its server before the first request.
//!
//! Every step must be accepted; otherwise no request is sent at all, since it could land in the wrong database,
//! or be answered in another tongue than its client's.

use std::future::poll_fn;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use super::upstream::Loss;
use crate::buf::WriteBuf;
use crate::net::Stream;
use crate::protocol::{Fault, Greeted, Lane, Passed, Phrase, Protocol, ReplyKind};

/// Bytes of the longest reply to a step that is accepted.
const REPLY_BYTES: usize = 64 << 10;

/// Speaks the greeting of `P` over a fresh connection. If it `asks`, returns what the server calls it.
pub(super) async fn greet<P: Protocol>(
    stream: &mut Stream,
    settings: &P::Settings,
    lane: Lane,
    asks: bool,
) -> Result<Option<Bytes>, Loss> {
    let mut out = WriteBuf::new();
    let owed = P::write_greeting(settings, lane, out.tail());
    if asks {
        P::write_phrase(Phrase::Identify, out.tail());
    }
    while !out.is_empty() {
        poll_fn(|cx| out.poll_write(stream, cx))
            .await
            .map_err(|error| fault(&error))?;
    }
    let mut bytes = BytesMut::new();
    for _ in 0..owed {
        let (reply, kind) = read_reply::<P>(stream, &mut bytes).await?;
        match (P::greeted(&reply), kind) {
            (Greeted::Accepted, _) => {}
            // Clients would take it for an answer to what they asked.
            (Greeted::Refused, ReplyKind::Value) => return Err(Loss::Fault(Fault::BadReply)),
            (Greeted::Refused, _) => return Err(Loss::Reply(reply)),
        }
    }
    let identity = if asks {
        let (reply, _) = read_reply::<P>(stream, &mut bytes).await?;
        if P::turns_away(&reply) {
            return Err(Loss::Fault(Fault::TurnedAway));
        }
        Some(reply)
    } else {
        None
    };
    if bytes.is_empty() {
        Ok(identity)
    } else {
        Err(Loss::Fault(Fault::BadReply))
    }
}

async fn read_reply<P: Protocol>(
    stream: &mut Stream,
    bytes: &mut BytesMut,
) -> Result<(Bytes, ReplyKind), Loss> {
    let mut scanner = P::ReplyScanner::default();
    let mut passed = 0;
    loop {
        let rest = bytes.get(passed..).unwrap_or_default();
        match P::scan_reply(&mut scanner, rest, P::GREETING) {
            Ok(Passed::Whole { len, kind, .. }) => {
                return Ok((bytes.split_to(passed + len).freeze(), kind));
            }
            Ok(Passed::Part { len }) => passed += len,
            Err(_) => return Err(Loss::Fault(Fault::BadReply)),
        }
        if bytes.len() > REPLY_BYTES {
            return Err(Loss::Fault(Fault::BadReply));
        }
        if stream
            .read_buf(bytes)
            .await
            .map_err(|error| fault(&error))?
            == 0
        {
            return Err(Loss::Fault(Fault::Closed));
        }
    }
}

fn fault(error: &io::Error) -> Loss {
    Loss::Fault(Fault::from(error))
}
