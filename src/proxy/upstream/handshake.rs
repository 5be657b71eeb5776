//! What a new connection says to its server before the first request.
//!
//! Every step must be accepted; otherwise no request is sent at all, since it could land in the wrong database,
//! or be answered in another tongue than its client's.

use std::future::poll_fn;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use crate::buf::WriteBuf;
use crate::net::Stream;
use crate::protocol::{Fault, Greeted, Lane, Passed, Phrase, Protocol, ReplyKind};
use crate::proxy::transaction::probe::{Hearing, QUESTIONS, Verdict};
use crate::proxy::upstream::conn::Upstream;
use crate::proxy::upstream::disconnect::Loss;
use crate::stats::ServerMetric;

/// Bytes of the longest reply to a step that is accepted.
const REPLY_BYTES: usize = 64 << 10;

/// Connects and greets, within the time that the front request has.
pub(crate) async fn open<P: Protocol>(upstream: &Upstream<P>) -> Result<Stream, Loss> {
    let target = &upstream.target;
    target.cells.bump(ServerMetric::Connects);
    let opening = async {
        let mut stream = Stream::connect(&target.address, target.keepalive)
            .await
            .map_err(|error| Loss::Fault(Fault::from(&error)))?;
        let exclusive = upstream.exclusive.as_deref();
        let asks = Asks {
            identity: exclusive.is_some(),
            trial: exclusive.is_none() && upstream.trial.is_wanted(),
        };
        let answers = greet::<P>(&mut stream, &target.settings, upstream.lane, asks).await?;
        if let Some(verdict) = answers.verdict {
            upstream.trial.set(&verdict);
            match verdict {
                Verdict::Refused(words) if upstream.has_blocks() => {
                    return Err(Loss::Untaken(words));
                }
                Verdict::Stuck(words) => return Err(Loss::Untaken(words)),
                Verdict::Refused(_) | Verdict::Taken => {}
            }
        }
        if let (Some(exclusive), Some(identity)) = (exclusive, answers.identity) {
            stream
                .watch_peer()
                .map_err(|error| Loss::Fault(Fault::from(&error)))?;
            // It is asked once.
            let _ = exclusive.identity.set(identity);
        }
        Ok(stream)
    };
    match target.timeout {
        Some(timeout) => {
            let since = upstream.front_since().unwrap_or_else(Instant::now);
            timeout_at(since + timeout, opening)
                .await
                .unwrap_or(Err(Loss::Fault(Fault::TimedOut)))
        }
        None => opening.await,
    }
}

/// What a new connection asks besides.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asks {
    /// What the server calls it.
    pub(crate) identity: bool,
    /// Whether it takes transactions.
    pub(crate) trial: bool,
}

/// What the server said to that.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) identity: Option<Bytes>,
    pub(crate) verdict: Option<Verdict>,
}

/// Speaks the greeting of `P` over a fresh connection.
pub(crate) async fn greet<P: Protocol>(
    stream: &mut Stream,
    settings: &P::Settings,
    lane: Lane,
    asks: Asks,
) -> Result<Answers, Loss> {
    let mut out = WriteBuf::new();
    let owed = P::write_greeting(settings, lane, out.tail());
    if asks.identity {
        P::write_phrase(Phrase::Identify, out.tail());
    }
    let questions = asks.trial.then_some(QUESTIONS).into_iter().flatten();
    for question in questions.clone() {
        P::write_phrase(question, out.tail());
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
    let mut answers = Answers::default();
    if asks.identity {
        let (reply, _) = read_reply::<P>(stream, &mut bytes).await?;
        if P::turns_away(&reply) {
            return Err(Loss::Fault(Fault::TurnedAway));
        }
        answers.identity = Some(reply);
    }
    let mut hearing = Hearing::default();
    for _ in questions {
        let (reply, _) = read_reply::<P>(stream, &mut bytes).await?;
        if P::turns_away(&reply) {
            return Err(Loss::Fault(Fault::TurnedAway));
        }
        answers.verdict = hearing.note::<P>(&reply);
    }
    if bytes.is_empty() {
        Ok(answers)
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
