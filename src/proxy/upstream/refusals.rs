//! Requests that a server may refuse, since it is no primary: what is refused is kept for the next one.
//!
//! ```text
//! A: SET k 1   B: EVAL   A: GET k  --> -READONLY :1 $3 old     B is answered; A gets nothing yet
//! next primary: SET k 1, GET k     --> +OK $1 1                so A's requests are executed in their order
//! ```
//!
//! Invariant: the requests of each client are executed in its order. If one was executed after others of the same client were
//! refused, those are not sent again, and their client gets the refusal; other clients are not concerned.

use bytes::Bytes;

use crate::buf::Frame;
use crate::protocol::Connections as _;
use crate::protocol::{Effect, Protocol, ReplyKind};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::in_flight::InFlight;
use crate::proxy::upstream::refused::Refused;
use crate::proxy::upstream::tx_replies::TxReplies;
use crate::stats::ServerMetric;

/// Those of one connection.
#[derive(Debug)]
pub(crate) struct Refusals<P: Protocol> {
    /// The server may refuse requests, which are sent again then.
    pub(crate) are_possible: bool,
    /// The replies to the requests of a transaction, until that to EXEC has come.
    tx_replies: TxReplies<P>,
    /// What the server has refused: nothing more is sent then, and the connection ends when all is answered.
    refused: Option<Box<Refused<P>>>,
}

impl<P: Protocol> Refusals<P> {
    /// None yet.
    pub(crate) fn new(upstream: &UpstreamConn<P>) -> Self {
        Self {
            are_possible: upstream.may_refuse(),
            tx_replies: TxReplies::default(),
            refused: None,
        }
    }

    /// Returns true if the server has refused requests: it takes no more.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Returns true if no reply is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.refused.is_none() && self.tx_replies.is_empty()
    }

    /// Gives what is kept to the next connection.
    pub(crate) fn hand_over(&mut self, upstream: &UpstreamConn<P>) {
        if let Some(refused) = self.refused.take() {
            upstream.put_unsent(refused.into_unsent());
        }
        drop(self.tx_replies.take());
        self.book(upstream, true);
    }

    /// Books what is in flight, and what is kept. `is_answered`: no reply is incomplete.
    pub(crate) fn book(&self, upstream: &UpstreamConn<P>, is_answered: bool) {
        let refused = self.refused.as_ref().map_or(0, |refused| refused.bytes());
        let kept = self.tx_replies.bytes() + refused;
        upstream.queue.borrow_mut().set_kept(kept, is_answered);
        upstream.book();
    }

    /// Completes a request. What is refused is kept for a server that is a primary, and with it the reads of the same client
    /// that came after it.
    #[inline(never)]
    pub(crate) fn complete(
        &mut self,
        upstream: &UpstreamConn<P>,
        current: InFlight<P>,
        reply: &[u8],
        kind: ReplyKind,
    ) {
        let is_exec = current.responder.is_exec();
        if is_exec || current.responder.is_in_transaction() {
            return self.complete_in_transaction(upstream, current, reply, kind);
        }
        if kind == ReplyKind::Value && self.refused.is_none() {
            return current.responder.complete(Frame::Borrowed(reply));
        }
        // The rest of a long reply may be the end of a value with any text.
        let error = if kind == ReplyKind::Value { &[] } else { reply };
        let effect = effect(upstream, &current, error);
        if effect == Effect::Refused {
            self.stop(upstream, reply);
        }
        if let Some(refused) = &mut self.refused {
            if effect == Effect::Refused && current.responder.may_be_sent_again()
                || effect == Effect::Read && refused.holds_back(&current.responder)
            {
                count(upstream);
                let request = upstream.last_taken().unwrap_or_default();
                return refused.push(vec![(current, request)]);
            }
            if effect == Effect::Changed {
                refused.answer_client_of(&current.responder);
            }
        }
        current.responder.note_error(reply);
        current.responder.complete(Frame::Borrowed(reply));
    }

    /// As [`Self::complete`], for a request of a transaction: EXEC tells whether it was executed.
    fn complete_in_transaction(
        &mut self,
        upstream: &UpstreamConn<P>,
        current: InFlight<P>,
        reply: &[u8],
        kind: ReplyKind,
    ) {
        let request = upstream.last_taken().unwrap_or_default();
        if !current.responder.is_exec() {
            return self.tx_replies.push(current, request, reply);
        }
        let error = if kind == ReplyKind::Value { &[] } else { reply };
        let refusal = self.tx_replies.refusal(error);
        if let Some(refusal) = &refusal {
            self.stop(upstream, refusal);
        }
        let effect = match effect(upstream, &current, error) {
            _ if refusal.is_some() => Effect::Refused,
            Effect::Changed => self.tx_replies.effect(current.responder.expect()),
            effect => effect,
        };
        if let Some(refused) = &mut self.refused {
            let is_read = effect == Effect::Read && refused.holds_back(&current.responder);
            if effect == Effect::Refused || is_read {
                count(upstream);
                let mut all = self.tx_replies.take();
                all.push((current, request));
                return refused.push(all);
            }
            if matches!(effect, Effect::Read | Effect::Changed) {
                refused.answer_client_of(&current.responder);
            }
        }
        self.tx_replies.complete();
        current.responder.complete(Frame::Borrowed(reply));
    }

    /// Passes on a part of a reply, unless its request is sent again.
    pub(crate) fn part(&self, upstream: &UpstreamConn<P>, current: &mut InFlight<P>, part: &[u8]) {
        let is_kept = self.refused.as_ref().is_some_and(|refused| {
            // A part is one of a value, with any text.
            let effect = || {
                if current.responder.is_exec() {
                    self.tx_replies.effect(current.responder.expect())
                } else {
                    effect(upstream, current, &[])
                }
            };
            refused.holds_back(&current.responder) && effect() == Effect::Read
        });
        if !is_kept {
            current.responder.part(part);
        }
    }

    /// Sends nothing more, since the server has refused a request with this reply.
    fn stop(&mut self, upstream: &UpstreamConn<P>, refusal: &[u8]) {
        if self.refused.is_none() {
            let rest = upstream.stop();
            self.refused = rest.map(|rest| Box::new(Refused::new(refusal, rest)));
        }
    }
}

/// The effect of the request that was taken last.
fn effect<P: Protocol>(upstream: &UpstreamConn<P>, request: &InFlight<P>, reply: &[u8]) -> Effect {
    let expect = request.responder.expect();
    let bytes: Option<Bytes> = upstream.last_taken();
    bytes.map_or(Effect::Changed, |bytes| {
        P::Stateful::effect(&bytes, expect, reply)
    })
}

fn count<P: Protocol>(upstream: &UpstreamConn<P>) {
    let cells = &upstream.server.cells;
    cells.bump(ServerMetric::RequestsRefused);
}
