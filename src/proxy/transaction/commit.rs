//! EXEC: sends the queued requests to their server, or replies why not.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Protocol, ProxyReply, ScriptOp, Span, UpstreamError};
use crate::protocol::{Scripts as _, Transactions as _};
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::deferred::{DeferredExec, DeferredReply};
use crate::proxy::transaction::exec_reply::{ExecReply, QueueError};
use crate::proxy::transaction::probe::TxProbe;
use crate::proxy::transaction::queue::Transaction;
use crate::proxy::transaction::session::{OwnLease, TxSession};
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::upstream::loaded_scripts::LoadedScripts;
use crate::proxy::upstream::tx_support::{ProbeFailure, TxState};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::RefusalReason;
use crate::topology::ServerIndex;

/// What a transaction that is not sent is counted as.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Answered,
    Failed,
    Refused(RefusalReason),
}

impl<P: Protocol> TxSession<P> {
    /// Executes the queued requests, or replies why not.
    pub(super) fn commit(
        &mut self,
        fw: &mut Forwarder<P>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        if P::Stateful::rights_changed(&fw.client) && self.has_lost_right(fw, buffers) {
            return self.fail_exec(fw, Ending::Refused(RefusalReason::Denied), buffers);
        }
        let placeholder = fw.view.route(P::PLACEHOLDER);
        let is_watching = self.watch.is_some();
        let has_moved = self.watch.as_ref().is_some_and(|watch| {
            let home = &watch.home;
            home.server_now(&fw.view) != Some(home.server)
        });
        let reason = self
            .watch
            .as_ref()
            .and_then(|watch| watch.abort_reason(fw.profile));
        let Some(transaction) = self.transaction.as_mut() else {
            return Dispatched::Taken;
        };
        let placement = transaction.placement();
        let server = placement.map(|placement| placement.server_now(&fw.view));
        let one_server = transaction
            .needs_one_server()
            .filter(|_| fw.view.server_count() != 1);
        let (reply, ending) = if transaction.is_aborted() {
            (
                ProxyReply::Aborted,
                Ending::Refused(RefusalReason::Transaction),
            )
        } else if let Some(refusal) = one_server.filter(|_| fw.view.is_moving) {
            buffers.reply.extend_from_slice(refusal);
            return self.fail_exec(fw, Ending::Refused(RefusalReason::Moving), buffers);
        } else if one_server.is_some() {
            (ProxyReply::Moved, Ending::Failed)
        } else if let Some(reason) = reason {
            (reason, Ending::Failed)
        } else if has_moved {
            // As if a watched key had changed: every client tries again then.
            P::Stateful::write_nil(&fw.client, &mut buffers.reply);
            return self.fail_exec(fw, Ending::Failed, buffers);
        } else if server == Some(None) {
            (ProxyReply::Moved, Ending::Failed)
        } else if transaction.is_empty() && !is_watching {
            (ProxyReply::Empty, Ending::Answered)
        } else {
            let owner = match server {
                Some(server) => server.and_then(|server| fw.view.index_of(server)),
                None => placeholder,
            };
            return self.send_batch(fw, owner, expect, buffers, now);
        };
        P::Stateful::write_proxy_reply(reply, &mut buffers.reply);
        self.fail_exec(fw, ending, buffers)
    }

    /// Returns true if a request may not be executed any more, and writes the reply.
    #[cold]
    fn has_lost_right(&self, fw: &Forwarder<P>, buffers: &mut PlanBuffers) -> bool {
        let requests = self.transaction.as_ref().map(Transaction::requests);
        requests.into_iter().flatten().any(|request| {
            let (client, settings) = (&fw.client, &fw.view.settings);
            P::Stateful::write_lost_right(client, settings, &request, &mut buffers.reply)
        })
    }

    /// Ends the transaction with the reply in `buffers`.
    fn fail_exec(
        &mut self,
        fw: &mut Forwarder<P>,
        ending: Ending,
        buffers: &PlanBuffers,
    ) -> Dispatched<P> {
        self.forget_transaction(fw);
        self.unwatch(fw);
        match ending {
            Ending::Answered => fw.answer(&buffers.reply),
            Ending::Failed => fw.fail_with(&buffers.reply),
            Ending::Refused(reason) => fw.refuse(&buffers.reply, reason),
        }
    }

    /// Sends the whole transaction.
    fn send_batch(
        &mut self,
        fw: &mut Forwarder<P>,
        owner: Option<ServerIndex>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        if let Some(error) = self
            .transaction
            .as_mut()
            .and_then(|transaction| transaction.lost())
        {
            self.forget_transaction(fw);
            self.unwatch(fw);
            return fw.fail(error, expect);
        }
        if self.is_deferred() && !fw.replies.is_idle() {
            return Dispatched::Fence;
        }
        let upstream = match self.connection(fw, owner, now) {
            Ok(upstream) => upstream,
            Err(denied) => {
                self.forget_transaction(fw);
                return fw.deny(denied, expect, buffers);
            }
        };
        let admission = upstream.as_ref().map(|upstream| upstream.admit(now));
        match (upstream, admission) {
            (Some(upstream), Some(Admission::Full)) => return Dispatched::Backpressure(upstream),
            (Some(upstream), Some(Admission::Down(error))) => {
                self.forget_transaction(fw);
                self.unwatch(fw);
                return fw.fail_at(&upstream.server, error, expect);
            }
            (Some(upstream), Some(Admission::Open)) => {
                let is_dedicated = upstream.dedicated.is_some();
                let is_watched = is_dedicated && self.lease.is_none();
                let tx_state = if is_dedicated {
                    upstream.tx_support.state()
                } else {
                    upstream.tx_support.state_at(now)
                };
                match tx_state {
                    TxState::Taken => {}
                    TxState::Refused(error, _) | TxState::Desynced(error, _) => {
                        return self.discard(fw, &error, buffers);
                    }
                    // Probing now would unwatch the keys.
                    TxState::Unknown if is_watched => {
                        P::Stateful::write_proxy_reply(ProxyReply::WatchLost, &mut buffers.reply);
                        return self.fail_exec(fw, Ending::Failed, buffers);
                    }
                    TxState::Unknown => {
                        let failure = TxProbe::send(&upstream, now);
                        return self.stall(failure, upstream);
                    }
                    TxState::Asked(failure) => return self.stall(failure, upstream),
                }
                self.send_to(&upstream, fw, expect, now);
                return Dispatched::Taken;
            }
            _ => {}
        }
        self.forget_transaction(fw);
        self.unwatch(fw);
        fw.fail(UpstreamError::Ejected, expect)
    }

    /// Returns true if the proxy answers a part of the transaction.
    fn is_deferred(&self) -> bool {
        self.transaction
            .as_ref()
            .is_some_and(Transaction::is_deferring)
    }

    /// Returns true if the transaction changes the state of its connection.
    fn is_stateful(&self) -> bool {
        self.transaction
            .as_ref()
            .is_some_and(Transaction::is_stateful)
    }

    /// The connection for the transaction. If it changes the state of its connection, that is a dedicated one: that of
    /// the watch, or one of its own.
    fn connection(
        &mut self,
        fw: &Forwarder<P>,
        owner: Option<ServerIndex>,
        now: Instant,
    ) -> Result<Option<Rc<UpstreamConn<P>>>, LeaseError> {
        let Some(owner) = owner else {
            return Ok(None);
        };
        if self.is_stateful()
            && self.watch.is_none()
            && let OwnLease::Ready(lease) = self.own_lease(fw, owner, now)?
        {
            self.lease = Some(lease);
        }
        let own = self.lease.as_ref().and_then(Lease::upstream);
        Ok(own.or_else(|| fw.upstream(owner)).cloned())
    }

    /// Sends the transaction over this connection.
    fn send_to(
        &mut self,
        upstream: &Rc<UpstreamConn<P>>,
        fw: &mut Forwarder<P>,
        expect: P::Expect,
        now: Instant,
    ) {
        let is_stateful = self.is_stateful();
        let lease = self.lease.take();
        let Some(mut transaction) = self.forget_transaction(fw) else {
            return;
        };
        let deferred = transaction
            .is_deferring()
            .then(|| DeferredReply::new(&fw.replies));
        let (seq, command) = (fw.reserve(), fw.command.get());
        let loads = Self::loads(fw, upstream, &transaction);
        let queue_error = Rc::new(QueueError::new(loads));
        let exec = ExecReply {
            replies: Rc::clone(&fw.replies),
            seq,
            command,
            expect,
            queue_error: Rc::clone(&queue_error),
            deferred: deferred.clone(),
            loaded_scripts: Self::ensure_loaded(fw, upstream, &transaction, expect, now),
        };
        let each: Rc<dyn ReplyHandler<P>> = queue_error;
        let last = Responder::handler(Rc::new(exec), expect).of_command(command);
        if transaction.flushes_scripts() {
            P::Stateful::on_script(ScriptOp::Flush, &[], &fw.view.settings);
        }
        let requests = transaction.take_deferred();
        upstream.forward_batch(transaction.close::<P>(), &each, last, now);
        let mut watch = self.take_watch(fw);
        if !is_stateful && let Some(watch) = watch.take() {
            watch.release();
        }
        self.deferred = deferred.map(|reply| {
            let used = (lease, watch);
            Box::new(DeferredExec::new(reply, seq, requests, used))
        });
    }

    /// Waits for the end of a probe.
    fn stall(&mut self, failure: Rc<ProbeFailure>, upstream: Rc<UpstreamConn<P>>) -> Dispatched<P> {
        if let Some(transaction) = self.transaction.as_mut() {
            transaction.wait_for(failure);
        }
        Dispatched::Backpressure(upstream)
    }

    /// The requests that load the scripts of a transaction which another server may get.
    fn loads(
        fw: &Forwarder<P>,
        upstream: &UpstreamConn<P>,
        transaction: &Transaction,
    ) -> Vec<Bytes> {
        let shas = transaction.noted_script().iter();
        let load = |sha: &[u8]| {
            let mut load = BytesMut::new();
            P::Stateful::write_script_load(&fw.view.settings, sha, &mut load).then(|| load.freeze())
        };
        shas.filter(|_| upstream.may_refuse())
            .filter_map(|sha| load(sha))
            .collect()
    }

    /// Loads the scripts of a transaction that the server may lack. Returns the loaded scripts of the connection.
    fn ensure_loaded(
        fw: &Forwarder<P>,
        upstream: &UpstreamConn<P>,
        transaction: &Transaction,
        expect: P::Expect,
        now: Instant,
    ) -> Option<Rc<LoadedScripts>> {
        let shas = transaction.noted_script();
        upstream
            .loaded_scripts
            .keep_up(P::Stateful::flush_epoch(&fw.view.settings));
        for sha in shas.iter().filter(|sha| !upstream.loaded_scripts.has(sha)) {
            let mut load = BytesMut::new();
            if P::Stateful::write_script_load(&fw.view.settings, sha, &mut load) {
                let frame = Frame::Shared(load.freeze());
                upstream.forward(frame, Span::default(), Responder::discard(expect), now);
                upstream.loaded_scripts.note(sha);
            }
        }
        (!shas.is_empty()).then(|| Rc::clone(&upstream.loaded_scripts))
    }

    /// Fails the transaction, with the error reply of a server that does not accept it.
    fn discard(
        &mut self,
        fw: &mut Forwarder<P>,
        error: &[u8],
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        let mut aborted = BytesMut::new();
        P::Stateful::write_proxy_reply(ProxyReply::Aborted, &mut aborted);
        if !P::Stateful::write_exec_abort(error, &aborted, &mut buffers.reply) {
            buffers.reply.extend_from_slice(&aborted);
        }
        self.forget_transaction(fw);
        self.unwatch(fw);
        fw.fail_with(&buffers.reply)
    }
}
