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
use std::task::Context;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep, sleep_until};

use crate::buf::Frame;
use crate::protocol::{BlockedOn, Protocol, ProxyReply, Span, UnblockReason, UpstreamError};
use crate::protocol::{Blocking as _, Transactions as _};
use crate::proxy::blocking::call::{BlockingCall, Outcome};
use crate::proxy::blocking::deadline::{
    Alarm, END_TIMEOUT, RETRY_AFTER, obstacle_of, opens_once, place, set_deadline, text_of, unblock,
};
use crate::proxy::blocking::primary_wait::{Next, PrimaryWait};
use crate::proxy::blocking::request::BlockingRequest;
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::dedicated::Lease;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::worker::plan_buffers::PlanBuffers;

/// A blocked client.
#[derive(Debug)]
pub(crate) struct BlockedClient<P: Protocol> {
    pub(super) call: Rc<BlockingCall<P>>,
    /// Its connection; none while it waits for a primary.
    lease: Option<Lease<P>>,
    /// That of the lease, or the shared one that it waits for.
    pub(super) upstream: Rc<UpstreamConn<P>>,
    request: BlockingRequest,
    /// Fires when the next unblock is due.
    pub(super) ending: Option<Alarm>,
    /// Its wait for a primary, until its server has taken the request.
    wait: Option<Box<PrimaryWait>>,
    /// Fires when its time is over before its connection is open.
    opening: Option<Alarm>,
    /// The reply that the server gives when it is unblocked.
    reason: UnblockReason,
    /// Why the proxy ends its wait.
    early: Option<ProxyReply>,
    /// The elements that are restored for a client that is gone.
    pub(super) restore: Option<Restore>,
    since: Instant,
    /// Other clients can see that the client is blocked.
    is_visible: bool,
    /// It waits on in another process.
    is_leaving: bool,
}

/// A request that restores popped elements.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) request: Bytes,
    pub(super) key: Span,
    pub(super) is_sent: bool,
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
        let (lease, upstream) = match fw.awaited_primary(server, now) {
            Some((shared, Admission::Down(error))) => {
                return Err(fw.fail_at(&shared.server, error, expect));
            }
            Some((shared, _)) => (None, shared),
            None => {
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
                (Some(lease), upstream)
            }
        };
        let request = BlockingRequest::copy(fw, frame.bytes(), buffers);
        let seq = Some(fw.reserve());
        let waits = (fw.command.get(), now);
        let bytes = request.bytes().clone();
        let call = BlockingCall::new(&fw.replies, seq, expect, waits, &upstream, bytes);
        if lease.is_some() {
            opens_once(&upstream);
            request.note_keys(fw, &upstream);
            call.try_now(&upstream, now);
        } else {
            call.await_primary();
            fw.replies.wake();
        }
        fw.pool.leases.wait(fw.session, &fw.replies);
        Ok(Self {
            call,
            lease,
            upstream,
            request,
            ending: None,
            wait: None,
            opening: None,
            reason: UnblockReason::Error,
            early: None,
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
                    self.note_taken();
                } else if self.is_presumably_taken(cx) {
                    self.let_others_ask();
                }
                self.show_blocked(fw);
                if self.poll_opening(fw, cx) {
                    return false;
                }
                if self.request.has_moved(fw, self.upstream.server.id()) {
                    self.leave_server(fw);
                }
                self.poll_ending(fw, cx);
                false
            }
            Outcome::Unblocked | Outcome::Refused if self.is_leaving => false,
            Outcome::Unblocked if self.request.is_held(fw) => {
                let guard = self.upstream.server.guard.as_ref();
                if let Some(notice) = self.early {
                    self.conclude(fw, notice);
                } else if guard.is_some_and(|guard| guard.is_overdue(Instant::now())) {
                    self.call.conclude(text_of::<P>(ProxyReply::KeysMoved));
                    fw.replies.wake();
                } else {
                    fw.pool.backends.wait_for_change(cx.waker());
                }
                false
            }
            Outcome::Unblocked => {
                if let Some(notice) = self.early {
                    self.conclude(fw, notice);
                } else if let Err(obstacle) = self.ask_again(fw) {
                    if self.upstream.server.failover.is_some() {
                        self.call.await_primary();
                        self.is_visible = false;
                        self.wait_on(fw, cx).on_obstacle(obstacle);
                    } else {
                        self.call.conclude(text_of::<P>(ProxyReply::KeysMoved));
                    }
                }
                fw.replies.wake();
                false
            }
            Outcome::Refused => {
                self.poll_refused(fw, cx);
                false
            }
            Outcome::Answered(_) => {
                self.note_taken();
                // The client may read slowly; there is nothing left to unblock.
                P::Stateful::set_blocked_on(&fw.client, BlockedOn::default());
                is_flushed
            }
            Outcome::Failed => true,
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
        if leaves && self.ending.is_none() && self.call.outcome() == Outcome::Open {
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

    /// Sends the request to the server that stores its keys by now, with the time that is left. `Err` if it cannot be sent.
    fn ask_again(&mut self, fw: &Forwarder<P>) -> Result<(), ProxyReply> {
        let now = Instant::now();
        let owner = self.request.owner(fw).ok_or(ProxyReply::KeysMoved)?;
        let server = fw.view.id(owner);
        // Not after an unblock, which may arrive yet.
        let is_clean = self.ending.is_none();
        let stays =
            |lease: &Lease<P>| is_clean && !lease.is_lost() && server == Some(lease.server());
        self.upstream.clear_deadline();
        let lease = match self.lease.take() {
            Some(lease) if stays(&lease) => lease,
            other => {
                // First, since there may be no room for another.
                drop(other);
                fw.lease(owner).map_err(obstacle_of)?
            }
        };
        let upstream = lease.upstream().cloned().ok_or(ProxyReply::KeysMoved)?;
        opens_once(&upstream);
        let request = self.request.shortened::<P>(now - self.since);
        self.request.note_keys(fw, &upstream);
        let (seq, expect, waits) = (self.call.seq(), self.call.expect(), self.call.waits());
        let call = BlockingCall::new(&fw.replies, seq, expect, waits, &upstream, request);
        call.try_now(&upstream, now);
        P::Stateful::set_blocked_on(&fw.client, BlockedOn::default());
        self.call = call;
        self.upstream = upstream;
        self.lease = Some(lease);
        self.request.sent_again(fw);
        self.ending = None;
        self.opening = None;
        self.is_visible = false;
        Ok(())
    }

    /// Waits for a primary, without a connection, and sends the request to it.
    fn poll_refused(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) {
        if let Some(notice) = self.early {
            return self.conclude(fw, notice);
        }
        let server = Rc::clone(&self.upstream.server);
        // Not released: its server is no primary.
        if self.lease.take().is_some() {
            if let Some(failover) = &server.failover {
                failover.set_refuses_blocked(true);
            }
            self.is_visible = false;
            self.wait_on(fw, cx).on_refusal(server.id());
        }
        let (owner, ends_at) = (self.request.owner(fw), self.ends_at());
        let next = self.wait_on(fw, cx).poll(fw, (owner, &server), ends_at, cx);
        let reply = match next {
            Next::Wait => return,
            Next::Ask => {
                if let Err(obstacle) = self.ask_again(fw) {
                    self.wait_on(fw, cx).on_obstacle(obstacle);
                }
                return fw.replies.wake();
            }
            Next::TimedOut | Next::Unblocked(UnblockReason::Timeout) => {
                return self.time_out(fw);
            }
            Next::Unblocked(UnblockReason::Error) => text_of::<P>(ProxyReply::Unblocked),
            Next::GiveUp(Some(obstacle)) => text_of::<P>(obstacle),
            Next::GiveUp(None) => server.reply_for(UpstreamError::NoPrimary),
            Next::Fail(error) => server.reply_for(error),
        };
        self.wait = None;
        self.call.conclude(reply);
        fw.replies.wake();
    }

    /// Its wait for a primary, which other clients can end.
    fn wait_on(&mut self, fw: &Forwarder<P>, cx: &Context<'_>) -> &mut PrimaryWait {
        let blocked_on = &mut self.is_visible;
        let wait = self
            .wait
            .get_or_insert_with(|| Box::new(PrimaryWait::begin(cx.waker())));
        if !mem::replace(blocked_on, true) {
            let place = BlockedOn::Proxy(wait.orders());
            P::Stateful::set_blocked_on(&fw.client, place);
        }
        wait
    }

    /// Notes that a server has taken the request.
    fn note_taken(&mut self) {
        if self.wait.take().is_some() {
            self.let_others_ask();
        }
    }

    /// Returns true, once, if its server has not refused the request for a moment. It may never say that it has taken one that
    /// is not tried first, such as XREAD.
    fn is_presumably_taken(&mut self, cx: &mut Context<'_>) -> bool {
        let is_sent = self.call.is_sent() && !self.upstream.nothing_sent();
        let wait = self.wait.as_mut();
        wait.is_some_and(|wait| wait.poll_unrefused(is_sent, cx))
    }

    /// Has all clients that wait ask their server at once.
    fn let_others_ask(&self) {
        if let Some(failover) = &self.upstream.server.failover {
            failover.set_refuses_blocked(false);
        }
    }

    /// When the time of the request is over.
    fn ends_at(&self) -> Option<Instant> {
        self.since.checked_add(self.request.limit::<P>()?)
    }

    /// Ends the wait when the time of the request is over, and its connection is not open yet. Returns true if it has.
    fn poll_opening(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> bool {
        let is_opening = self.upstream.server.failover.is_some() && self.upstream.nothing_sent();
        let Some(ends_at) = self.ends_at().filter(|_| is_opening) else {
            self.opening = None;
            return false;
        };
        let alarm = self
            .opening
            .get_or_insert_with(|| Box::pin(sleep_until(ends_at)));
        if alarm.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.time_out(fw);
        self.lease = None;
        true
    }

    /// Answers the client as at the end of its time: the request is nowhere.
    fn time_out(&mut self, fw: &Forwarder<P>) {
        let mut reply = BytesMut::new();
        P::Stateful::write_nil(&fw.client, &mut reply);
        self.wait = None;
        self.call.conclude(reply.freeze());
        fw.replies.wake();
    }

    /// Ends the wait of a client whose request is nowhere, and tells why.
    fn conclude(&mut self, fw: &Forwarder<P>, notice: ProxyReply) {
        if self.request.limit::<P>().is_some() {
            return self.time_out(fw);
        }
        self.wait = None;
        self.call.conclude(text_of::<P>(notice));
    }

    /// Ends the wait of a client, and tells why: as at its timeout, or, if it waits without a limit, by an error.
    pub(crate) fn end_early(&mut self, fw: &Forwarder<P>, notice: ProxyReply) {
        if self.ending.is_none() {
            if self.request.limit::<P>().is_some() {
                self.reason = UnblockReason::Timeout;
            }
            self.call.set_notice(notice);
            self.early = Some(notice);
        }
        match self.call.outcome() {
            Outcome::Open if self.upstream.nothing_sent() => {
                self.conclude(fw, notice);
                self.lease = None;
            }
            Outcome::Open => self.end_wait(fw),
            Outcome::Refused | Outcome::Unblocked => self.conclude(fw, notice),
            Outcome::Answered(_) | Outcome::Failed => {}
        }
    }

    /// Has the server unblock the client.
    pub(super) fn end_wait(&mut self, fw: &Forwarder<P>) {
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

    /// Releases the lease after the wait.
    pub(crate) fn end(self, fw: &Forwarder<P>) {
        P::Stateful::set_blocked_on(&fw.client, BlockedOn::default());
        fw.pool.leases.wait_no_more(fw.session);
        self.upstream.clear_deadline();
        if let Some(lease) = self.lease {
            lease.release();
        }
    }

    /// Sends the server an unblock, repeatedly.
    pub(super) fn poll_ending(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) {
        let Some(alarm) = &mut self.ending else {
            return;
        };
        let mut ticks = 0;
        while alarm.as_mut().poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + RETRY_AFTER);
            ticks += 1;
        }
        // An attempt ends by itself; a server that has paused it would take that for an order to answer twice (Redis 7.0).
        if ticks > 0
            && self.call.is_sent()
            && let Some(lease) = &self.lease
        {
            unblock(fw, lease, self.reason);
        }
    }

    /// Shows other clients that the client is blocked, once its server has the request: they may rely on it.
    fn show_blocked(&mut self, fw: &Forwarder<P>) {
        if self.call.is_sent() && !mem::replace(&mut self.is_visible, true) {
            let place = place(&self.upstream).into_iter().collect();
            P::Stateful::set_blocked_on(&fw.client, BlockedOn::Servers(place));
        }
    }

    /// Returns true if the reply has not arrived.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.call.outcome(), Outcome::Answered(_) | Outcome::Failed)
    }

    /// Returns true if EOF from the client ends its wait: nothing is in flight that would be lost.
    pub(crate) fn is_blocked(&self) -> bool {
        let is_nowhere = matches!(self.call.outcome(), Outcome::Refused | Outcome::Unblocked);
        let is_late = || self.is_open() && self.since.elapsed() >= END_TIMEOUT;
        is_nowhere || self.call.blocks() || is_late()
    }
}
