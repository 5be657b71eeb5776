//! Requests in a transaction that the proxy answers itself: it does so when EXEC has succeeded, and not before.
//!
//! ```text
//! MULTI, SET a 1, CLIENT SETNAME x --> +OK, +QUEUED, +QUEUED
//! EXEC --> server --[+OK]--> DeferredExec: CLIENT SETNAME is executed --[+OK +OK]--> client
//! ```
//!
//! The client waits meanwhile, since its next requests depend on it.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::{
    Deferral, ErrorReplies as _, Merge as _, Plan, Protocol, Scan, Transactions as _, UpstreamError,
};
use crate::proxy::forward::Forwarder;
use crate::proxy::pool::dedicated::Lease;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::Seq;
use crate::proxy::transaction::queue::DeferredRequest;
use crate::proxy::transaction::watch::WatchState;

/// The wait for the reply to EXEC of a transaction with such requests.
#[derive(Debug)]
pub(crate) struct DeferredExec<P: Protocol> {
    reply: Rc<DeferredReply>,
    seq: Seq,
    requests: Vec<DeferredRequest>,
    /// The connection whose state the transaction changes; it is closed in the end.
    _used: (Option<Lease<P>>, Option<WatchState<P>>),
}

/// The server's reply to EXEC, as far as it has arrived.
#[derive(Debug)]
pub(crate) struct DeferredReply {
    replies: Rc<ReplyQueue>,
    state: RefCell<State>,
}

#[derive(Debug)]
enum State {
    Waiting(BytesMut),
    Answered(Bytes),
    /// The client has got an error.
    Failed,
}

impl DeferredReply {
    pub(crate) fn new(replies: &Rc<ReplyQueue>) -> Rc<Self> {
        Rc::new(Self {
            replies: Rc::clone(replies),
            state: RefCell::new(State::Waiting(BytesMut::new())),
        })
    }

    /// Appends a part of the reply; more follows.
    pub(crate) fn part(&self, part: &[u8]) {
        self.replies.hold_bytes(part.len());
        if let State::Waiting(reply) = &mut *self.state.borrow_mut() {
            reply.extend_from_slice(part);
        }
    }

    /// Ends the reply with these bytes, or without a reply.
    pub(crate) fn end(&self, rest: Option<&[u8]>) {
        let held = {
            let mut state = self.state.borrow_mut();
            let State::Waiting(reply) = &mut *state else {
                return;
            };
            let mut reply = mem::take(reply);
            let held = reply.len();
            *state = rest.map_or(State::Failed, |rest| {
                reply.extend_from_slice(rest);
                State::Answered(reply.freeze())
            });
            held
        };
        self.replies.release_bytes(held);
        self.replies.wake();
    }

    /// Takes the whole reply. `Err` if there is none, and none will come.
    fn take(&self) -> Result<Option<Bytes>, ()> {
        match &mut *self.state.borrow_mut() {
            State::Waiting(_) => Ok(None),
            State::Answered(reply) => Ok(Some(mem::take(reply))),
            State::Failed => Err(()),
        }
    }
}

impl<P: Protocol> DeferredExec<P> {
    /// Creates a wait that answers the client at `seq`. A connection in `used` is closed in the end.
    pub(crate) fn new(
        reply: Rc<DeferredReply>,
        seq: Seq,
        requests: Vec<DeferredRequest>,
        used: (Option<Lease<P>>, Option<WatchState<P>>),
    ) -> Self {
        Self {
            reply,
            seq,
            requests,
            _used: used,
        }
    }

    /// Answers the client once the server has. Returns true if the wait is over.
    pub(crate) fn poll(&mut self, fw: &mut Forwarder<P>) -> bool {
        let reply = match self.reply.take() {
            Ok(None) => return false,
            Ok(Some(reply)) => reply,
            Err(()) => return true,
        };
        let mut out = WriteBuf::new();
        match P::Stateful::exec_elements(&reply) {
            None => out.share(reply),
            Some(spans) => {
                let elements = spans
                    .into_iter()
                    .map(|span| reply.slice(span.start..span.end));
                self.merge(fw, elements.collect(), &mut out);
            }
        }
        fw.replies.complete_merged(self.seq, out);
        true
    }

    /// Writes the replies of the server and of the proxy, in the order of the requests.
    fn merge(&self, fw: &mut Forwarder<P>, elements: Vec<Bytes>, out: &mut WriteBuf) {
        let is_local = |request: &&DeferredRequest| request.deferral == Deferral::Local;
        let count = elements.len() + self.requests.iter().filter(is_local).count();
        P::Stateful::write_array_header(count, out.tail());
        let (mut elements, mut requests) = (elements.into_iter(), self.requests.iter().peekable());
        for at in 0..count {
            let Some(request) = requests.next_if(|request| request.at == at) else {
                out.share(elements.next().unwrap_or_default());
                continue;
            };
            let element = match request.deferral {
                Deferral::Local => None,
                Deferral::Sent | Deferral::Stateful => elements.next(),
            };
            match element {
                Some(error) if P::classify(&error).is_error() => out.share(error),
                element => Self::answer(fw, &request.frame, element, out),
            }
        }
    }

    /// Executes one request. `element` is the server's reply to it.
    fn answer(fw: &mut Forwarder<P>, frame: &Bytes, element: Option<Bytes>, out: &mut WriteBuf) {
        let pool = Rc::clone(&fw.pool);
        let mut buffers = pool.plan_buffers.take();
        let scan = P::scan_request(&mut P::RequestScanner::default(), frame, &pool.limits);
        let plan = match scan {
            Ok(Scan::Complete { found, .. }) => P::plan(
                &found,
                frame,
                &mut fw.client,
                &fw.view.settings,
                &mut buffers.keys,
                &mut buffers.reply,
            ),
            _ => Plan::Ignore,
        };
        let is_answered = match (plan, element) {
            (Plan::Reply | Plan::Error(_), _) => {
                out.copy(&buffers.reply);
                true
            }
            (Plan::ReplyAndClose, _) => {
                out.copy(&buffers.reply);
                // What follows in the transaction is executed, as in Redis.
                fw.replies.drain();
                true
            }
            (Plan::AllServers(spec, _), Some(element)) => {
                let context = P::Merge::merge_context(spec, frame, &[], &fw.view.settings);
                P::Merge::merge(&context, &[], vec![Ok(element)], out).is_ok()
            }
            _ => false,
        };
        if !is_answered {
            P::Errors::write_upstream_error(UpstreamError::Dropped, P::HANDSHAKE, out.tail());
        }
        buffers.clear();
        pool.plan_buffers.set(buffers);
    }
}
