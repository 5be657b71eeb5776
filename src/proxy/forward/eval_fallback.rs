//! EVALSHA with a fallback to EVAL, for a server that lacks the script.
//!
//! ```text
//! EVALSHA --> server --NOSCRIPT--> no later request to this server: EVAL, and its reply is returned
//!                                  else, or if keys have begun to move: the error is returned, and SCRIPT LOAD is sent
//!                                  for the next time
//! ```
//!
//! A server that lacks the script has executed nothing, so nothing is executed twice. Later requests of the same client
//! to this server must not be overtaken: the server would execute the first request last.

use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Scripts as _;
use crate::protocol::{Protocol, ScriptOp, Span, UpstreamError};
use crate::proxy::forward::fan_out::all_servers;
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::Seq;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::stats::CommandId;
use crate::topology::ServerIndex;

/// An EVALSHA that waits for its reply.
#[derive(Debug)]
pub(crate) struct EvalFallback<P: Protocol> {
    pub(crate) replies: Rc<ReplyQueue>,
    pub(crate) seq: Seq,
    pub(crate) command: CommandId,
    pub(crate) expect: P::Expect,
    /// Its connection, whose queue holds this.
    pub(crate) upstream: Weak<UpstreamConn<P>>,
    pub(crate) settings: Rc<P::Settings>,
    /// The request, as the client sent it.
    pub(crate) frame: Bytes,
    /// What the worker knew of moves of keys when it was sent.
    pub(crate) guard_changes: u64,
}

/// Sends a request that contains or names a script.
#[cold]
pub(crate) fn forward_script<P: Protocol>(
    fw: &Forwarder<P>,
    op: ScriptOp,
    owner: Option<ServerIndex>,
    outgoing: Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    if op == ScriptOp::EvalSha {
        return forward_with_fallback(fw, owner, &outgoing, now);
    }
    let frame = outgoing.frame.clone();
    let next = fw.forward(owner, outgoing, now);
    if next.is_taken() {
        P::Stateful::on_script(op, frame.bytes(), &fw.view.settings);
    }
    next
}

/// Sends a request to all servers that flushes their scripts.
#[cold]
pub(crate) fn flush_scripts<P: Protocol>(
    fw: &Forwarder<P>,
    spec: P::MergeSpec,
    frame: &[u8],
    outgoing: Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let next = all_servers(fw, spec, frame, outgoing, now);
    if next.is_taken() {
        P::Stateful::on_script(ScriptOp::Flush, frame, &fw.view.settings);
    }
    next
}

/// Sends a request as [`Forwarder::forward`] does, and keeps it for the case that its server lacks the script.
fn forward_with_fallback<P: Protocol>(
    fw: &Forwarder<P>,
    owner: Option<ServerIndex>,
    outgoing: &Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let (expect, command) = (outgoing.expect, outgoing.command);
    let Some(upstream) = owner.and_then(|owner| fw.upstream(owner)) else {
        return fw.fail(UpstreamError::Ejected, expect);
    };
    match upstream.admit(now) {
        Admission::Open => {
            let fallback = EvalFallback {
                replies: Rc::clone(&fw.replies),
                seq: fw.reserve(),
                command,
                expect,
                upstream: Rc::downgrade(upstream),
                settings: Rc::clone(&fw.view.settings),
                guard_changes: upstream.server.guard_changes(),
                frame: match &outgoing.frame {
                    Frame::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                    Frame::Shared(bytes) => bytes.clone(),
                },
            };
            let responder = Responder::handler(Rc::new(fallback), expect).of_command(command);
            upstream.forward(outgoing.frame.clone(), outgoing.stripped, responder, now);
            Dispatched::Taken
        }
        Admission::Full => Dispatched::Backpressure(Rc::clone(upstream)),
        Admission::Down(error) => fw.fail_at(&upstream.server, error, expect),
    }
}

impl<P: Protocol> EvalFallback<P> {
    /// Returns true if another reply will answer the request.
    fn fall_back(&self) -> bool {
        let expect = self.expect;
        let upstream = self.upstream.upgrade();
        let Some(upstream) = upstream.map(|upstream| upstream.latest()) else {
            return false;
        };
        let mut request = BytesMut::new();
        // After a hold has begun, nothing more may be sent for its keys.
        let may_stay = upstream.server.guard_changes() == self.guard_changes;
        let is_last = may_stay && !upstream.has_requests_of(&self.replies);
        let (is_known, responder) = if is_last {
            let is_known = P::Stateful::write_eval(&self.settings, &self.frame, &mut request);
            let responder = || {
                let replies = Rc::clone(&self.replies);
                Responder::whole(replies, self.seq, expect).of_command(self.command)
            };
            (is_known, is_known.then(responder))
        } else {
            let is_known = P::Stateful::write_script_load(
                &self.settings,
                P::Stateful::script_sha(&self.frame),
                &mut request,
            );
            (is_known, is_known.then(|| Responder::discard(expect)))
        };
        if let Some(responder) = responder {
            let frame = Frame::Shared(request.freeze());
            upstream.forward(frame, Span::default(), responder, Instant::now());
        }
        is_last && is_known
    }
}

impl<P: Protocol> ReplyHandler<P> for EvalFallback<P> {
    fn part(&self, part: &[u8]) {
        self.replies.part(self.seq, part);
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool) {
        if begun {
            self.replies.part(self.seq, reply.bytes());
            return self.replies.finish(self.seq);
        }
        if !(P::Stateful::is_noscript(reply.bytes()) && self.fall_back()) {
            self.replies.conclude::<P>((self.seq, self.command), reply);
        }
    }

    fn fail(self: Rc<Self>, error: UpstreamError, begun: bool) {
        let place = (self.seq, self.command);
        self.replies.fail::<P>(place, error, self.expect, begun);
    }

    fn fail_with(self: Rc<Self>, error: UpstreamError, text: &[u8], begun: bool) {
        if begun {
            return self.fail(error, begun);
        }
        self.replies.fail_with::<P>((self.seq, self.command), text);
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.replies)
    }

    /// Asked after a refused request only: a server that lacks the script does so in the order of the requests.
    fn may_be_sent_again(&self) -> bool {
        true
    }

    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.replies)
    }
}
