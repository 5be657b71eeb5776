//! Requests that need a connection to their server for themselves: those that watch keys, and those that wait.
//!
//! ```text
//! WATCH ----fence, acquire--> Watch: all requests to its server use the lease --EXEC, UNWATCH ...--> release, fence
//! BLPOP ----fence, acquire--> Waiting: nothing else is taken
//!                               |-- the reply is written to the client ----------------------------> release
//!                               |-- the client leaves: CLIENT UNBLOCK; the reply, if any, is put back -> release
//! ```
//!
//! To close the connection of a client that has left would not do: a server that has taken an element for it, and reads the
//! end of the connection in the same turn, drops the element. `CLIENT UNBLOCK` has exactly one reply come, in any case.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep};

use crate::buf::Frame;
use crate::protocol::{
    ConnProfile, Phrase, Protocol, ServerClientId, Span, UnblockReason, UpstreamError,
};
use crate::proxy::blocking::call::{BlockingCall, Outcome};
use crate::proxy::dispatch::{Dispatched, Dispatcher};
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::replies::responder::Responder;
use crate::proxy::transaction::probe::TxProbe;
use crate::proxy::transaction::queue::TxPlacement;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::upstream::tx_support::TxState;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::PoolMetric;
use crate::topology::ServerId;

/// How long a server has to end what blocks, or to take back what it gave, before its connection is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// When it is told again: it may not have known of what blocks when it was told first.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Rings again and again.
pub(crate) type Alarm = Pin<Box<Sleep>>;

/// A client watches keys.
#[derive(Debug)]
pub(crate) struct WatchState<P: Protocol> {
    lease: Lease<P>,
    pub(crate) home: TxPlacement,
    profile: ConnProfile,
}

/// A client waits.
#[derive(Debug)]
pub(crate) struct BlockedClient<P: Protocol> {
    call: Rc<BlockingCall<P>>,
    lease: Lease<P>,
    upstream: Rc<UpstreamConn<P>>,
    server: ServerId,
    keys: Box<[Span]>,
    epoch: u64,
    /// Rings when the server is to be told again that nobody waits any more.
    ending: Option<Alarm>,
    /// It is already what was taken that goes back.
    gives_back: bool,
    since: Instant,
    /// Others may know that the client waits.
    is_told: bool,
}

impl<P: Protocol> WatchState<P> {
    /// The connection that requests of this lane to this server use. Once it is lost, any does: what is watched cannot decide
    /// a transaction any more.
    pub(crate) fn serves(
        &self,
        server: ServerId,
        profile: ConnProfile,
    ) -> Option<&Rc<UpstreamConn<P>>> {
        let is_there =
            self.home.server == server && self.profile == profile && !self.lease.is_lost();
        self.lease.upstream().filter(|_| is_there)
    }

    /// Why what is watched cannot decide a transaction in `lane`.
    pub(crate) fn abort_reason(&self, profile: ConnProfile) -> Option<Phrase> {
        if self.lease.is_lost() {
            Some(Phrase::WatchLost)
        } else if self.profile != profile {
            Some(Phrase::WatchedElsewhere)
        } else {
            None
        }
    }

    /// The transaction is on its way, and whatever comes of it, nothing is watched then.
    pub(crate) fn release(self) {
        self.lease.release();
    }

    /// Forgets what is watched.
    pub(crate) fn end(self, expect: P::Expect) {
        if let Some(upstream) = self.lease.upstream()
            && !self.lease.is_lost()
        {
            let mut unwatch = BytesMut::new();
            P::write_server_command(Phrase::Unwatch, &mut unwatch);
            let frame = Frame::Borrowed(&unwatch);
            let responder = Responder::discard(expect);
            upstream.forward(frame, Span::default(), responder, Instant::now());
        }
        self.lease.release();
    }
}

impl<P: Protocol> Dispatcher<P> {
    /// Watches the keys in the list.
    pub(crate) fn watch(
        &mut self,
        frame: Frame<'_>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let copy = |span: Span| Box::<[u8]>::from(span.of(frame.bytes()));
        let owner = match self.common_owner(&buffers.keys, &frame) {
            Ok(Some(owner)) => owner,
            Ok(None) => return self.fail(UpstreamError::Ejected, expect),
            Err(apart) => return self.refuse_apart(apart.map(copy), buffers),
        };
        let key = buffers
            .keys
            .first()
            .map_or_else(Box::default, |key| copy(key.key));
        match self.watching() {
            // It must hear of that before it watches anew, or it would take all for watched.
            Some(watch) if watch.lease.is_lost() => {
                self.unwatch();
                P::write_server_command(Phrase::WatchLost, &mut buffers.reply);
                return self.answer(&buffers.reply, PoolMetric::ForwardError);
            }
            Some(watch) if watch.home.server != owner => {
                let keys = [watch.home.key.clone(), key];
                return self.refuse_apart(keys, buffers);
            }
            Some(watch) if watch.profile != self.profile => {
                P::write_server_command(Phrase::WatchedElsewhere, &mut buffers.reply);
                return self.answer(&buffers.reply, PoolMetric::RequestsRefused);
            }
            Some(_) => {}
            None if !self.replies.is_idle() => return Dispatched::Fence,
            None => {
                let lease = match self.lease(owner) {
                    Ok(lease) => lease,
                    Err(denied) => return self.deny(denied, expect, buffers),
                };
                if let Some(upstream) = lease.upstream()
                    && !matches!(upstream.tx_support.standing(), TxState::Taken)
                {
                    // Later it would forget what is watched.
                    TxProbe::send(upstream, now);
                }
                let epoch = self.pool.epoch();
                let home = TxPlacement {
                    server: owner,
                    key,
                    epoch,
                };
                let profile = self.profile;
                self.pinned.get_or_insert_default().watch = Some(WatchState {
                    lease,
                    home,
                    profile,
                });
            }
        }
        let outgoing = crate::proxy::dispatch::Outgoing {
            frame,
            stripped: Span::default(),
            expect,
            tag: P::CommandTag::default(),
        };
        self.forward(Some(owner), outgoing, now)
    }

    /// Sends a request that may wait, once nothing else is in flight.
    pub(crate) fn block(
        &mut self,
        frame: &Frame<'_>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let owner = match self.common_owner(&buffers.keys, frame) {
            Ok(owner) if !buffers.keys.is_empty() => owner,
            Ok(_) => self.pool.route(P::PLACEHOLDER),
            Err(apart) => {
                let keys = apart.map(|key| Box::from(key.of(frame.bytes())));
                return self.refuse_apart(keys, buffers);
            }
        };
        let Some(server) = owner else {
            return self.fail(UpstreamError::Ejected, expect);
        };
        if !self.replies.is_idle() {
            return Dispatched::Fence;
        }
        // Not that of its watch: what is tried in a transaction would end it.
        let lease = match self.lease(server) {
            Ok(lease) => lease,
            Err(denied) => return self.deny(denied, expect, buffers),
        };
        let Some(upstream) = lease.upstream().cloned() else {
            return self.fail(UpstreamError::Dropped, expect);
        };
        if let Admission::Down(error) = upstream.admit(now) {
            return self.fail(error, expect);
        }
        let request = Bytes::copy_from_slice(frame.bytes());
        let seq = Some(self.reserve());
        let call = BlockingCall::new(&self.replies, seq, expect, &upstream, request);
        call.try_now(&upstream, now);
        self.pool.leases.wait(self.session, &self.replies);
        self.pinned.get_or_insert_default().blocked = Some(BlockedClient {
            call,
            lease,
            upstream,
            server,
            keys: buffers.keys.iter().map(|key| key.key).collect(),
            epoch: self.pool.epoch(),
            ending: None,
            gives_back: false,
            since: now,
            is_told: false,
        });
        Dispatched::Taken
    }

    /// Looks after a client that waits. `is_paid` says that everything that came for it is written. Returns whether it does
    /// not wait any more.
    pub(crate) fn poll_blocked(&mut self, cx: &mut Context<'_>, is_paid: bool) -> bool {
        let Some(waiting) = self.waiting() else {
            self.poll_replica_wait(cx);
            return !self.is_waiting();
        };
        match waiting.call.outcome() {
            Outcome::Open => {
                self.tell_blocked();
                if self.has_moved() {
                    self.end_wait();
                }
                self.poll_ending(cx);
            }
            Outcome::Answered(_) if is_paid => self.end_lease(),
            Outcome::Failed => self.end_lease(),
            // Its client takes its time; nothing can be ended for it any more.
            Outcome::Answered(_) => P::set_blocked_on(&self.client, Vec::new()),
        }
        !self.is_waiting()
    }

    /// Has the server end what the client waits for.
    pub(crate) fn end_wait(&mut self) {
        let Some(waiting) = self.waiting() else {
            return self.stop_replica_wait(UnblockReason::Error);
        };
        if waiting.ending.is_some() || waiting.call.outcome() != Outcome::Open {
            return;
        }
        if waiting.upstream.nothing_sent() {
            return waiting.upstream.fail_for_good(UpstreamError::Dropped);
        }
        waiting.ending = Some(Box::pin(sleep(Duration::ZERO)));
        set_deadline(&waiting.upstream);
        self.replies.wake();
    }

    /// Ready when nothing is left to do for a client that is gone.
    pub(crate) fn poll_orphaned(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.replies.begin_turn(cx);
        loop {
            let Some(waiting) = self.waiting() else {
                self.end_replica_wait();
                return Poll::Ready(());
            };
            let reply = match waiting.call.outcome() {
                Outcome::Open if waiting.gives_back => {
                    let alarm = waiting.ending.as_mut();
                    ready!(alarm.map_or(Poll::Ready(()), |alarm| alarm.as_mut().poll(cx)));
                    Bytes::new()
                }
                Outcome::Open => {
                    waiting.call.detach_client();
                    self.end_wait();
                    self.poll_ending(cx);
                    let outcome = self.waiting().map(|waiting| waiting.call.outcome());
                    if outcome == Some(Outcome::Open) {
                        return Poll::Pending;
                    }
                    continue;
                }
                Outcome::Failed => Bytes::new(),
                Outcome::Answered(reply) => reply,
            };
            if waiting.gives_back {
                waiting.note_pops_restored(&reply);
                self.end_lease();
            } else if !self.restore_popped(&reply) {
                self.end_lease();
            }
        }
    }

    /// Puts back what was taken for a client that is gone. Returns whether it must be waited for.
    fn restore_popped(&mut self, reply: &[u8]) -> bool {
        let replies = Rc::clone(&self.replies);
        let Some(waiting) = self.waiting() else {
            return false;
        };
        let mut request = BytesMut::new();
        if !P::restore_popped(waiting.call.request(), reply, &mut request) {
            return false;
        }
        let (server, mut upstream) = (waiting.server, Rc::clone(&waiting.upstream));
        let request = request.freeze();
        let expect = waiting.call.expect();
        let call = BlockingCall::new(&replies, None, expect, &upstream, request.clone());
        waiting.call = Rc::clone(&call);
        waiting.gives_back = true;
        waiting.ending = Some(Box::pin(sleep(PATIENCE)));
        set_deadline(&waiting.upstream);
        if upstream.is_lost()
            && let Some(shared) = self.pool.upstream(server, self.profile, self.session)
        {
            upstream = Rc::clone(shared);
        }
        let responder = call.responder();
        upstream.forward(
            Frame::Shared(request),
            Span::default(),
            responder,
            Instant::now(),
        );
        true
    }

    /// Tells the server, now and then, that nobody waits any more.
    fn poll_ending(&mut self, cx: &mut Context<'_>) {
        let Some(waiting) = self.waiting() else {
            return;
        };
        let (server, upstream) = (waiting.server, Rc::clone(&waiting.upstream));
        let Some(alarm) = &mut waiting.ending else {
            return;
        };
        let mut rings = 0;
        while alarm.as_mut().poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + RETRY_AFTER);
            rings += 1;
        }
        if rings > 0 {
            self.unblock(server, &upstream, UnblockReason::Error);
        }
    }

    /// Has a server end what waits on a connection.
    pub(crate) fn unblock(&self, server: ServerId, upstream: &UpstreamConn<P>, how: UnblockReason) {
        let mut unblock = BytesMut::new();
        let dedicated = upstream.dedicated.as_deref();
        let identity = dedicated.and_then(|dedicated| dedicated.server_client_id.get());
        let can_unblock = identity.is_some_and(|id| P::write_unblock(id, how, &mut unblock));
        let now = Instant::now();
        let shared = self.pool.upstream(server, self.profile, self.session);
        match shared.filter(|shared| shared.admit(now) == Admission::Open) {
            Some(shared) if can_unblock => {
                let responder = Responder::discard(P::HANDSHAKE);
                shared.forward(Frame::Borrowed(&unblock), Span::default(), responder, now);
            }
            _ => {
                if let Some(dedicated) = dedicated {
                    dedicated.is_shut.set(true);
                    upstream.wake_driver();
                }
            }
        }
    }

    /// Lets others know that the client waits, once its server has what it waits for: who hears of it may go by that.
    fn tell_blocked(&mut self) {
        if let Some(waiting) = self.waiting()
            && waiting.call.is_sent()
            && !mem::replace(&mut waiting.is_told, true)
        {
            let place = place(waiting.server, &waiting.upstream);
            P::set_blocked_on(&self.client, place.into_iter().collect());
        }
    }

    /// Whether a key of what waits lives elsewhere by now.
    fn has_moved(&self) -> bool {
        let Some(waiting) = self
            .pinned
            .as_ref()
            .and_then(|pinned| pinned.blocked.as_ref())
        else {
            return false;
        };
        let request = waiting.call.request();
        let owner = |key: &Span| self.pool.route(key.of(request));
        waiting.epoch != self.pool.epoch()
            && !self.pool.is_random()
            && waiting
                .keys
                .iter()
                .any(|key| owner(key) != Some(waiting.server))
    }

    /// What the client waited for has ended.
    fn end_lease(&mut self) {
        let Some(waiting) = self
            .pinned
            .as_mut()
            .and_then(|pinned| pinned.blocked.take())
        else {
            return;
        };
        P::set_blocked_on(&self.client, Vec::new());
        self.pool.leases.wait_no_more(self.session);
        waiting.upstream.clear_deadline();
        waiting.lease.release();
        self.unpin_if_idle();
    }

    pub(crate) fn lease(&self, server: ServerId) -> Result<Lease<P>, LeaseError> {
        let leases = &self.pool.leases;
        leases.acquire(&self.pool, server.index(), self.profile)
    }

    pub(crate) fn deny(
        &self,
        denied: LeaseError,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        match denied {
            LeaseError::Down(error) => self.fail(error, expect),
            LeaseError::Exhausted(most) => self.say(Phrase::Exhausted(most), buffers),
            LeaseError::NoRoom(most) => self.say(Phrase::NoRoom(most), buffers),
        }
    }

    fn say(&self, phrase: Phrase, buffers: &mut PlanBuffers) -> Dispatched<P> {
        P::write_server_command(phrase, &mut buffers.reply);
        self.answer(&buffers.reply, PoolMetric::ForwardError)
    }

    fn refuse_apart(
        &self,
        [first, second]: [Box<[u8]>; 2],
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        P::write_cross_server(&self.pool.settings, [&first, &second], &mut buffers.reply);
        self.answer(&buffers.reply, PoolMetric::RequestsRefused)
    }

    pub(crate) fn watching(&self) -> Option<&WatchState<P>> {
        self.pinned.as_ref()?.watch.as_ref()
    }

    fn waiting(&mut self) -> Option<&mut BlockedClient<P>> {
        self.pinned.as_mut()?.blocked.as_mut()
    }
}

/// As others may know where a client waits.
pub(crate) fn place<P: Protocol>(
    server: ServerId,
    upstream: &UpstreamConn<P>,
) -> Option<(u16, ServerClientId)> {
    let dedicated = upstream.dedicated.as_deref()?;
    let index = u16::try_from(server.index()).ok()?;
    Some((index, Arc::clone(&dedicated.server_client_id)))
}

/// From now on a server has some time to end what waits on a connection, and no more.
pub(crate) fn set_deadline<P: Protocol>(upstream: &UpstreamConn<P>) {
    if let Some(dedicated) = upstream.dedicated.as_deref() {
        dedicated.deadline.set(Some(Instant::now() + PATIENCE));
        upstream.wake_driver();
    }
}

impl<P: Protocol> BlockedClient<P> {
    /// Whether the reply has not come.
    pub(crate) fn is_open(&self) -> bool {
        self.call.outcome() == Outcome::Open
    }

    /// Whether the end of what the client says is the end of its wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.call.blocks() || self.is_open() && self.since.elapsed() >= PATIENCE
    }

    fn note_pops_restored(&self, reply: &[u8]) {
        let target = &self.upstream.server;
        if reply.is_empty() || reply.first() == Some(&b'-') {
            target.pops_lost();
        } else {
            target.pops_restored();
        }
    }
}
