//! A client blocked in BLPOP, XREAD BLOCK ..., on a dedicated connection.
//!
//! ```text
//! BLPOP ----fence, acquire--> BlockedClient: no other request is taken
//!                               |-- the reply is written to the client ----------------------------------> release
//!                               |-- the client disconnects: CLIENT UNBLOCK; popped elements are restored --> release
//! ```
//!
//! Closing the connection of a disconnected client would lose data: a server that has popped an element for it, and
//! reads EOF in the same iteration of its event loop, drops the element. With `CLIENT UNBLOCK`, exactly one reply
//! arrives in any case.

use std::future::Future;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep};

use crate::buf::Frame;
use crate::protocol::Blocking as _;
use crate::protocol::{Protocol, ProxyReply, Span, UnblockReason, UpstreamError};
use crate::proxy::blocking::call::{BlockingCall, Outcome};
use crate::proxy::blocking::deadline::{
    Alarm, END_TIMEOUT, RETRY_AFTER, place, set_deadline, unblock,
};
use crate::proxy::blocking::request::BlockingRequest;
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::dedicated::Lease;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::worker::plan_buffers::PlanBuffers;

/// The pause before a request that its server has refused is sent again.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// A blocked client.
#[derive(Debug)]
pub(crate) struct BlockedClient<P: Protocol> {
    call: Rc<BlockingCall<P>>,
    lease: Lease<P>,
    upstream: Rc<UpstreamConn<P>>,
    request: BlockingRequest,
    /// Fires when the next unblock is due.
    ending: Option<Alarm>,
    /// When its server has refused the request first, and when it is asked again.
    refused: Option<(Instant, Alarm)>,
    /// The reply that the server gives when it is unblocked.
    reason: UnblockReason,
    /// The elements that are restored for a client that is gone.
    restore: Option<Restore>,
    since: Instant,
    /// Other clients can see that the client is blocked.
    is_visible: bool,
    /// It waits on in another process.
    is_leaving: bool,
}

/// A request that restores popped elements.
#[derive(Debug)]
struct Restore {
    request: Bytes,
    key: Span,
    is_sent: bool,
}

impl<P: Protocol> BlockedClient<P> {
    /// Sends a request that may block, once nothing else is in flight.
    pub(crate) fn block(
        fw: &Forwarder<P>,
        frame: &Frame<'_>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Result<Self, Dispatched<P>> {
        let owner = match fw.common_owner(&buffers.keys, frame) {
            Ok(owner) if !buffers.keys.is_empty() => owner,
            Ok(_) => fw.view.route(P::PLACEHOLDER),
            Err(apart) => {
                let keys = apart.map(|key| key.of(frame.bytes()));
                return Err(fw.refuse_cross_server(keys, buffers));
            }
        };
        let Some(server) = owner else {
            return Err(fw.fail(UpstreamError::Ejected, expect));
        };
        if !fw.replies.is_idle() {
            return Err(Dispatched::Fence);
        }
        if let Some(shared) = fw.awaits_primary(server, now) {
            return Err(Dispatched::Backpressure(shared));
        }
        // Not that of its watch: the attempt in a transaction would end the watch.
        let lease = fw
            .lease(server)
            .map_err(|denied| fw.deny(denied, expect, buffers))?;
        let Some(upstream) = lease.upstream().cloned() else {
            return Err(fw.fail(UpstreamError::Dropped, expect));
        };
        if let Admission::Down(error) = upstream.admit(now) {
            return Err(fw.fail_at(&upstream.server, error, expect));
        }
        let request = BlockingRequest::copy(fw, frame.bytes(), buffers);
        request.note_keys(fw, &upstream);
        let seq = Some(fw.reserve());
        let waits = (fw.command.get(), now);
        let bytes = request.bytes().clone();
        let call = BlockingCall::new(&fw.replies, seq, expect, waits, &upstream, bytes);
        call.try_now(&upstream, now);
        fw.pool.leases.wait(fw.session, &fw.replies);
        Ok(Self {
            call,
            lease,
            upstream,
            request,
            ending: None,
            refused: None,
            reason: UnblockReason::Error,
            restore: None,
            since: now,
            is_visible: false,
            is_leaving: false,
        })
    }

    /// Advances the wait. `is_flushed`: all output is written to the client. Returns true if the wait is over.
    pub(crate) fn poll(
        &mut self,
        fw: &Forwarder<P>,
        cx: &mut Context<'_>,
        is_flushed: bool,
    ) -> bool {
        match self.call.outcome() {
            Outcome::Open => {
                if self.call.blocks() {
                    self.refused = None;
                }
                self.show_blocked(fw);
                if self.request.has_moved(fw, self.upstream.server.id()) {
                    self.leave_server(fw);
                }
                self.poll_ending(fw, cx);
                false
            }
            Outcome::Unblocked | Outcome::Refused if self.is_leaving => false,
            Outcome::Unblocked if self.request.is_held(fw) => {
                let guard = self.upstream.server.guard.as_ref();
                if guard.is_some_and(|guard| guard.is_overdue(Instant::now())) {
                    self.call.give_up_move(ProxyReply::KeysMoved);
                    fw.replies.wake();
                } else {
                    fw.pool.backends.wait_for_change(cx.waker());
                }
                false
            }
            Outcome::Unblocked => {
                if let Err(notice) = self.ask_again(fw) {
                    self.call.give_up_move(notice);
                }
                fw.replies.wake();
                false
            }
            Outcome::Refused => {
                self.poll_refused(fw, cx);
                false
            }
            Outcome::Answered(_) if is_flushed => true,
            Outcome::Failed => true,
            // The client reads slowly; there is nothing left to unblock.
            Outcome::Answered(_) => {
                P::Stateful::set_blocked_on(&fw.client, Vec::new());
                false
            }
        }
    }

    /// Has the server end the request, which another server must get. What comes after its arrival cannot be read twice:
    /// then the client learns of it.
    fn leave_server(&mut self, fw: &Forwarder<P>) {
        if P::Stateful::reads_latest(self.request.bytes()) {
            return self.end_early(fw, ProxyReply::KeysMoved);
        }
        if self.ending.is_some() {
            return;
        }
        self.call.begin_move();
        if self.upstream.nothing_sent() {
            self.call.end_unsent();
            return self.upstream.fail_for_good(UpstreamError::Dropped);
        }
        self.end_wait(fw);
    }

    /// Returns true if it may wait on in another process: what it waits for can be asked twice, and its client gets the reply.
    pub(crate) fn may_leave(&self, fw: &Forwarder<P>) -> bool {
        !P::Stateful::reads_latest(self.request.bytes()) && !fw.replies.is_silent()
    }

    /// Has the server end the request, so that the client can wait on in another process; unless it does not leave.
    pub(crate) fn set_leaving(&mut self, fw: &Forwarder<P>, leaves: bool) {
        if leaves && self.ending.is_none() {
            self.call.begin_move();
            if self.upstream.nothing_sent() {
                self.call.end_unsent();
                self.upstream.fail_for_good(UpstreamError::Dropped);
            } else {
                self.end_wait(fw);
            }
        }
        self.is_leaving = leaves;
    }

    /// Returns true if it is to wait on in another process.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Returns true if the server has done nothing, and does nothing any more, for a client that leaves.
    pub(crate) fn has_left(&self) -> bool {
        self.is_leaving && matches!(self.call.outcome(), Outcome::Unblocked | Outcome::Refused)
    }

    /// Ends the wait here. Returns the request, with the time that is left.
    pub(crate) fn leave(self, fw: &Forwarder<P>) -> Bytes {
        let request = self.request.shortened::<P>(self.since.elapsed());
        self.end(fw);
        request
    }

    /// Sends the request to the server that stores its keys by now, with the time that is left. `Err` if the client must
    /// learn that it was ended.
    fn ask_again(&mut self, fw: &Forwarder<P>) -> Result<(), ProxyReply> {
        let now = Instant::now();
        let owner = self.request.owner(fw).ok_or(ProxyReply::KeysMoved)?;
        // Not after an unblock, which may arrive yet.
        let is_clean = self.ending.is_none() && !self.lease.is_lost();
        let stays = is_clean && fw.view.id(owner) == Some(self.lease.server());
        let lease = if stays {
            None
        } else {
            Some(fw.lease(owner).map_err(|_| ProxyReply::KeysMoved)?)
        };
        let lease_now = lease.as_ref().unwrap_or(&self.lease);
        let upstream = lease_now.upstream().cloned();
        let upstream = upstream.ok_or(ProxyReply::KeysMoved)?;
        let request = self.request.shortened::<P>(now - self.since);
        self.request.note_keys(fw, &upstream);
        let (seq, expect, waits) = (self.call.seq(), self.call.expect(), self.call.waits());
        let call = BlockingCall::new(&fw.replies, seq, expect, waits, &upstream, request);
        call.try_now(&upstream, now);
        P::Stateful::set_blocked_on(&fw.client, Vec::new());
        self.upstream.clear_deadline();
        self.call = call;
        self.upstream = upstream;
        if let Some(lease) = lease {
            mem::replace(&mut self.lease, lease).release();
        }
        self.request.sent_again(fw);
        self.ending = None;
        self.is_visible = false;
        Ok(())
    }

    /// Sends a request that its server has refused to the primary of then. If there is none for too long, the client gets the
    /// refusal.
    fn poll_refused(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) {
        let (server, now) = (Rc::clone(&self.upstream.server), Instant::now());
        server.store.want_lookup(&server.shared);
        let (since, pause) = self
            .refused
            .get_or_insert_with(|| (now, Box::pin(sleep(REFUSED_PAUSE))));
        let failover = server.failover.as_ref();
        if failover.is_none_or(|failover| failover.is_over(*since, now)) {
            return self.call.give_up_waiting();
        }
        if pause.as_mut().poll(cx).is_pending() {
            return;
        }
        pause.as_mut().reset(now + REFUSED_PAUSE);
        if self.ask_again(fw).is_err() {
            self.call.give_up_waiting();
        }
        fw.replies.wake();
    }

    /// Ends the wait of a client, and tells why: as at its timeout, or, if it waits without a limit, by an error.
    pub(crate) fn end_early(&mut self, fw: &Forwarder<P>, notice: ProxyReply) {
        if self.ending.is_none() {
            if self.request.has_limit::<P>() {
                self.reason = UnblockReason::Timeout;
            }
            self.call.set_notice(notice);
        }
        self.end_wait(fw);
    }

    /// Has the server unblock the client.
    fn end_wait(&mut self, fw: &Forwarder<P>) {
        if self.ending.is_some() || self.call.outcome() != Outcome::Open {
            return;
        }
        if self.upstream.nothing_sent() {
            return self.upstream.fail_for_good(UpstreamError::Dropped);
        }
        self.ending = Some(Box::pin(sleep(Duration::ZERO)));
        set_deadline(&self.upstream);
        fw.replies.wake();
    }

    /// Advances the wait of a disconnected client. Ready when nothing is left to do.
    pub(crate) fn poll_orphaned(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<()> {
        if self.restore.is_none() {
            let reply = ready!(self.poll_last_reply(fw, cx));
            let mut request = BytesMut::new();
            let Some(key) = P::Stateful::restore_popped(self.call.request(), &reply, &mut request)
            else {
                return Poll::Ready(());
            };
            let request = request.freeze();
            self.restore = Some(Restore {
                request,
                key,
                is_sent: false,
            });
        }
        self.poll_restored(fw, cx)
    }

    /// Ends the request. Returns the reply, which nobody gets; it is empty if there is none.
    fn poll_last_reply(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<Bytes> {
        if self.call.outcome() == Outcome::Open {
            self.call.detach_client();
            self.end_wait(fw);
            self.poll_ending(fw, cx);
        }
        match self.call.outcome() {
            Outcome::Open => Poll::Pending,
            Outcome::Failed | Outcome::Unblocked | Outcome::Refused => Poll::Ready(Bytes::new()),
            Outcome::Answered(reply) => Poll::Ready(reply),
        }
    }

    /// Restores popped elements where their key is by now.
    fn poll_restored(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(restore) = &mut self.restore else {
                return Poll::Ready(());
            };
            if !restore.is_sent {
                if fw.view.is_held(restore.key.of(&restore.request)) {
                    fw.pool.backends.wait_for_change(cx.waker());
                    return Poll::Pending;
                }
                restore.is_sent = true;
                self.send_restore(fw);
            }
            let reply = match self.call.outcome() {
                // Nothing was sent: the keys have begun to move.
                Outcome::Unblocked => {
                    if let Some(restore) = &mut self.restore {
                        restore.is_sent = false;
                    }
                    continue;
                }
                Outcome::Open => {
                    let alarm = self.ending.as_mut();
                    ready!(alarm.map_or(Poll::Ready(()), |alarm| alarm.as_mut().poll(cx)));
                    Bytes::new()
                }
                Outcome::Failed | Outcome::Refused => Bytes::new(),
                Outcome::Answered(reply) => reply,
            };
            self.note_pops_restored(&reply);
            return Poll::Ready(());
        }
    }

    /// Releases the lease after the wait.
    pub(crate) fn end(self, fw: &Forwarder<P>) {
        P::Stateful::set_blocked_on(&fw.client, Vec::new());
        fw.pool.leases.wait_no_more(fw.session);
        self.upstream.clear_deadline();
        self.lease.release();
    }

    /// Sends the request that restores popped elements, over the connection of the client if that leads there.
    fn send_restore(&mut self, fw: &Forwarder<P>) {
        let Some(restore) = &self.restore else {
            return;
        };
        let mut upstream = Rc::clone(&self.upstream);
        let server = upstream.server.id();
        let may_move = upstream.server.greets();
        let owner = fw.view.route(restore.key.of(&restore.request));
        let moved = owner.filter(|owner| may_move && fw.view.id(*owner) != Some(server));
        if (upstream.is_lost() || moved.is_some())
            && let Some(index) = moved.or_else(|| fw.view.index_of(server))
            && let Some(shared) = fw.view.upstream(index, fw.profile, fw.session)
        {
            upstream = Rc::clone(shared);
        }
        let (request, expect, waits) = (
            restore.request.clone(),
            self.call.expect(),
            self.call.waits(),
        );
        self.call = BlockingCall::new(&fw.replies, None, expect, waits, &upstream, request.clone());
        self.ending = Some(Box::pin(sleep(END_TIMEOUT)));
        set_deadline(&self.upstream);
        upstream.forward(
            Frame::Shared(request),
            Span::default(),
            self.call.responder(),
            Instant::now(),
        );
    }

    /// Sends the server an unblock, repeatedly.
    fn poll_ending(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) {
        let Some(alarm) = &mut self.ending else {
            return;
        };
        let mut ticks = 0;
        while alarm.as_mut().poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + RETRY_AFTER);
            ticks += 1;
        }
        // An attempt ends by itself; a server that has paused it would take that for an order to answer twice (Redis 7.0).
        if ticks > 0 && self.call.is_sent() {
            unblock(fw, &self.lease, self.reason);
        }
    }

    /// Shows other clients that the client is blocked, once its server has the request: they may rely on it.
    fn show_blocked(&mut self, fw: &Forwarder<P>) {
        if self.call.is_sent() && !mem::replace(&mut self.is_visible, true) {
            let place = place(&self.upstream);
            P::Stateful::set_blocked_on(&fw.client, place.into_iter().collect());
        }
    }

    /// Returns true if the reply has not arrived.
    pub(crate) fn is_open(&self) -> bool {
        self.call.outcome() == Outcome::Open
    }

    /// Returns true if EOF from the client ends its wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.call.blocks() || self.is_open() && self.since.elapsed() >= END_TIMEOUT
    }

    fn note_pops_restored(&self, reply: &[u8]) {
        let server = &self.upstream.server;
        if reply.is_empty() || P::classify(reply).is_error() {
            server.pops_lost();
        } else {
            server.pops_restored();
        }
    }
}
