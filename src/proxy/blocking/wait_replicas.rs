//! WAIT and WAITAOF on all servers: the replication, or persistence, of the client's writes.
//!
//! ```text
//! WAIT ----fence--> a lease on each server: marker, then the request --the minimum of all replies--> client
//! ```
//!
//! Nothing is popped from a key, so the connections of a disconnected client are just closed.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::buf::Frame;
use crate::protocol::{BlockedOn, Protocol, UnblockReason, UpstreamError};
use crate::protocol::{Blocking as _, Merge as _, ReplicaWait as _};
use crate::proxy::blocking::deadline::{
    Alarm, END_TIMEOUT, RETRY_AFTER, place, set_deadline, unblock,
};
use crate::proxy::blocking::offset_marker::OffsetMarker;
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::topology::KeyHashes;

/// A client that is blocked on all servers.
#[derive(Debug)]
pub(crate) struct ReplicaWait<P: Protocol> {
    leases: Vec<Lease<P>>,
    gather: Rc<Gather<P>>,
    /// One of the servers has rejected the request for good.
    is_refused: Rc<Cell<bool>>,
    since: Instant,
    /// Fires when the next unblock is due.
    ending: Option<(Alarm, UnblockReason)>,
}

impl<P: Protocol> ReplicaWait<P> {
    /// Returns true if EOF from the client ends its wait. Servers do not report whether they block; those that do not
    /// have replied by then.
    pub(crate) fn is_blocked(&self) -> bool {
        self.since.elapsed() >= END_TIMEOUT
    }

    fn upstreams(&self) -> impl Iterator<Item = &Rc<UpstreamConn<P>>> {
        self.leases.iter().filter_map(Lease::upstream)
    }

    /// Sends the request to all servers, once nothing else is in flight. `Err` if the client does not have to wait.
    pub(crate) fn start(
        spec: P::MergeSpec,
        fw: &Forwarder<P>,
        frame: &Frame<'_>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Result<Self, Dispatched<P>> {
        if !fw.replies.is_idle() {
            return Err(Dispatched::Fence);
        }
        let servers: Vec<_> = fw.view.asked_servers().collect();
        let count = servers.len();
        let is_live = |index| fw.view.is_live(index);
        let mut errors: Vec<_> = servers
            .iter()
            .map(|&index| (!is_live(index)).then_some(UpstreamError::Ejected))
            .collect();
        let mut leases = Vec::with_capacity(count);
        if errors.iter().all(Option::is_none) {
            for (&server, error) in servers.iter().zip(&mut errors) {
                match fw.lease(server) {
                    Ok(lease) => leases.push(lease),
                    Err(LeaseError::Down(down)) => *error = Some(down),
                    Err(denied) => {
                        for lease in leases {
                            lease.release();
                        }
                        return Err(fw.deny(denied, expect, buffers));
                    }
                }
            }
        }
        let context = P::Merge::merge_context(spec, frame.bytes(), &[], &fw.view.settings);
        let request = (fw.command.get(), frame.bytes());
        let since = (now, false);
        let gather = fw.gather((context, expect), request, Vec::new(), count, since);
        if errors.iter().any(Option::is_some) {
            // Without its reply there is no merged one: nothing is sent to the others.
            for lease in leases {
                lease.release();
            }
            for (error, index) in errors.into_iter().zip(0..=u16::MAX) {
                let responder = Responder::fragment(Rc::clone(&gather), index);
                match error {
                    Some(error) => responder.fail(error),
                    None => responder.complete(Frame::Borrowed(&[])),
                }
            }
            return Err(Dispatched::Taken);
        }
        let wait = Self {
            leases,
            gather: Rc::clone(&gather),
            is_refused: Rc::default(),
            since: now,
            ending: None,
        };
        let request = Bytes::copy_from_slice(frame.bytes());
        for dedicated in wait
            .upstreams()
            .filter_map(|upstream| upstream.dedicated.as_deref())
        {
            // For no key: keys that move are no reason to end it.
            dedicated.waits_for.replace(Some(KeyHashes::default()));
        }
        for (upstream, index) in wait.upstreams().zip(0..=u16::MAX) {
            let marker = Rc::new(OffsetMarker {
                gather: Rc::clone(&gather),
                index,
                upstream: Rc::downgrade(upstream),
                request: request.clone(),
                marks: Cell::new(P::Stateful::markers(spec)),
                is_refused: Rc::clone(&wait.is_refused),
            });
            marker.send(now);
        }
        let blocked_on = wait.upstreams().filter_map(|upstream| place(upstream));
        P::Stateful::set_blocked_on(&fw.client, BlockedOn::Servers(blocked_on.collect()));
        fw.pool.leases.wait(fw.session, &fw.replies);
        Ok(wait)
    }

    /// Advances the wait. Returns true if it is over.
    pub(crate) fn poll(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> bool {
        if fw.replies.is_idle() {
            return true;
        }
        // The merged reply is an error by now, whatever the others reply.
        if self.is_refused.get() || self.leases.iter().any(Lease::is_lost) {
            self.gather.cancel();
            self.stop(fw, UnblockReason::Timeout);
        }
        self.poll_ending(fw, cx);
        false
    }

    /// Has the servers unblock the client.
    pub(crate) fn stop(&mut self, fw: &Forwarder<P>, reason: UnblockReason) {
        if self.ending.is_none() {
            self.ending = Some((Box::pin(sleep(Duration::ZERO)), reason));
            self.upstreams().for_each(|upstream| set_deadline(upstream));
            fw.replies.wake();
        }
    }

    /// Sends an unblock, repeatedly, to those servers that have not replied.
    fn poll_ending(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) {
        let Some((alarm, reason)) = &mut self.ending else {
            return;
        };
        let reason = *reason;
        let mut fired = false;
        while Pin::new(&mut *alarm).poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + RETRY_AFTER);
            fired = true;
        }
        if fired {
            let is_waiting =
                |lease: &&Lease<P>| lease.upstream().is_some_and(|conn| !conn.is_idle());
            for lease in self.leases.iter().filter(is_waiting) {
                unblock(fw, lease, reason);
            }
        }
    }

    /// Releases the leases after the wait. If the client is gone, a connection may have requests in flight, and is then
    /// closed.
    pub(crate) fn end(self, fw: &Forwarder<P>) {
        P::Stateful::set_blocked_on(&fw.client, BlockedOn::default());
        fw.pool.leases.wait_no_more(fw.session);
        for lease in self.leases {
            if let Some(upstream) = lease.upstream()
                && upstream.is_idle()
            {
                upstream.clear_deadline();
                lease.release();
            }
        }
    }
}
