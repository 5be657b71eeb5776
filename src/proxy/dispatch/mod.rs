//! The dispatch of each request of one client: plans it, and chooses its executor.
//!
//! ```text
//! session --request--> Dispatcher --plan--> Forwarder            one server, several, or a local reply
//!                          |----------> pinned: transaction, blocking   state of later requests
//!                          +----------> subscriptions: pubsub
//! ```

pub(crate) mod holds;
pub(crate) mod in_multi;
pub(crate) mod leaving;
pub(crate) mod metering;
pub(crate) mod monitoring;
pub(crate) mod observe;
pub(crate) mod pinned;
pub(crate) mod publishing;
pub(crate) mod queued_requests;
pub(crate) mod subscriptions;

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{ClientState as _, PubSub as _};
use crate::protocol::{
    ConnInfo, Plan, PlanOf, Protocol, Span, SubscriptionChange, Targets, TxOp, UpstreamError,
};
use crate::proxy::blocking::client::BlockedClient;
use crate::proxy::blocking::unblock_retry::UnblockRetry;
use crate::proxy::blocking::wait_replicas::ReplicaWait;
use crate::proxy::dispatch::holds::look;
use crate::proxy::dispatch::pinned::Pinned;
use crate::proxy::dispatch::publishing::Publishing;
use crate::proxy::dispatch::queued_requests::QueuedRequests;
use crate::proxy::forward::eval_fallback::{flush_scripts, forward_script};
use crate::proxy::forward::fan_out::{all_servers, merge_from, merge_per_server};
use crate::proxy::forward::split::split;
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::pool::LocalPool;
use crate::proxy::pubsub::subscriber::Subscriber;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::survey::SurveyRun;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::CommandId;
use crate::topology::ServerId;

/// Executes the requests of one client.
#[derive(Debug)]
pub(crate) struct Dispatcher<P: Protocol> {
    pub(crate) forwarder: Forwarder<P>,
    /// State that its next requests may depend on; few clients have any.
    pinned: Option<Box<Pinned<P>>>,
    /// The client's subscriptions, once it has had any.
    subscriber: OnceCell<Rc<Subscriber>>,
    publishing: Cell<Publishing>,
    /// The requests that are queued before the one that is being looked at.
    queued: Option<Box<QueuedRequests>>,
}

impl<P: Protocol> Dispatcher<P> {
    pub(crate) fn new(pool: Rc<LocalPool<P>>, replies: Rc<ReplyQueue>, info: ConnInfo) -> Self {
        Self::of(Forwarder::new(pool, replies, info))
    }

    fn of(forwarder: Forwarder<P>) -> Self {
        Self {
            forwarder,
            pinned: None,
            subscriber: OnceCell::new(),
            publishing: Cell::new(Publishing::Read),
            queued: None,
        }
    }

    /// Plans and executes one request.
    pub(crate) fn dispatch(
        &mut self,
        request: &P::Request,
        frame: Frame<'_>,
        now: Instant,
    ) -> Dispatched<P> {
        if self.pinned.is_some() && self.is_barred() {
            return Dispatched::Fence;
        }
        let mut is_changing = false;
        if let Some(subscriber) = self.subscriber.get() {
            // Messages keep the format of the old profile as long as replies in it are pending.
            if P::Clients::may_change_profile(request) && !self.forwarder.replies.is_idle() {
                return Dispatched::Fence;
            }
            is_changing = subscriber.is_changing();
            P::Stateful::set_subscriptions(
                &mut self.forwarder.client,
                subscriber.subscription_count(),
            );
        }
        let mut buffers = self.forwarder.pool.plan_buffers.take();
        let plan = P::plan(
            request,
            frame.bytes(),
            &mut self.forwarder.client,
            &self.forwarder.view.settings,
            &mut buffers.keys,
            &mut buffers.reply,
        );
        let is_fenced = is_changing && !plan.may_follow_subscriptions()
            || P::Clients::profile(&self.forwarder.client) != self.forwarder.profile
                && plan.is_sent()
                && !self.change_profile();
        let held = if self.forwarder.view.is_looked_at && !is_fenced {
            let command = P::command(request, frame.bytes());
            self.forwarder.command.set(command);
            let planned = (&plan, command);
            let sent = (&frame, P::stripped(request));
            let pinned = self.pinned.as_deref_mut();
            look(
                &mut self.forwarder,
                pinned,
                planned,
                sent,
                &mut buffers,
                now,
            )
        } else {
            None
        };
        let next = if is_fenced {
            Dispatched::Fence
        } else if let Some(held) = held {
            held
        } else if self
            .pinned
            .as_ref()
            .is_some_and(|pinned| pinned.tx.is_in_multi())
        {
            self.execute_in_multi(&plan, request, frame, &mut buffers, now)
        } else if let Plan::Forward(route, expect) = plan {
            // Nearly all requests: without the registers and the stack that the others need.
            let owner = self.forwarder.owner(route, &frame, &buffers);
            let outgoing = Outgoing {
                command: P::command(request, frame.bytes()),
                frame,
                stripped: P::stripped(request),
                expect,
            };
            self.forwarder.forward(owner, outgoing, now)
        } else {
            self.execute(&plan, request, frame, &mut buffers, now)
        };
        buffers.clear();
        self.forwarder.pool.plan_buffers.set(buffers);
        if let Some(subscriber) = self.subscriber.get()
            && next.is_taken()
        {
            subscriber.set_profile(P::Clients::profile(&self.forwarder.client));
        }
        next
    }

    /// Switches to the client's connection profile, whose requests use other connections, once those in flight are
    /// answered.
    #[cold]
    fn change_profile(&mut self) -> bool {
        let may_change = self.forwarder.replies.is_idle();
        if may_change {
            self.forwarder.profile = P::Clients::profile(&self.forwarder.client);
        }
        may_change
    }

    #[inline(never)]
    pub(crate) fn execute(
        &mut self,
        plan: &PlanOf<P>,
        request: &P::Request,
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let command = P::command(request, frame.bytes());
        let outgoing = |frame, expect| Outgoing {
            frame,
            stripped: P::stripped(request),
            expect,
            command,
        };
        let fw = self.forwarder.executing(command);
        match *plan {
            Plan::Ignore => fw.skip(),
            Plan::Reply => fw.answer(&buffers.reply),
            Plan::ReplyPart(part) => {
                fw.count_local();
                fw.reply(frame.part(part.start, part.end));
                Dispatched::Taken
            }
            Plan::Error(reason) => self.refuse(reason, request, &frame, buffers),
            Plan::ReplyAndClose => {
                fw.answer(&buffers.reply);
                Dispatched::Close
            }
            Plan::Monitor => self.begin_monitoring(buffers),
            Plan::Forward(route, expect) => {
                let owner = fw.owner(route, &frame, buffers);
                fw.forward(owner, outgoing(frame, expect), now)
            }
            Plan::ForwardInstead {
                request: other,
                key,
                expect,
            } => {
                let owner = fw.view.route(key.of(&buffers.reply));
                let rewritten = Outgoing {
                    frame: Frame::Borrowed(other.of(&buffers.reply)),
                    stripped: Span::default(),
                    expect,
                    command,
                };
                fw.forward(owner, rewritten, now)
            }
            Plan::Publish(kind, channel, spec, expect) => {
                let channel = channel.of(frame.bytes());
                self.publish(kind, channel, spec, outgoing(frame.clone(), expect), now)
            }
            Plan::PubSub(change, expect) => {
                if change == SubscriptionChange::Leave {
                    self.unwatch();
                    self.end_monitoring();
                }
                self.change_subscriptions(change, expect, &frame, buffers, now)
            }
            Plan::ForwardSameServer(expect) => match fw.common_owner(&buffers.keys, &frame) {
                Ok(owner) => fw.forward(owner, outgoing(frame, expect), now),
                Err(apart) => fw.refuse_keys(apart, &frame, buffers),
            },
            Plan::ForwardScript(op, expect) => match fw.common_owner(&buffers.keys, &frame) {
                Ok(owner) => forward_script(fw, op, owner, outgoing(frame, expect), now),
                Err(apart) => fw.refuse_keys(apart, &frame, buffers),
            },
            Plan::MultiShard(spec, expect) => {
                split(fw, spec, &buffers.keys, outgoing(frame, expect), now)
            }
            Plan::ScriptFlush(spec, expect) => flush_scripts(
                fw,
                spec,
                frame.bytes(),
                outgoing(frame.clone(), expect),
                now,
            ),
            Plan::Survey(expect) => self.survey(command, &frame, expect),
            Plan::AllServers(spec, expect) => all_servers(
                fw,
                spec,
                frame.bytes(),
                outgoing(frame.clone(), expect),
                now,
            ),
            Plan::Rewrite(ref targets, spec, expect) => {
                let rewritten = Outgoing {
                    frame: Frame::Borrowed(&buffers.reply),
                    stripped: Span::default(),
                    expect,
                    command,
                };
                self.forward_rewritten(targets, spec, frame.bytes(), rewritten, now)
            }
            Plan::Transaction(ref op) => self.change_transaction(op, frame, buffers, now),
            // Planned only within a transaction.
            Plan::Deferred(_) => fw.fail(UpstreamError::Dropped, P::HANDSHAKE),
            Plan::Blocking(expect) => {
                let blocked = BlockedClient::block(&self.forwarder, &frame, expect, buffers, now);
                self.pin(blocked, |pinned, blocked| pinned.blocked = Some(blocked))
            }
            Plan::WaitReplicas(spec, expect) => {
                let wait = ReplicaWait::start(spec, &self.forwarder, &frame, expect, buffers, now);
                self.pin(wait, |pinned, wait| pinned.replica_wait = Some(wait))
            }
        }
    }

    /// Begins or ends a transaction; `RESET` ends `MONITOR` with it.
    fn change_transaction(
        &mut self,
        op: &TxOp<P::Expect>,
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let tx = &mut self.pinned.get_or_insert_default().tx;
        let next = tx.apply(&mut self.forwarder, op, frame, buffers, now);
        self.end_monitoring();
        self.unpin_if_idle();
        next
    }

    /// Begins a survey.
    fn survey(
        &mut self,
        command: CommandId,
        frame: &Frame<'_>,
        expect: P::Expect,
    ) -> Dispatched<P> {
        let run = SurveyRun::start(command, frame, &self.forwarder, expect);
        self.pin(run, |pinned, run| pinned.survey = Some(run))
    }

    /// Pins the client if it is blocked.
    fn pin<W>(
        &mut self,
        wait: Result<W, Dispatched<P>>,
        put: impl FnOnce(&mut Pinned<P>, W),
    ) -> Dispatched<P> {
        match wait {
            Ok(wait) => {
                put(self.pinned.get_or_insert_default(), wait);
                Dispatched::Taken
            }
            Err(next) => next,
        }
    }

    /// Sends the rewritten request to the servers of the plan.
    fn forward_rewritten(
        &self,
        targets: &Targets,
        spec: P::MergeSpec,
        original: &[u8],
        rewritten: Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let fw = &self.forwarder;
        match *targets {
            Targets::All => all_servers(fw, spec, original, rewritten, now),
            Targets::One(server) => merge_from(fw, &[server], spec, original, &rewritten, now),
            Targets::PerServer(ref parts) => self.unblock(parts, spec, original, &rewritten, now),
        }
    }

    /// Sends each server its part of a CLIENT UNBLOCK. It is retried at a server that does not yet know of the blocked
    /// client.
    fn unblock(
        &self,
        parts: &[(ServerId, Span)],
        spec: P::MergeSpec,
        original: &[u8],
        outgoing: &Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let request = Bytes::copy_from_slice(original);
        let responder = |gather, index, upstream: &_, part: &Frame<'_>| {
            let retry = UnblockRetry {
                gather,
                index,
                upstream: Rc::downgrade(upstream),
                settings: Rc::clone(&self.forwarder.view.settings),
                original: request.clone(),
                part: Bytes::copy_from_slice(part.bytes()),
                tries: Cell::new(0),
            };
            Rc::new(retry).responder()
        };
        merge_per_server(
            &self.forwarder,
            parts,
            spec,
            original,
            outgoing,
            responder,
            now,
        )
    }

    /// Returns true if the next request must wait: nothing overtakes a blocking call, or requests in flight on a lease.
    #[cold]
    fn is_barred(&mut self) -> bool {
        let Some(pinned) = &mut self.pinned else {
            return false;
        };
        if pinned.is_waiting() || pinned.tx.must_wait(&self.forwarder.replies) {
            return true;
        }
        self.unpin_if_idle();
        false
    }

    /// Unpins the client, if no transaction, watch or blocking call is left.
    fn unpin_if_idle(&mut self) {
        self.pinned.take_if(|pinned| pinned.is_over());
    }

    /// Unwatches the keys of the client.
    fn unwatch(&mut self) {
        if let Some(pinned) = &mut self.pinned {
            pinned.tx.unwatch(&mut self.forwarder);
        }
    }

    /// Returns true if the client is blocked, or the reply is not yet written to it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pinned
            .as_ref()
            .is_some_and(|pinned| pinned.is_waiting())
    }

    /// Bytes of the commands that the client has queued in a transaction.
    pub(crate) fn transaction_bytes(&self) -> usize {
        self.pinned
            .as_ref()
            .map_or(0, |pinned| pinned.queued_bytes())
    }

    /// See [`Pinned::is_blocked`].
    pub(crate) fn is_blocked(&self) -> bool {
        self.pinned
            .as_ref()
            .is_some_and(|pinned| pinned.is_blocked())
    }

    /// Returns true if the reply that the client waits for has not arrived.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.pinned
            .as_ref()
            .is_some_and(|pinned| pinned.is_unanswered())
    }

    /// Has servers unblock the client, since the proxy shuts down.
    pub(crate) fn end_wait(&mut self) {
        if let Some(pinned) = &mut self.pinned {
            pinned.end_wait(&self.forwarder);
        }
    }

    /// Advances the wait of the client. Returns true if it is over.
    pub(crate) fn poll_blocked(&mut self, cx: &mut Context<'_>, is_flushed: bool) -> bool {
        if let Some(pinned) = &mut self.pinned {
            let _ = self.forwarder.begin_batch(Instant::now());
            pinned.poll_blocked(&mut self.forwarder, cx, is_flushed);
            self.forwarder.end_batch();
            self.unpin_if_idle();
        }
        !self.is_waiting()
    }

    /// Advances the wait of a disconnected client. Ready when nothing is left to do for it.
    pub(crate) fn poll_orphaned(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.forwarder.replies.begin_turn(cx);
        let Some(pinned) = &mut self.pinned else {
            return Poll::Ready(());
        };
        let _ = self.forwarder.begin_batch(Instant::now());
        let outcome = pinned.poll_orphaned(&self.forwarder, cx);
        self.forwarder.end_batch();
        outcome
    }
}

impl<P: Protocol> Drop for Dispatcher<P> {
    fn drop(&mut self) {
        self.unwatch();
        self.forwarder
            .pool
            .leases
            .wait_no_more(self.forwarder.session);
    }
}
