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
use crate::protocol::{Protocol, UnblockReason, UpstreamError};
use crate::proxy::blocking::client::{Alarm, PATIENCE, RETRY_AFTER, place, set_deadline};
use crate::proxy::blocking::offset_marker::OffsetMarker;
use crate::proxy::dispatch::{Dispatched, Dispatcher};
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::topology::ServerId;

/// A client that waits for all servers.
#[derive(Debug)]
pub(crate) struct ReplicaWait<P: Protocol> {
    lines: Vec<(ServerId, Lease<P>)>,
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
        let lines = self.lines.iter();
        lines.filter_map(|(server, lease)| Some((*server, lease.upstream()?)))
    }
}

impl<P: Protocol> Dispatcher<P> {
    /// Asks all servers, once nothing else is in flight.
    pub(crate) fn wait_replicas(
        &mut self,
        split: P::MergeSpec,
        frame: &Frame<'_>,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        if !self.replies.is_idle() {
            return Dispatched::Fence;
        }
        let count = self.pool.server_count();
        let mut lines = Vec::with_capacity(count);
        let mut faults = vec![None; count];
        for (server, lacks) in ServerId::all().zip(&mut faults) {
            match self.lease(server) {
                _ if !self.pool.is_live(server) => *lacks = Some(UpstreamError::Ejected),
                Ok(lease) => lines.push((server, lease)),
                Err(LeaseError::Down(error)) => *lacks = Some(error),
                Err(denied) => return self.deny(denied, expect, buffers),
            }
        }
        let context = P::merge_context(split, frame.bytes(), &[], &self.pool.settings);
        let label = P::CommandTag::default();
        let gather = self.gather((context, expect), label, Vec::new(), count, None);
        if faults.iter().any(Option::is_some) {
            // Without it there is no whole: the others are not asked.
            for (error, index) in faults.into_iter().zip(0..=u16::MAX) {
                let responder = Responder::fragment(Rc::clone(&gather), index);
                match error {
                    Some(error) => responder.fail(error),
                    None => responder.complete(Frame::Borrowed(&[])),
                }
            }
            return Dispatched::Taken;
        }
        let asking = ReplicaWait {
            lines,
            is_refused: Rc::default(),
            since: now,
            ending: None,
        };
        let request = Bytes::copy_from_slice(frame.bytes());
        for ((_, upstream), index) in asking.upstreams().zip(0..=u16::MAX) {
            let marker = Rc::new(OffsetMarker {
                gather: Rc::clone(&gather),
                index,
                upstream: Rc::downgrade(upstream),
                request: request.clone(),
                marks: Cell::new(P::markers(split)),
                is_refused: Rc::clone(&asking.is_refused),
            });
            marker.send(now);
        }
        let blocked_on = asking
            .upstreams()
            .filter_map(|(server, upstream)| place(server, upstream));
        P::set_blocked_on(&self.client, blocked_on.collect());
        self.pool.leases.wait(self.session, &self.replies);
        self.pinned.get_or_insert_default().replica_wait = Some(asking);
        Dispatched::Taken
    }

    /// Looks after a client that waits for all servers.
    pub(crate) fn poll_replica_wait(&mut self, cx: &mut Context<'_>) {
        if self.replies.is_idle() {
            return self.end_replica_wait();
        }
        let Some(asking) = self.replica_wait() else {
            return;
        };
        // The answer is an error by now, whatever the others say.
        if asking.is_refused.get() || asking.lines.iter().any(|(_, lease)| lease.is_lost()) {
            self.stop_replica_wait(UnblockReason::Timeout);
        }
        self.poll_replica_replies(cx);
    }

    /// Has the servers end what the client waits for.
    pub(crate) fn stop_replica_wait(&mut self, how: UnblockReason) {
        let Some(asking) = self.replica_wait() else {
            return;
        };
        if asking.ending.is_none() {
            asking.ending = Some((Box::pin(sleep(Duration::ZERO)), how));
            asking
                .upstreams()
                .for_each(|(_, upstream)| set_deadline(upstream));
            self.replies.wake();
        }
    }

    /// Tells those servers that have not answered, now and then, that nobody waits any more.
    fn poll_replica_replies(&mut self, cx: &mut Context<'_>) {
        let Some(mut asking) = self
            .pinned
            .as_mut()
            .and_then(|pinned| pinned.replica_wait.take())
        else {
            return;
        };
        if let Some((alarm, how)) = &mut asking.ending {
            let how = *how;
            let mut rang = false;
            while Pin::new(&mut *alarm).poll(cx).is_ready() {
                alarm.as_mut().reset(Instant::now() + RETRY_AFTER);
                rang = true;
            }
            if rang {
                for (server, upstream) in asking.upstreams().filter(|(_, line)| !line.is_idle()) {
                    self.unblock(server, upstream, how);
                }
            }
        }
        if let Some(pinned) = &mut self.pinned {
            pinned.replica_wait = Some(asking);
        }
    }

    /// What the client waited for has ended, or the client is gone: then nobody knows what the connections have in flight,
    /// and they are closed.
    pub(crate) fn end_replica_wait(&mut self) {
        let Some(asking) = self
            .pinned
            .as_mut()
            .and_then(|pinned| pinned.replica_wait.take())
        else {
            return;
        };
        P::set_blocked_on(&self.client, Vec::new());
        self.pool.leases.wait_no_more(self.session);
        for (_, lease) in asking.lines {
            if let Some(upstream) = lease.upstream()
                && upstream.is_idle()
            {
                upstream.clear_deadline();
                lease.release();
            }
        }
        self.unpin_if_idle();
    }

    fn replica_wait(&mut self) -> Option<&mut ReplicaWait<P>> {
        self.pinned.as_mut()?.replica_wait.as_mut()
    }
}
