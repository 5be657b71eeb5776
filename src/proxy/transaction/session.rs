//! What a client has begun with WATCH and MULTI: requests are queued, until EXEC sends them to their server.

use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{KeySpan, Phrase, Protocol, ScriptOp, Span, TxOp, UpstreamError};
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
use crate::topology::ServerId;

/// A client's transaction, and the keys that it watches.
#[derive(Debug)]
pub(crate) struct TxSession<P: Protocol> {
    transaction: Option<Transaction>,
    watch: Option<WatchState<P>>,
    /// A lease that was given back has requests in flight, which the next one must not overtake.
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
    /// A transaction begins or ends.
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
                // What is watched decides where the transaction goes, and fails with it.
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

    /// Watches the keys in the list.
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
        match &self.watch {
            // It must hear of that before it watches anew, or it would take all for watched.
            Some(watch) if watch.is_lost() => {
                self.unwatch(fw);
                P::Stateful::write_server_command(Phrase::WatchLost, &mut buffers.reply);
                return fw.answer(&buffers.reply, PoolMetric::ForwardError);
            }
            Some(watch) if watch.home.server != owner => {
                return fw.refuse_cross_server([&watch.home.key, &key], buffers);
            }
            Some(watch) if watch.profile() != fw.profile => {
                P::Stateful::write_server_command(Phrase::WatchedElsewhere, &mut buffers.reply);
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
                    && !matches!(upstream.tx_support.standing(), TxState::Taken)
                {
                    // Later it would forget what is watched.
                    TxProbe::send(upstream, now);
                }
                let epoch = fw.backends.epoch();
                let home = TxPlacement {
                    server: owner,
                    key,
                    epoch,
                };
                fw.watched = lease
                    .upstream()
                    .map(|upstream| (owner, fw.profile, Rc::clone(upstream)));
                self.watch = Some(WatchState::new(lease, home, fw.profile));
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

    /// Queues a request, if its keys live where those before it live.
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
            return self.refuse(fw, Phrase::TooLarge(bytes, requests), buffers);
        }
        P::Stateful::write_server_command(Phrase::Queued, &mut buffers.reply);
        fw.answer(&buffers.reply, PoolMetric::RequestsLocal)
    }

    /// Whether all keys live where the transaction does; otherwise two that do not live together.
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
        let (epoch, is_random) = (fw.backends.epoch(), fw.backends.is_random());
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
            // Where the servers have changed meanwhile, the transaction fails as a whole.
            Some(placement)
                if placement.server == owner || placement.epoch != epoch || is_random =>
            {
                Ok(())
            }
            Some(placement) => Err([placement.key.clone(), copy(first.key)]),
        }
    }

    /// Answers a request that cannot be queued.
    pub(crate) fn refuse(
        &mut self,
        fw: &Forwarder<P>,
        phrase: Phrase,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        self.abort();
        // A request that would have gone out in other words lies there.
        buffers.reply.clear();
        P::Stateful::write_server_command(phrase, &mut buffers.reply);
        fw.answer(&buffers.reply, PoolMetric::RequestsRefused)
    }

    /// Carries out what was queued, or says why not.
    fn commit(
        &mut self,
        fw: &mut Forwarder<P>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let epoch = fw.backends.epoch();
        let placeholder = fw.backends.route(P::PLACEHOLDER);
        let is_watching = self.watch.is_some();
        let reason = self
            .watch
            .as_ref()
            .and_then(|watch| watch.abort_reason(fw.profile));
        let Some(transaction) = self.transaction.as_mut() else {
            return Dispatched::Taken;
        };
        let placement = transaction.placement();
        let (phrase, metric) = if transaction.is_aborted() {
            (Phrase::Aborted, PoolMetric::RequestsRefused)
        } else if placement.is_some_and(|placement| placement.epoch != epoch) {
            (Phrase::Moved, PoolMetric::ForwardError)
        } else if let Some(reason) = reason {
            (reason, PoolMetric::ForwardError)
        } else if transaction.is_empty() && !is_watching {
            (Phrase::Empty, PoolMetric::RequestsLocal)
        } else {
            let owner = placement.map(|placement| placement.server).or(placeholder);
            return self.send_batch(fw, owner, expect, buffers, now);
        };
        P::Stateful::write_server_command(phrase, &mut buffers.reply);
        self.forget_transaction(fw);
        self.unwatch(fw);
        fw.answer(&buffers.reply, metric)
    }

    /// Sends the whole transaction on its way.
    fn send_batch(
        &mut self,
        fw: &mut Forwarder<P>,
        owner: Option<ServerId>,
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
                let standing = if is_watched {
                    upstream.tx_support.standing()
                } else {
                    upstream.tx_support.standing_at(now)
                };
                match standing {
                    TxState::Taken => {}
                    TxState::Refused(words, _) | TxState::Desynced(words, _) => {
                        return self.discard(fw, &words, buffers);
                    }
                    // To ask now would forget what is watched.
                    TxState::Unknown if is_watched => return self.discard(fw, &[], buffers),
                    TxState::Unknown => {
                        let fate = TxProbe::send(&upstream, now);
                        return self.stall(fate, upstream);
                    }
                    TxState::Asked(fate) => return self.stall(fate, upstream),
                }
                if let Some(mut transaction) = self.forget_transaction(fw) {
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
                    for (op, request) in transaction.take_script_ops() {
                        P::Stateful::on_script(op, &request, &fw.pool.settings);
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

    /// Waits for the end of a trial.
    fn stall(&mut self, fate: Rc<ProbeFailure>, upstream: Rc<UpstreamConn<P>>) -> Dispatched<P> {
        if let Some(transaction) = self.transaction.as_mut() {
            transaction.wait_for(fate);
        }
        Dispatched::Backpressure(upstream)
    }

    /// Gives the server what a transaction refers to, if it may lack it. Returns where that is noted.
    fn ensure_loaded(
        fw: &Forwarder<P>,
        upstream: &UpstreamConn<P>,
        transaction: &Transaction,
        expect: P::Expect,
        now: Instant,
    ) -> Option<Rc<LoadedScripts>> {
        let names = transaction.noted_script();
        upstream
            .loaded_scripts
            .keep_up(P::Stateful::flush_epoch(&fw.pool.settings));
        for name in names
            .iter()
            .filter(|name| !upstream.loaded_scripts.has(name))
        {
            let mut lesson = BytesMut::new();
            if P::Stateful::write_script_load(&fw.pool.settings, name, &mut lesson) {
                let frame = Frame::Shared(lesson.freeze());
                upstream.forward(frame, Span::default(), Responder::discard(expect), now);
                upstream.loaded_scripts.note(name);
            }
        }
        (!names.is_empty()).then(|| Rc::clone(&upstream.loaded_scripts))
    }

    /// Fails what was queued, in the words of a server that does not take it.
    fn discard(
        &mut self,
        fw: &mut Forwarder<P>,
        words: &[u8],
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        let mut aborted = BytesMut::new();
        P::Stateful::write_server_command(Phrase::Aborted, &mut aborted);
        if !P::Stateful::write_exec_abort(words, &aborted, &mut buffers.reply) {
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

    /// Forgets what is watched.
    pub(crate) fn unwatch(&mut self, fw: &mut Forwarder<P>) {
        if let Some(watch) = self.take_watch(fw) {
            watch.end(P::HANDSHAKE);
        }
    }

    /// Takes the watch away. Its connection may have requests in flight, which nothing that follows may overtake.
    fn take_watch(&mut self, fw: &mut Forwarder<P>) -> Option<WatchState<P>> {
        fw.watched = None;
        let watch = self.watch.take()?;
        self.fence = true;
        Some(watch)
    }

    /// Returns true if the client has begun a transaction.
    pub(crate) fn is_in_multi(&self) -> bool {
        self.transaction.is_some()
    }

    /// Notes what a queued request has to do with scripts.
    pub(crate) fn note_script(&mut self, op: ScriptOp, frame: &[u8]) {
        if let Some(transaction) = &mut self.transaction {
            match op {
                ScriptOp::EvalSha => transaction.note_script(P::Stateful::script_sha(frame)),
                ScriptOp::Eval | ScriptOp::Flush => transaction.note_script_op(op, frame),
            }
        }
    }

    /// Returns true if the next request must not overtake what a connection that was given back has in flight.
    pub(crate) fn must_wait(&mut self, replies: &ReplyQueue) -> bool {
        self.fence = self.fence && !replies.is_idle();
        self.fence
    }

    /// Returns true if the client has begun nothing that its next requests depend on.
    pub(crate) fn is_over(&self) -> bool {
        self.transaction.is_none() && self.watch.is_none() && !self.fence
    }
}
