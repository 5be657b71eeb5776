//! The WATCH and MULTI state of a client: requests are queued, until EXEC sends them to their server.

use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{KeySpan, Protocol, ProxyReply, ScriptOp, Span, TxOp, UpstreamError};
use crate::protocol::{Scripts as _, Transactions as _};
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::exec_reply::{ExecReply, QueueError};
use crate::proxy::transaction::probe::TxProbe;
use crate::proxy::transaction::queue::{Transaction, TxPlacement};
use crate::proxy::transaction::watch::WatchState;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::upstream::loaded_scripts::LoadedScripts;
use crate::proxy::upstream::tx_support::{ProbeFailure, TxState};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::PoolMetric;
use crate::topology::ServerIndex;

/// A client's transaction, and the keys that it watches.
#[derive(Debug)]
pub(crate) struct TxSession<P: Protocol> {
    transaction: Option<Transaction>,
    watch: Option<WatchState<P>>,
    /// A released lease has requests in flight, which the next one must not overtake.
    fence: bool,
}

impl<P: Protocol> Default for TxSession<P> {
    fn default() -> Self {
        Self {
            transaction: None,
            watch: None,
            fence: false,
        }
    }
}

impl<P: Protocol> TxSession<P> {
    /// Executes MULTI, WATCH, EXEC or DISCARD.
    pub(crate) fn apply(
        &mut self,
        fw: &mut Forwarder<P>,
        op: &TxOp<P::Expect>,
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        match *op {
            TxOp::Multi => {
                P::Stateful::set_in_multi(&mut fw.client, true);
                let mut transaction = Transaction::begin::<P>();
                // The watch decides the server of the transaction, and the transaction fails with it.
                if let Some(watch) = self.watch.as_ref() {
                    transaction.pin_to(watch.home.clone());
                }
                self.transaction = Some(transaction);
                fw.answer(&buffers.reply, PoolMetric::RequestsLocal)
            }
            TxOp::Watch(expect) => self.watch(fw, frame, expect, buffers, now),
            TxOp::Exec(expect) => self.commit(fw, expect, buffers, now),
            TxOp::Discard => {
                self.forget_transaction(fw);
                self.unwatch(fw);
                fw.answer(&buffers.reply, PoolMetric::RequestsLocal)
            }
        }
    }

    /// Watches the keys of the request.
    fn watch(
        &mut self,
        fw: &mut Forwarder<P>,
        frame: Frame<'_>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let copy = |span: Span| Box::<[u8]>::from(span.of(frame.bytes()));
        let owner = match fw.common_owner(&buffers.keys, &frame) {
            Ok(Some(owner)) => owner,
            Ok(None) => return fw.fail(UpstreamError::Ejected, expect),
            Err(apart) => {
                let keys = apart.map(|key| key.of(frame.bytes()));
                return fw.refuse_cross_server(keys, buffers);
            }
        };
        let key = buffers
            .keys
            .first()
            .map_or_else(Box::default, |key| copy(key.key));
        let Some(server) = fw.view.id(owner) else {
            return fw.fail(UpstreamError::Ejected, expect);
        };
        match &self.watch {
            // The client must learn of that before it watches again, or it would take all keys as watched.
            Some(watch) if watch.is_lost() => {
                self.unwatch(fw);
                P::Stateful::write_proxy_reply(ProxyReply::WatchLost, &mut buffers.reply);
                return fw.answer(&buffers.reply, PoolMetric::ForwardError);
            }
            Some(watch) if watch.home.server != server => {
                return fw.refuse_cross_server([&watch.home.key, &key], buffers);
            }
            Some(watch) if watch.profile() != fw.profile => {
                P::Stateful::write_proxy_reply(ProxyReply::WatchedElsewhere, &mut buffers.reply);
                return fw.answer(&buffers.reply, PoolMetric::RequestsRefused);
            }
            Some(_) => {}
            None if !fw.replies.is_idle() => return Dispatched::Fence,
            None => {
                let lease = match fw.lease(owner) {
                    Ok(lease) => lease,
                    Err(denied) => return fw.deny(denied, expect, buffers),
                };
                if let Some(upstream) = lease.upstream()
                    && !matches!(upstream.tx_support.state(), TxState::Taken)
                {
                    // Later the probe would unwatch the keys.
                    TxProbe::send(upstream, now);
                }
                let epoch = fw.view.epoch();
                let placement = TxPlacement { server, key, epoch };
                fw.watched = lease
                    .upstream()
                    .map(|upstream| (server, fw.profile, Rc::clone(upstream)));
                self.watch = Some(WatchState::new(lease, placement, fw.profile));
            }
        }
        let outgoing = Outgoing {
            frame,
            stripped: Span::default(),
            expect,
            tag: P::CommandTag::default(),
        };
        fw.forward(Some(owner), outgoing, now)
    }

    /// Queues a request, if its keys are stored on the server of the previous ones.
    pub(crate) fn queue(
        &mut self,
        fw: &mut Forwarder<P>,
        keys: &[KeySpan],
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        if let Err([first, second]) = self.check_placement(fw, keys, &frame) {
            self.abort();
            return fw.refuse_cross_server([&first, &second], buffers);
        }
        let flow = fw.pool.flow;
        let has_room = self
            .transaction
            .as_mut()
            .is_none_or(|transaction| transaction.push(frame, &flow));
        if !has_room {
            let (bytes, requests) = (flow.transaction_bytes, flow.transaction_requests);
            return self.refuse(fw, ProxyReply::TooLarge(bytes, requests), buffers);
        }
        P::Stateful::write_proxy_reply(ProxyReply::Queued, &mut buffers.reply);
        fw.answer(&buffers.reply, PoolMetric::RequestsLocal)
    }

    /// Checks that all keys are stored on the server of the transaction; otherwise returns two that are not stored
    /// together.
    fn check_placement(
        &mut self,
        fw: &mut Forwarder<P>,
        keys: &[KeySpan],
        frame: &Frame<'_>,
    ) -> Result<(), [Box<[u8]>; 2]> {
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let copy = |span: Span| Box::<[u8]>::from(span.of(frame.bytes()));
        let owner = fw
            .common_owner(keys, frame)
            .map_err(|apart| apart.map(copy))?;
        let (epoch, is_random) = (fw.view.epoch(), fw.view.is_random());
        let owner = owner.and_then(|owner| fw.view.id(owner));
        let (Some(owner), Some(transaction)) = (owner, self.transaction.as_mut()) else {
            return Ok(());
        };
        match transaction.placement() {
            None => {
                transaction.pin_to(TxPlacement {
                    server: owner,
                    key: copy(first.key),
                    epoch,
                });
                Ok(())
            }
            // If the topology has changed meanwhile, the transaction fails as a whole.
            Some(placement)
                if placement.server == owner || placement.epoch != epoch || is_random =>
            {
                Ok(())
            }
            Some(placement) => Err([placement.key.clone(), copy(first.key)]),
        }
    }

    /// Refuses a request that cannot be queued.
    pub(crate) fn refuse(
        &mut self,
        fw: &Forwarder<P>,
        reply: ProxyReply,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        self.abort();
        // It may contain the rewritten request.
        buffers.reply.clear();
        P::Stateful::write_proxy_reply(reply, &mut buffers.reply);
        fw.answer(&buffers.reply, PoolMetric::RequestsRefused)
    }

    /// Executes the queued requests, or replies why not.
    fn commit(
        &mut self,
        fw: &mut Forwarder<P>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let epoch = fw.view.epoch();
        let placeholder = fw.view.route(P::PLACEHOLDER);
        let is_watching = self.watch.is_some();
        let reason = self
            .watch
            .as_ref()
            .and_then(|watch| watch.abort_reason(fw.profile));
        let Some(transaction) = self.transaction.as_mut() else {
            return Dispatched::Taken;
        };
        let placement = transaction.placement();
        let (reply, metric) = if transaction.is_aborted() {
            (ProxyReply::Aborted, PoolMetric::RequestsRefused)
        } else if placement.is_some_and(|placement| placement.epoch != epoch) {
            (ProxyReply::Moved, PoolMetric::ForwardError)
        } else if let Some(reason) = reason {
            (reason, PoolMetric::ForwardError)
        } else if transaction.is_empty() && !is_watching {
            (ProxyReply::Empty, PoolMetric::RequestsLocal)
        } else {
            let owner = match placement {
                Some(placement) => fw.view.index_of(placement.server),
                None => placeholder,
            };
            return self.send_batch(fw, owner, expect, buffers, now);
        };
        P::Stateful::write_proxy_reply(reply, &mut buffers.reply);
        self.forget_transaction(fw);
        self.unwatch(fw);
        fw.answer(&buffers.reply, metric)
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
        let upstream = owner.and_then(|owner| fw.upstream(owner)).cloned();
        let admission = upstream.as_ref().map(|upstream| upstream.admit(now));
        match (upstream, admission) {
            (Some(upstream), Some(Admission::Full)) => return Dispatched::Backpressure(upstream),
            (Some(upstream), Some(Admission::Open)) => {
                let is_watched = upstream.dedicated.is_some();
                let tx_state = if is_watched {
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
                    TxState::Unknown if is_watched => return self.discard(fw, &[], buffers),
                    TxState::Unknown => {
                        let failure = TxProbe::send(&upstream, now);
                        return self.stall(failure, upstream);
                    }
                    TxState::Asked(failure) => return self.stall(failure, upstream),
                }
                if let Some(transaction) = self.forget_transaction(fw) {
                    let seq = fw.reserve();
                    let queue_error = Rc::<QueueError>::default();
                    let exec = ExecReply {
                        replies: Rc::clone(&fw.replies),
                        seq,
                        expect,
                        queue_error: Rc::clone(&queue_error),
                        loaded_scripts: Self::ensure_loaded(
                            fw,
                            &upstream,
                            &transaction,
                            expect,
                            now,
                        ),
                    };
                    let each: Rc<dyn ReplyHandler<P>> = queue_error;
                    let last = Responder::handler(Rc::new(exec), expect);
                    if transaction.flushes_scripts() {
                        P::Stateful::on_script(ScriptOp::Flush, &[], &fw.pool.settings);
                    }
                    upstream.forward_batch(transaction.close::<P>(), &each, last, now);
                    if let Some(watch) = self.take_watch(fw) {
                        watch.release();
                    }
                }
                return Dispatched::Taken;
            }
            _ => {}
        }
        self.forget_transaction(fw);
        self.unwatch(fw);
        fw.fail(
            match admission {
                Some(Admission::Down(error)) => error,
                _ => UpstreamError::Ejected,
            },
            expect,
        )
    }

    /// Waits for the end of a probe.
    fn stall(&mut self, failure: Rc<ProbeFailure>, upstream: Rc<UpstreamConn<P>>) -> Dispatched<P> {
        if let Some(transaction) = self.transaction.as_mut() {
            transaction.wait_for(failure);
        }
        Dispatched::Backpressure(upstream)
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
            .keep_up(P::Stateful::flush_epoch(&fw.pool.settings));
        for sha in shas.iter().filter(|sha| !upstream.loaded_scripts.has(sha)) {
            let mut load = BytesMut::new();
            if P::Stateful::write_script_load(&fw.pool.settings, sha, &mut load) {
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
        fw.answer(&buffers.reply, PoolMetric::ForwardError)
    }

    /// Makes EXEC fail: a request could not be queued.
    pub(crate) fn abort(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.abort();
        }
    }

    /// Ends the transaction without sending it.
    pub(crate) fn forget_transaction(&mut self, fw: &mut Forwarder<P>) -> Option<Transaction> {
        P::Stateful::set_in_multi(&mut fw.client, false);
        self.transaction.take()
    }

    /// Unwatches the keys.
    pub(crate) fn unwatch(&mut self, fw: &mut Forwarder<P>) {
        if let Some(watch) = self.take_watch(fw) {
            watch.end(P::HANDSHAKE);
        }
    }

    /// Takes the watch. Its connection may have requests in flight, which no later request may overtake.
    fn take_watch(&mut self, fw: &mut Forwarder<P>) -> Option<WatchState<P>> {
        fw.watched = None;
        let watch = self.watch.take()?;
        self.fence = true;
        Some(watch)
    }

    /// Bytes of the queued commands.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.transaction
            .as_ref()
            .map_or(0, Transaction::queued_bytes)
    }

    /// Returns true if the client has begun a transaction.
    pub(crate) fn is_in_multi(&self) -> bool {
        self.transaction.is_some()
    }

    /// Notes the script operation of a queued request.
    pub(crate) fn note_script(&mut self, fw: &Forwarder<P>, op: ScriptOp, frame: &[u8]) {
        if let Some(transaction) = &mut self.transaction {
            match op {
                ScriptOp::EvalSha => transaction.note_script(P::Stateful::script_sha(frame)),
                // A later request of the transaction may name the script.
                ScriptOp::Eval => P::Stateful::on_script(op, frame, &fw.pool.settings),
                ScriptOp::Flush => transaction.note_flush(),
            }
        }
    }

    /// Returns true if the next request must wait for those in flight on a released lease.
    pub(crate) fn must_wait(&mut self, replies: &ReplyQueue) -> bool {
        self.fence = self.fence && !replies.is_idle();
        self.fence
    }

    /// Returns true if the client has no state that its next requests depend on.
    pub(crate) fn is_over(&self) -> bool {
        self.transaction.is_none() && self.watch.is_none() && !self.fence
    }
}
