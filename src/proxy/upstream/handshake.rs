//! The handshake of a new connection: what it says to its server before the first request.
//!
//! Every step must be accepted; otherwise no request is sent at all, since it could land in the wrong database,
//! or be answered in another version of the protocol than its client's.

use std::future::poll_fn;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::net::Stream;
use crate::protocol::Transactions as _;
use crate::protocol::{ConnProfile, Passed, Phrase, Protocol, ReplyKind, UpstreamError};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::io::{connect, open_by};
use crate::proxy::upstream::tx_support::{PROBE, ProbeReplies, ProbeResult};

/// Bytes of the longest reply to a step that is accepted.
const REPLY_BYTES: usize = 64 << 10;

/// Connects and shakes hands, within the time that the front request has.
pub(crate) async fn open<P: Protocol>(upstream: &UpstreamConn<P>) -> Result<Stream, Disconnect> {
    let server = &upstream.server;
    let opening = async {
        let mut stream = connect(server).await?;
        let dedicated = upstream.dedicated.as_deref();
        let asks = HandshakeQueries {
            server_client_id: dedicated.is_some(),
            tx_support: dedicated.is_none() && upstream.tx_support.is_wanted(),
        };
        let answers = handshake::<P>(&mut stream, &server.settings, upstream.profile, asks).await?;
        if let Some(verdict) = answers.verdict {
            upstream.tx_support.set(&verdict);
            match verdict {
                ProbeResult::Refused(words) if upstream.has_batches() => {
                    return Err(Disconnect::NoTransactions(words));
                }
                ProbeResult::Desynced(words) => return Err(Disconnect::NoTransactions(words)),
                ProbeResult::Refused(_) | ProbeResult::Taken => {}
            }
        }
        if let (Some(dedicated), Some(identity)) = (dedicated, answers.server_client_id) {
            stream
                .watch_peer()
                .map_err(|error| Disconnect::Error(UpstreamError::from(&error)))?;
            // It is asked once.
            let _ = dedicated.server_client_id.set(identity);
        }
        Ok(stream)
    };
    let deadline = server.timeout.map(|timeout| {
        let since = upstream.front_since().unwrap_or_else(Instant::now);
        since + timeout
    });
    open_by(deadline, opening).await
}

/// What a new connection asks besides.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HandshakeQueries {
    /// What the server calls it.
    pub(crate) server_client_id: bool,
    /// Whether it takes transactions.
    pub(crate) tx_support: bool,
}

/// What the server said to that.
#[derive(Debug, Default)]
pub(crate) struct HandshakeInfo {
    pub(crate) server_client_id: Option<Bytes>,
    pub(crate) verdict: Option<ProbeResult>,
}

/// Shakes hands as `P` does over a new connection.
pub(crate) async fn handshake<P: Protocol>(
    stream: &mut Stream,
    settings: &P::Settings,
    profile: ConnProfile,
    asks: HandshakeQueries,
) -> Result<HandshakeInfo, Disconnect> {
    let mut out = WriteBuf::new();
    let owed = P::write_handshake(settings, profile, out.tail());
    if asks.server_client_id {
        P::Stateful::write_server_command(Phrase::ClientId, out.tail());
    }
    let questions = asks.tx_support.then_some(PROBE).into_iter().flatten();
    for question in questions.clone() {
        P::Stateful::write_server_command(question, out.tail());
    }
    while !out.is_empty() {
        poll_fn(|cx| out.poll_write(stream, cx))
            .await
            .map_err(|error| fault(&error))?;
    }
    let mut bytes = BytesMut::new();
    for _ in 0..owed {
        let (reply, kind) = read_reply::<P>(stream, &mut bytes).await?;
        match (P::classify(&reply).is_accepted(), kind) {
            (true, _) => {}
            // Clients would take it for an answer to what they asked.
            (false, ReplyKind::Value) => {
                return Err(Disconnect::Error(UpstreamError::BadReply));
            }
            (false, _) => return Err(Disconnect::Refused(reply)),
        }
    }
    let mut answers = HandshakeInfo::default();
    if asks.server_client_id {
        let (reply, _) = read_reply::<P>(stream, &mut bytes).await?;
        if P::classify(&reply).is_max_clients() {
            return Err(Disconnect::Error(UpstreamError::MaxClients));
        }
        answers.server_client_id = Some(reply);
    }
    let mut probe_replies = ProbeReplies::default();
    for _ in questions {
        let (reply, _) = read_reply::<P>(stream, &mut bytes).await?;
        if P::classify(&reply).is_max_clients() {
            return Err(Disconnect::Error(UpstreamError::MaxClients));
        }
        answers.verdict = probe_replies.note::<P>(&reply);
    }
    if bytes.is_empty() {
        Ok(answers)
    } else {
        Err(Disconnect::Error(UpstreamError::BadReply))
    }
}

async fn read_reply<P: Protocol>(
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
            .map_err(|error| fault(&error))?
            == 0
        {
            return Err(Disconnect::Error(UpstreamError::Closed));
        }
    }
}

fn fault(error: &io::Error) -> Disconnect {
    Disconnect::Error(UpstreamError::from(error))
}
