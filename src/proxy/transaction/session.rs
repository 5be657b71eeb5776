//! The WATCH and MULTI state of a client: requests are queued, until EXEC sends them to their server.

use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Connections as _, Scripts as _, Transactions as _};
use crate::protocol::{
    Deferral, InMove, KeySpan, Protocol, ProxyReply, ScriptOp, Span, TxOp, UpstreamError,
};
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::pool::view::PoolView;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::deferred::DeferredExec;
use crate::proxy::transaction::probe::TxProbe;
use crate::proxy::transaction::queue::{Transaction, TxPlacement};
use crate::proxy::transaction::watch::WatchState;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::upstream::tx_support::TxState;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{CommandId, RefusalReason};
use crate::topology::{KeyHashes, ServerIndex};

/// A client's transaction, and the keys that it watches.
#[derive(Debug)]
pub(crate) struct TxSession<P: Protocol> {
    pub(super) transaction: Option<Transaction>,
    pub(super) watch: Option<WatchState<P>>,
    /// A released lease has requests in flight, which the next one must not overtake.
    pub(super) fence: bool,
    /// The connection for a watch, or for a transaction that changes its state, until it is open and in use.
    pub(super) lease: Option<Lease<P>>,
    /// The wait for EXEC of a transaction that the proxy answers in part.
    pub(super) deferred: Option<Box<DeferredExec<P>>>,
}

/// A dedicated connection for a client.
#[derive(Debug)]
pub(super) enum OwnLease<P: Protocol> {
    Ready(Lease<P>),
    /// It is being opened.
    Opening(Rc<UpstreamConn<P>>),
}

impl<P: Protocol> Default for TxSession<P> {
    fn default() -> Self {
        Self {
            transaction: None,
            watch: None,
            fence: false,
            lease: None,
            deferred: None,
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
                fw.answer(&buffers.reply)
            }
            TxOp::Watch(expect) => self.watch(fw, frame, expect, buffers, now),
            TxOp::Exec(expect) => self.commit(fw, expect, buffers, now),
            TxOp::Discard => {
                self.forget_transaction(fw);
                self.unwatch(fw);
                fw.answer(&buffers.reply)
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
            Ok(None) => {
                self.lease = None;
                return fw.fail(UpstreamError::Ejected, expect);
            }
            Err(apart) => {
                self.lease = None;
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
                return fw.fail_with(&buffers.reply);
            }
            Some(watch) if watch.home.server != server => {
                return fw.refuse_cross_server([&watch.home.key, &key], buffers);
            }
            Some(watch) if watch.profile() != fw.profile => {
                P::Stateful::write_proxy_reply(ProxyReply::WatchedElsewhere, &mut buffers.reply);
                return fw.refuse(&buffers.reply, RefusalReason::Transaction);
            }
            Some(_) => {}
            None if !fw.replies.is_idle() => return Dispatched::Fence,
            None => {
                if let Some((shared, admission)) = fw.awaited_primary(owner, now) {
                    return match admission {
                        Admission::Down(error) => fw.fail_at(&shared.server, error, expect),
                        _ => Dispatched::Backpressure(shared),
                    };
                }
                let lease = match self.own_lease(fw, owner, now) {
                    Ok(OwnLease::Ready(lease)) => lease,
                    Ok(OwnLease::Opening(upstream)) => return Dispatched::Backpressure(upstream),
                    Err(denied) => return fw.deny(denied, expect, buffers),
                };
                if let Some(upstream) = lease.upstream().filter(|upstream| upstream.is_lost()) {
                    let responder = Responder::whole(Rc::clone(&fw.replies), fw.reserve(), expect)
                        .of_command(fw.command.get());
                    upstream.forward(frame, Span::default(), responder, now);
                    return Dispatched::Taken;
                }
                if let Some(upstream) = lease.upstream()
                    && !matches!(upstream.tx_support.state(), TxState::Taken)
                {
                    // Later the probe would unwatch the keys.
                    TxProbe::send(upstream, now);
                }
                let placement = TxPlacement {
                    server,
                    key,
                    keys: KeyHashes::default(),
                    placement: fw.view.placement(),
                };
                fw.watched = lease
                    .upstream()
                    .map(|upstream| (server, fw.profile, Rc::clone(upstream)));
                self.watch = Some(WatchState::new(lease, placement, fw.profile));
            }
        }
        if let Some(watch) = &mut self.watch {
            for key in &buffers.keys {
                let key = key.key.of(frame.bytes());
                watch.home.keys.add(key, &fw.view.topology.router);
            }
        }
        let outgoing = Outgoing {
            frame,
            stripped: Span::default(),
            expect,
            command: fw.command.get(),
        };
        fw.forward(Some(owner), outgoing, now)
    }

    /// A dedicated connection to a server. In a pool with a guard it is open, or lost: until then it is kept here, and what
    /// needs it is not taken, so that it is routed by what is known by then.
    pub(super) fn own_lease(
        &mut self,
        fw: &Forwarder<P>,
        owner: ServerIndex,
        now: Instant,
    ) -> Result<OwnLease<P>, LeaseError> {
        let kept = self.lease.take();
        let is_elsewhere = |lease: &Lease<P>| fw.view.id(owner) != Some(lease.server());
        if kept.as_ref().is_some_and(is_elsewhere)
            && let Some(transaction) = &mut self.transaction
        {
            // Its keys have got another owner meanwhile.
            transaction.forget_probe();
        }
        let lease = match kept.filter(|lease| !is_elsewhere(lease)) {
            Some(lease) => lease,
            None => fw.lease(owner)?,
        };
        let opening = lease
            .upstream()
            .filter(|upstream| upstream.server.greets() && upstream.admit(now) == Admission::Full);
        Ok(match opening.cloned() {
            None => OwnLease::Ready(lease),
            Some(opening) => {
                self.lease = Some(lease);
                OwnLease::Opening(opening)
            }
        })
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
        self.queued(fw, has_room, buffers)
    }

    /// Queues a request that the proxy answers when the transaction has succeeded.
    pub(crate) fn defer(
        &mut self,
        fw: &Forwarder<P>,
        deferral: Deferral,
        frame: &Frame<'_>,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        let flow = fw.pool.flow;
        let has_room = self
            .transaction
            .as_mut()
            .is_none_or(|transaction| transaction.defer(frame.bytes(), deferral, &flow));
        self.queued(fw, has_room, buffers)
    }

    /// Replies to a request that is queued, unless there was no room for it.
    fn queued(
        &mut self,
        fw: &Forwarder<P>,
        has_room: bool,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        if !has_room {
            let flow = fw.pool.flow;
            let (bytes, requests) = (flow.transaction_bytes, flow.transaction_requests);
            return self.refuse(fw, ProxyReply::TooLarge(bytes, requests), buffers);
        }
        P::Stateful::write_proxy_reply(ProxyReply::Queued, &mut buffers.reply);
        fw.answer_queued(&buffers.reply)
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
        let (now, is_random) = (fw.view.placement(), fw.view.is_random());
        let owner = owner.and_then(|owner| fw.view.id(owner));
        let (Some(owner), Some(transaction)) = (owner, self.transaction.as_mut()) else {
            return Ok(());
        };
        match transaction.placement() {
            None => transaction.pin_to(TxPlacement {
                server: owner,
                key: copy(first.key),
                keys: KeyHashes::default(),
                placement: now,
            }),
            // If the placement has changed meanwhile, EXEC looks at all keys again.
            Some(placement)
                if placement.server == owner || placement.placement != now || is_random => {}
            Some(placement) => return Err([placement.key.clone(), copy(first.key)]),
        }
        if let Some(placement) = transaction.placement_mut() {
            for key in keys {
                let key = key.key.of(frame.bytes());
                placement.keys.add(key, &fw.view.topology.router);
            }
        }
        Ok(())
    }

    /// Returns true if a key of the transaction is being moved.
    pub(crate) fn is_held(&self, view: &PoolView<P>) -> bool {
        let transaction = self.transaction.as_ref();
        let placement = transaction.and_then(Transaction::placement);
        placement.is_some_and(|placement| placement.keys.is_held(&view.topology.router))
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
        fw.refuse(&buffers.reply, RefusalReason::Transaction)
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
        self.lease = None;
        self.transaction.take()
    }

    /// Unwatches the keys.
    pub(crate) fn unwatch(&mut self, fw: &mut Forwarder<P>) {
        if let Some(watch) = self.take_watch(fw) {
            watch.end(P::HANDSHAKE);
        }
    }

    /// Takes the watch. Its connection may have requests in flight, which no later request may overtake.
    pub(super) fn take_watch(&mut self, fw: &mut Forwarder<P>) -> Option<WatchState<P>> {
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

    /// Returns true if the client waits for EXEC of a transaction that the proxy answers in part.
    pub(crate) fn is_deferring(&self) -> bool {
        self.deferred.is_some()
    }

    /// Answers the client once the server has executed such a transaction.
    pub(crate) fn poll_deferred(&mut self, fw: &mut Forwarder<P>) {
        self.deferred.take_if(|deferred| deferred.poll(fw));
    }

    /// Gives up the wait, since the client is gone.
    pub(crate) fn end_deferred(&mut self) {
        self.deferred = None;
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
                ScriptOp::Eval => P::Stateful::on_script(op, frame, &fw.view.settings),
                ScriptOp::Flush => transaction.note_flush(),
            }
        }
    }

    /// Notes a queued request of a command without keys.
    pub(crate) fn note_keyless(&mut self, command: CommandId) {
        let mut refusal = BytesMut::new();
        if let Some(transaction) = &mut self.transaction
            && P::Stateful::write_move_refusal(InMove::Queued(command), &mut refusal)
        {
            transaction.need_one_server(refusal.freeze());
        }
    }

    /// Returns true if the next request must wait for those in flight on a released lease.
    pub(crate) fn must_wait(&mut self, replies: &ReplyQueue) -> bool {
        self.fence = self.fence && !replies.is_idle();
        self.fence
    }

    /// Returns true if the client has no state that its next requests depend on.
    pub(crate) fn is_over(&self) -> bool {
        let has_state = self.transaction.is_some() || self.watch.is_some() || self.lease.is_some();
        !has_state && self.deferred.is_none() && !self.fence
    }
}
