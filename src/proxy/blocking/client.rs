//! A client that waits for what other clients do (BLPOP, XREAD BLOCK ...), on a dedicated connection.
//!
//! ```text
//! BLPOP ----fence, acquire--> BlockedClient: nothing else is taken
//!                               |-- the reply is written to the client ----------------------------> release
//!                               |-- the client leaves: CLIENT UNBLOCK; the reply, if any, is put back -> release
//! ```
//!
//! Closing the connection of a client that has left would not do: a server that has popped an element for it, and reads the
//! end of the connection in the same turn, drops the element. `CLIENT UNBLOCK` has exactly one reply come, in any case.

use std::future::Future;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep};

use crate::buf::Frame;
use crate::protocol::Blocking as _;
use crate::protocol::{Protocol, Span, UnblockReason, UpstreamError};
use crate::proxy::blocking::call::{BlockingCall, Outcome};
use crate::proxy::blocking::deadline::{
    Alarm, PATIENCE, RETRY_AFTER, place, set_deadline, unblock,
};
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::dedicated::Lease;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::topology::ServerId;

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
    is_announced: bool,
}

impl<P: Protocol> BlockedClient<P> {
    /// Sends a request that may wait, once nothing else is in flight.
    pub(crate) fn block(
        fw: &Forwarder<P>,
        frame: &Frame<'_>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Result<Self, Dispatched<P>> {
        let owner = match fw.common_owner(&buffers.keys, frame) {
            Ok(owner) if !buffers.keys.is_empty() => owner,
            Ok(_) => fw.backends.route(P::PLACEHOLDER),
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
        // Not that of its watch: what is tried in a transaction would end it.
        let lease = fw
            .lease(server)
            .map_err(|denied| fw.deny(denied, expect, buffers))?;
        let Some(upstream) = lease.upstream().cloned() else {
            return Err(fw.fail(UpstreamError::Dropped, expect));
        };
        if let Admission::Down(error) = upstream.admit(now) {
            return Err(fw.fail(error, expect));
        }
        let request = Bytes::copy_from_slice(frame.bytes());
        let seq = Some(fw.reserve());
        let call = BlockingCall::new(&fw.replies, seq, expect, &upstream, request);
        call.try_now(&upstream, now);
        fw.pool.leases.wait(fw.session, &fw.replies);
        Ok(Self {
            call,
            lease,
            upstream,
            server,
            keys: buffers.keys.iter().map(|key| key.key).collect(),
            epoch: fw.backends.epoch(),
            ending: None,
            gives_back: false,
            since: now,
            is_announced: false,
        })
    }

    /// Advances the wait. `is_paid` says that everything that came for the client is written. Returns true if it is over.
    pub(crate) fn poll(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>, is_paid: bool) -> bool {
        match self.call.outcome() {
            Outcome::Open => {
                self.announce(fw);
                if self.has_moved(fw) {
                    self.end_wait(fw);
                }
                self.poll_ending(fw, cx);
                false
            }
            Outcome::Answered(_) if is_paid => true,
            Outcome::Failed => true,
            // Its client takes its time; nothing can be ended for it any more.
            Outcome::Answered(_) => {
                P::Stateful::set_blocked_on(&fw.client, Vec::new());
                false
            }
        }
    }

    /// Has the server end what the client waits for.
    pub(crate) fn end_wait(&mut self, fw: &Forwarder<P>) {
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

    /// Advances the wait of a client that is gone. Ready when nothing is left to do.
    pub(crate) fn poll_orphaned(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let reply = match self.call.outcome() {
                Outcome::Open if self.gives_back => {
                    let alarm = self.ending.as_mut();
                    ready!(alarm.map_or(Poll::Ready(()), |alarm| alarm.as_mut().poll(cx)));
                    Bytes::new()
                }
                Outcome::Open => {
                    self.call.detach_client();
                    self.end_wait(fw);
                    self.poll_ending(fw, cx);
                    if self.call.outcome() == Outcome::Open {
                        return Poll::Pending;
                    }
                    continue;
                }
                Outcome::Failed => Bytes::new(),
                Outcome::Answered(reply) => reply,
            };
            if self.gives_back {
                self.note_pops_restored(&reply);
                return Poll::Ready(());
            }
            if !self.restore_popped(fw, &reply) {
                return Poll::Ready(());
            }
        }
    }

    /// Gives the connection back: what the client waited for has ended.
    pub(crate) fn end(self, fw: &Forwarder<P>) {
        P::Stateful::set_blocked_on(&fw.client, Vec::new());
        fw.pool.leases.wait_no_more(fw.session);
        self.upstream.clear_deadline();
        self.lease.release();
    }

    /// Puts back what was taken for a client that is gone. Returns true if it must be waited for.
    fn restore_popped(&mut self, fw: &Forwarder<P>, reply: &[u8]) -> bool {
        let mut request = BytesMut::new();
        if !P::Stateful::restore_popped(self.call.request(), reply, &mut request) {
            return false;
        }
        let mut upstream = Rc::clone(&self.upstream);
        let request = request.freeze();
        let expect = self.call.expect();
        self.call = BlockingCall::new(&fw.replies, None, expect, &upstream, request.clone());
        self.gives_back = true;
        self.ending = Some(Box::pin(sleep(PATIENCE)));
        set_deadline(&self.upstream);
        if upstream.is_lost()
            && let Some(shared) = fw.backends.upstream(self.server, fw.profile, fw.session)
        {
            upstream = Rc::clone(shared);
        }
        upstream.forward(
            Frame::Shared(request),
            Span::default(),
            self.call.responder(),
            Instant::now(),
        );
        true
    }

    /// Asks the server, now and then, to end the wait.
    fn poll_ending(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) {
        let Some(alarm) = &mut self.ending else {
            return;
        };
        let mut rings = 0;
        while alarm.as_mut().poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + RETRY_AFTER);
            rings += 1;
        }
        if rings > 0 {
            unblock(fw, self.server, &self.upstream, UnblockReason::Error);
        }
    }

    /// Lets others know that the client waits, once its server has what it waits for: who sees that may rely on it.
    fn announce(&mut self, fw: &Forwarder<P>) {
        if self.call.is_sent() && !mem::replace(&mut self.is_announced, true) {
            let place = place(self.server, &self.upstream);
            P::Stateful::set_blocked_on(&fw.client, place.into_iter().collect());
        }
    }

    /// Returns true if a key of what waits is stored on another server by now.
    fn has_moved(&self, fw: &Forwarder<P>) -> bool {
        let request = self.call.request();
        let owner = |key: &Span| fw.backends.route(key.of(request));
        self.epoch != fw.backends.epoch()
            && !fw.backends.is_random()
            && self.keys.iter().any(|key| owner(key) != Some(self.server))
    }

    /// Returns true if the reply has not come.
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
