//! Requests of a client that has begun a transaction: they are queued, until the transaction goes to its server.

use std::mem;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{
    KeySpan, Phrase, Plan, PlanOf, Protocol, Route, ScriptOp, Span, TxOp, UpstreamError,
};
use crate::proxy::blocking::client::WatchState;
use crate::proxy::dispatch::{Dispatched, Dispatcher};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::exec_reply::{ExecReply, QueueError};
use crate::proxy::transaction::probe::TxProbe;
use crate::proxy::transaction::queue::{Transaction, TxPlacement};
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::upstream::loaded_scripts::LoadedScripts;
use crate::proxy::upstream::tx_support::ProbeFailure;
use crate::proxy::upstream::tx_support::TxState;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::PoolMetric;
use crate::topology::ServerId;

impl<P: Protocol> Dispatcher<P> {
    /// As [`Dispatcher::carry_out`], for a client that holds something.
    #[cold]
    pub(crate) fn execute_pinned(
        &mut self,
        plan: &PlanOf<P>,
        request: &P::Request,
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        if self.transaction().is_none() {
            return self.execute(plan, request, frame, buffers, now);
        }
        match *plan {
            Plan::Ignore | Plan::Reply | Plan::ReplyAndClose | Plan::Transaction(_) => {
                self.execute(plan, request, frame, buffers, now)
            }
            Plan::Error => {
                self.abort();
                self.execute(plan, request, frame, buffers, now)
            }
            Plan::Forward(Route::Placeholder, _) => self.queue(&[], frame, buffers),
            Plan::Forward(Route::Key(key), _) => {
                let key = KeySpan { key, unit: key };
                self.queue(&[key], frame, buffers)
            }
            Plan::ForwardSameServer(_)
            | Plan::ForwardScript(..)
            | Plan::MultiShard(..)
            | Plan::Blocking(_) => {
                if let Plan::ForwardScript(op, _) = *plan
                    && let Some(transaction) = self.transaction()
                {
                    match op {
                        ScriptOp::EvalSha => transaction.note_script(P::script_sha(frame.bytes())),
                        ScriptOp::Eval | ScriptOp::Flush => {
                            transaction.note_script_op(op, frame.bytes());
                        }
                    }
                }
                let keys = mem::take(&mut buffers.keys);
                let next = self.queue(&keys, frame, buffers);
                buffers.keys = keys;
                next
            }
            Plan::PubSub(..) => {
                self.forget_transaction();
                self.execute(plan, request, frame, buffers, now)
            }
            Plan::Forward(Route::Decoded, _)
            | Plan::AllServers(..)
            | Plan::ScriptFlush(..)
            | Plan::Rewrite(..)
            | Plan::ForwardAndFixReply(..)
            | Plan::WaitReplicas(..) => self.refuse(Phrase::Elsewhere, buffers),
        }
    }

    /// A transaction begins or ends.
    pub(crate) fn tx_op(
        &mut self,
        step: &TxOp<P::Expect>,
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        match *step {
            TxOp::Multi => {
                P::set_in_multi(&mut self.client, true);
                let mut transaction = Transaction::begin::<P>();
                // What is watched decides where the transaction goes, and fails with it.
                if let Some(watch) = self.watching() {
                    transaction.pin_to(watch.home.clone());
                }
                self.pinned.get_or_insert_default().transaction = Some(transaction);
                self.answer(&buffers.reply, PoolMetric::RequestsLocal)
            }
            TxOp::Watch(expect) => self.watch(frame, expect, buffers, now),
            TxOp::Exec(expect) => self.commit(expect, buffers, now),
            TxOp::Discard => {
                self.forget_transaction();
                self.unwatch();
                self.answer(&buffers.reply, PoolMetric::RequestsLocal)
            }
        }
    }

    /// Queues a request, if its keys live where those before it live.
    fn queue(
        &mut self,
        keys: &[KeySpan],
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        if let Err([first, second]) = self.check_placement(keys, &frame) {
            P::write_cross_server(&self.pool.settings, [&first, &second], &mut buffers.reply);
            self.abort();
            return self.answer(&buffers.reply, PoolMetric::RequestsRefused);
        }
        let flow = self.pool.flow;
        let has_room = self
            .transaction()
            .is_none_or(|transaction| transaction.push(frame, &flow));
        if !has_room {
            let (bytes, requests) = (flow.transaction_bytes, flow.transaction_requests);
            return self.refuse(Phrase::TooLarge(bytes, requests), buffers);
        }
        P::write_server_command(Phrase::Queued, &mut buffers.reply);
        self.answer(&buffers.reply, PoolMetric::RequestsLocal)
    }

    /// Whether all keys live where the transaction does; otherwise two that do not live together.
    fn check_placement(
        &mut self,
        keys: &[KeySpan],
        frame: &Frame<'_>,
    ) -> Result<(), [Box<[u8]>; 2]> {
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let copy = |span: Span| Box::<[u8]>::from(span.of(frame.bytes()));
        let owner = self
            .common_owner(keys, frame)
            .map_err(|apart| apart.map(copy))?;
        let (epoch, is_random) = (self.pool.epoch(), self.pool.is_random());
        let (Some(owner), Some(transaction)) = (owner, self.transaction()) else {
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
    fn refuse(&mut self, phrase: Phrase, buffers: &mut PlanBuffers) -> Dispatched<P> {
        self.abort();
        // A request that would have gone out in other words lies there.
        buffers.reply.clear();
        P::write_server_command(phrase, &mut buffers.reply);
        self.answer(&buffers.reply, PoolMetric::RequestsRefused)
    }

    /// Carries out what was queued, or says why not.
    fn commit(
        &mut self,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let epoch = self.pool.epoch();
        let placeholder = self.pool.route(P::PLACEHOLDER);
        let objection = self
            .watching()
            .map(|watch| watch.abort_reason(self.profile));
        let Some(transaction) = self.transaction() else {
            return Dispatched::Taken;
        };
        let placement = transaction.placement();
        let (phrase, metric) = if transaction.is_aborted() {
            (Phrase::Aborted, PoolMetric::RequestsRefused)
        } else if placement.is_some_and(|placement| placement.epoch != epoch) {
            (Phrase::Moved, PoolMetric::ForwardError)
        } else if let Some(Some(objection)) = objection {
            (objection, PoolMetric::ForwardError)
        } else if transaction.is_empty() && objection.is_none() {
            (Phrase::Empty, PoolMetric::RequestsLocal)
        } else {
            let owner = placement.map(|placement| placement.server).or(placeholder);
            return self.send_batch(owner, expect, buffers, now);
        };
        P::write_server_command(phrase, &mut buffers.reply);
        self.forget_transaction();
        self.unwatch();
        self.answer(&buffers.reply, metric)
    }

    /// Sends the whole transaction on its way.
    fn send_batch(
        &mut self,
        owner: Option<ServerId>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        if let Some(error) = self
            .transaction()
            .and_then(|transaction| transaction.lost())
        {
            self.forget_transaction();
            self.unwatch();
            return self.fail(error, expect);
        }
        let upstream = owner.and_then(|owner| self.upstream(owner)).cloned();
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
                        return self.discard(&words, buffers);
                    }
                    // To ask now would forget what is watched.
                    TxState::Unknown if is_watched => return self.discard(&[], buffers),
                    TxState::Unknown => {
                        let fate = TxProbe::send(&upstream, now);
                        return self.stall(fate, upstream);
                    }
                    TxState::Asked(fate) => return self.stall(fate, upstream),
                }
                if let Some(mut transaction) = self.forget_transaction() {
                    let seq = self.reserve();
                    let queue_error = Rc::<QueueError>::default();
                    let exec = ExecReply {
                        replies: Rc::clone(&self.replies),
                        seq,
                        expect,
                        queue_error: Rc::clone(&queue_error),
                        loaded_scripts: self.ensure_loaded(&upstream, &transaction, expect, now),
                    };
                    let each: Rc<dyn ReplyHandler<P>> = queue_error;
                    let last = Responder::handler(Rc::new(exec), expect);
                    let script_ops = transaction.take_script_ops();
                    upstream.forward_batch(transaction.close::<P>(), &each, last, now);
                    for (op, request) in script_ops {
                        P::on_script(op, &request, &self.pool.settings);
                    }
                    if let Some(watch) = self.take_watch() {
                        watch.release();
                    }
                }
                return Dispatched::Taken;
            }
            _ => {}
        }
        self.forget_transaction();
        self.unwatch();
        self.fail(
            match admission {
                Some(Admission::Down(error)) => error,
                _ => UpstreamError::Ejected,
            },
            expect,
        )
    }

    /// Waits for the end of a trial.
    fn stall(&mut self, fate: Rc<ProbeFailure>, upstream: Rc<UpstreamConn<P>>) -> Dispatched<P> {
        if let Some(transaction) = self.transaction() {
            transaction.wait_for(fate);
        }
        Dispatched::Backpressure(upstream)
    }

    /// Gives the server what a transaction refers to, if it may lack it. Returns where that is noted.
    fn ensure_loaded(
        &self,
        upstream: &UpstreamConn<P>,
        transaction: &Transaction,
        expect: P::Expect,
        now: Instant,
    ) -> Option<Rc<LoadedScripts>> {
        let names = transaction.noted_script();
        upstream
            .loaded_scripts
            .keep_up(P::flush_epoch(&self.pool.settings));
        for name in names
            .iter()
            .filter(|name| !upstream.loaded_scripts.has(name))
        {
            let mut lesson = BytesMut::new();
            if P::write_script_load(&self.pool.settings, name, &mut lesson) {
                let frame = Frame::Shared(lesson.freeze());
                upstream.forward(frame, Span::default(), Responder::discard(expect), now);
                upstream.loaded_scripts.note(name);
            }
        }
        (!names.is_empty()).then(|| Rc::clone(&upstream.loaded_scripts))
    }

    /// Fails what was queued, in the words of a server that does not take it.
    fn discard(&mut self, words: &[u8], buffers: &mut PlanBuffers) -> Dispatched<P> {
        let mut aborted = BytesMut::new();
        P::write_server_command(Phrase::Aborted, &mut aborted);
        if !P::write_exec_abort(words, &aborted, &mut buffers.reply) {
            buffers.reply.extend_from_slice(&aborted);
        }
        self.forget_transaction();
        self.unwatch();
        self.answer(&buffers.reply, PoolMetric::ForwardError)
    }

    fn transaction(&mut self) -> Option<&mut Transaction> {
        self.pinned.as_mut()?.transaction.as_mut()
    }

    fn abort(&mut self) {
        if let Some(transaction) = self.transaction() {
            transaction.abort();
        }
    }

    fn forget_transaction(&mut self) -> Option<Transaction> {
        P::set_in_multi(&mut self.client, false);
        let transaction = self.pinned.as_mut()?.transaction.take();
        self.unpin_if_idle();
        transaction
    }

    /// Forgets what is watched.
    pub(crate) fn unwatch(&mut self) {
        let expect = P::HANDSHAKE;
        if let Some(watch) = self.take_watch() {
            watch.end(expect);
        }
    }

    /// Takes the watch away. Its connection may have requests in flight, which nothing that follows may overtake.
    fn take_watch(&mut self) -> Option<WatchState<P>> {
        let pinned = self.pinned.as_mut()?;
        let watch = pinned.watch.take()?;
        pinned.is_fenced = true;
        Some(watch)
    }
}
