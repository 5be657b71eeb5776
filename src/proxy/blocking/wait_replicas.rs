//! Requests that ask all servers how far replicas, or their disks, are with what the client has written.
//!
//! ```text
//! WAIT ----fence--> a lease on each server: mark, then the request --the least of all replies--> client
//! ```
//!
//! Nothing is taken out of a key, so the connections of a client that leaves are just closed.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::buf::Frame;
use crate::protocol::{Blocking as _, Merge as _, ReplicaWait as _};
use crate::protocol::{Protocol, UnblockReason, UpstreamError};
use crate::proxy::blocking::deadline::{
    Alarm, PATIENCE, RETRY_AFTER, place, set_deadline, unblock,
};
use crate::proxy::blocking::offset_marker::OffsetMarker;
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::topology::ServerId;

/// A client that waits for all servers.
#[derive(Debug)]
pub(crate) struct ReplicaWait<P: Protocol> {
    conns: Vec<(ServerId, Lease<P>)>,
    /// One of them has answered for good that it will not say it.
    is_refused: Rc<Cell<bool>>,
    since: Instant,
    /// Rings when servers are to be told again that nobody waits any more.
    ending: Option<(Alarm, UnblockReason)>,
}

impl<P: Protocol> ReplicaWait<P> {
    /// Whether the end of what the client says is the end of its wait. Servers do not say whether they let it wait; those that
    /// do not have answered by then.
    pub(crate) fn is_blocked(&self) -> bool {
        self.since.elapsed() >= PATIENCE
    }

    /// The connections, each with its server.
    fn upstreams(&self) -> impl Iterator<Item = (ServerId, &Rc<UpstreamConn<P>>)> {
        let conns = self.conns.iter();
        conns.filter_map(|(server, lease)| Some((*server, lease.upstream()?)))
    }

    /// Asks all servers, once nothing else is in flight. `Err` where the client does not have to wait.
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
        let count = fw.backends.server_count();
        let mut conns = Vec::with_capacity(count);
        let mut errors = vec![None; count];
        for (server, error) in ServerId::all().zip(&mut errors) {
            if !fw.backends.is_live(server) {
                *error = Some(UpstreamError::Ejected);
                continue;
            }
            match fw.lease(server) {
                Ok(lease) => conns.push((server, lease)),
                Err(LeaseError::Down(down)) => *error = Some(down),
                Err(denied) => {
                    for (_, lease) in conns {
                        lease.release();
                    }
                    return Err(fw.deny(denied, expect, buffers));
                }
            }
        }
        let context = P::Merge::merge_context(spec, frame.bytes(), &[], &fw.pool.settings);
        let tag = P::CommandTag::default();
        let gather = fw.gather((context, expect), tag, Vec::new(), count, None);
        if errors.iter().any(Option::is_some) {
            // Without it there is no whole: the others are not asked.
            for (_, lease) in conns {
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
            conns,
            is_refused: Rc::default(),
            since: now,
            ending: None,
        };
        let request = Bytes::copy_from_slice(frame.bytes());
        for ((_, upstream), index) in wait.upstreams().zip(0..=u16::MAX) {
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
        let blocked_on = wait
            .upstreams()
            .filter_map(|(server, upstream)| place(server, upstream));
        P::Stateful::set_blocked_on(&fw.client, blocked_on.collect());
        fw.pool.leases.wait(fw.session, &fw.replies);
        Ok(wait)
    }

    /// Advances the wait. Returns true if it is over.
    pub(crate) fn poll(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> bool {
        if fw.replies.is_idle() {
            return true;
        }
        // The answer is an error by now, whatever the others reply.
        if self.is_refused.get() || self.conns.iter().any(|(_, lease)| lease.is_lost()) {
            self.stop(fw, UnblockReason::Timeout);
        }
        self.poll_ending(fw, cx);
        false
    }

    /// Has the servers end what the client waits for.
    pub(crate) fn stop(&mut self, fw: &Forwarder<P>, how: UnblockReason) {
        if self.ending.is_none() {
            self.ending = Some((Box::pin(sleep(Duration::ZERO)), how));
            self.upstreams()
                .for_each(|(_, upstream)| set_deadline(upstream));
            fw.replies.wake();
        }
    }

    /// Asks those servers that have not answered, now and then, to end the wait.
    fn poll_ending(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) {
        let Some((alarm, how)) = &mut self.ending else {
            return;
        };
        let how = *how;
        let mut rang = false;
        while Pin::new(&mut *alarm).poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + RETRY_AFTER);
            rang = true;
        }
        if rang {
            for (server, upstream) in self.upstreams().filter(|(_, conn)| !conn.is_idle()) {
                unblock(fw, server, upstream, how);
            }
        }
    }

    /// Gives the connections back: what the client waited for has ended. If the client is gone, nobody knows what they have
    /// in flight, and such a one is closed.
    pub(crate) fn end(self, fw: &Forwarder<P>) {
        P::Stateful::set_blocked_on(&fw.client, Vec::new());
        fw.pool.leases.wait_no_more(fw.session);
        for (_, lease) in self.conns {
            if let Some(upstream) = lease.upstream()
                && upstream.is_idle()
            {
                upstream.clear_deadline();
                lease.release();
            }
        }
    }
}
