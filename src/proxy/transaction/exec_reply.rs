//! The reply to EXEC, and the server's replies to the commands of its block.
//!
//! ```text
//! MULTI a b --> +OK +QUEUED -ERR ...      QueueError keeps the first error
//! EXEC -------> -EXECABORT                ExecReply answers, with that error in it
//! ```

use std::cell::OnceCell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::buf::Frame;
use crate::protocol::{Protocol, UpstreamError};
use crate::protocol::{Scripts as _, Transactions as _};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::Seq;
use crate::proxy::transaction::deferred::DeferredReply;
use crate::proxy::upstream::loaded_scripts::LoadedScripts;
use crate::stats::CommandId;

/// Answers the client that sent EXEC.
pub(crate) struct ExecReply<P: Protocol> {
    pub(crate) replies: Rc<ReplyQueue>,
    pub(crate) seq: Seq,
    pub(crate) command: CommandId,
    pub(crate) expect: P::Expect,
    pub(crate) queue_error: Rc<QueueError>,
    /// Receives the reply in place of the client, if the proxy answers a part of the transaction.
    pub(crate) deferred: Option<Rc<DeferredReply>>,
    /// The loaded scripts of the connection, if the transaction runs any.
    pub(crate) loaded_scripts: Option<Rc<LoadedScripts>>,
}

/// The first error with which a server did not queue a command of a transaction. Shared by the whole block.
#[derive(Debug, Default)]
pub(crate) struct QueueError {
    error: OnceCell<Bytes>,
    /// Loads the scripts of the transaction, for another server that gets it.
    loads: Vec<Bytes>,
}

impl QueueError {
    /// None yet.
    pub(crate) fn new(loads: Vec<Bytes>) -> Self {
        let error = OnceCell::new();
        Self { error, loads }
    }
}

impl<P: Protocol> ExecReply<P> {
    /// Notes if the server has lost a script that was loaded. A line of a reply is never cut between two parts.
    fn note_noscript(&self, part: &[u8]) {
        if let Some(loaded_scripts) = &self.loaded_scripts
            && P::Stateful::contains_noscript(part)
        {
            // The next transaction loads them again.
            loaded_scripts.forget();
        }
    }
}

impl<P: Protocol> ReplyHandler<P> for ExecReply<P> {
    fn part(&self, part: &[u8]) {
        self.note_noscript(part);
        match &self.deferred {
            Some(deferred) => deferred.part(part),
            None => self.replies.part(self.seq, part),
        }
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool) {
        self.note_noscript(reply.bytes());
        if begun && self.deferred.is_none() {
            self.replies.part(self.seq, reply.bytes());
            return self.replies.finish(self.seq);
        }
        let mut abort = BytesMut::new();
        let reply = match self.queue_error.error.get() {
            Some(error) if P::Stateful::write_exec_abort(error, reply.bytes(), &mut abort) => {
                Frame::Borrowed(&abort)
            }
            _ => reply,
        };
        match &self.deferred {
            Some(deferred) => deferred.end(Some(reply.bytes())),
            None => self.replies.conclude::<P>((self.seq, self.command), reply),
        }
    }

    fn fail(self: Rc<Self>, error: UpstreamError, begun: bool) {
        // The client has got nothing of a deferred reply.
        let begun = begun && self.deferred.is_none();
        let place = (self.seq, self.command);
        self.replies.fail::<P>(place, error, self.expect, begun);
        if let Some(deferred) = &self.deferred {
            deferred.end(None);
        }
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.replies)
    }

    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.replies)
    }

    fn is_exec(&self) -> bool {
        true
    }
}

impl<P: Protocol> ReplyHandler<P> for QueueError {
    /// Does nothing: a status or an error does not arrive in parts.
    fn part(&self, _part: &[u8]) {}

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        if !P::classify(reply.bytes()).is_accepted() {
            // The first one counts.
            let _ = self.error.set(Bytes::copy_from_slice(reply.bytes()));
        }
    }

    /// EXEC fails with the same connection, and answers.
    fn fail(self: Rc<Self>, _error: UpstreamError, _begun: bool) {}

    fn fail_with(self: Rc<Self>, _error: UpstreamError, _text: &[u8], _begun: bool) {}

    fn prerequisites(&self) -> &[Bytes] {
        &self.loads
    }
}
