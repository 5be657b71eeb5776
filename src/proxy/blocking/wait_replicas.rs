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
use crate::protocol::{Fault, Protocol, Unblocked};
use crate::proxy::blocking::client::{AGAIN, Alarm, PATIENCE, give_time, place};
use crate::proxy::blocking::offset_marker::Mark;
use crate::proxy::dispatch::{Dispatcher, Next};
use crate::proxy::pool::dedicated::{Denied, Lease};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::upstream::conn::Upstream;
use crate::proxy::worker::plan_buffers::Work;
use crate::topology::ServerId;

/// A client that waits for all servers.
#[derive(Debug)]
pub(crate) struct Asking<P: Protocol> {
    lines: Vec<(ServerId, Lease<P>)>,
    /// One of them has answered for good that it will not say it.
    is_refused: Rc<Cell<bool>>,
    since: Instant,
    /// Rings when servers are to be told again that nobody waits any more.
    ending: Option<(Alarm, Unblocked)>,
}

impl<P: Protocol> Asking<P> {
    /// Whether the end of what the client says is the end of its wait. Servers do not say whether they let it wait; those that
    /// do not have answered by then.
    pub(crate) fn is_blocked(&self) -> bool {
        self.since.elapsed() >= PATIENCE
    }

    /// The connections, each with its server.
    fn upstreams(&self) -> impl Iterator<Item = (ServerId, &Rc<Upstream<P>>)> {
        let lines = self.lines.iter();
        lines.filter_map(|(server, lease)| Some((*server, lease.upstream()?)))
    }
}

impl<P: Protocol> Dispatcher<P> {
    /// Asks all servers, once nothing else is in flight.
    pub(crate) fn attest(
        &mut self,
        split: P::Split,
        frame: &Frame<'_>,
        expect: P::Expect,
        work: &mut Work,
        now: Instant,
    ) -> Next<P> {
        if !self.pipeline.is_idle() {
            return Next::Fenced;
        }
        let count = self.pool.server_count();
        let mut lines = Vec::with_capacity(count);
        let mut faults = vec![None; count];
        for (server, lacks) in ServerId::all().zip(&mut faults) {
            match self.lease(server) {
                _ if !self.pool.is_live(server) => *lacks = Some(Fault::Ejected),
                Ok(lease) => lines.push((server, lease)),
                Err(Denied::Down(fault)) => *lacks = Some(fault),
                Err(denied) => return self.deny(denied, expect, work),
            }
        }
        let joint = P::joint(split, frame.bytes(), &[], &self.pool.settings);
        let label = P::Label::default();
        let gather = self.gather((joint, expect), label, Vec::new(), count, None);
        if faults.iter().any(Option::is_some) {
            // Without it there is no whole: the others are not asked.
            for (fault, index) in faults.into_iter().zip(0..=u16::MAX) {
                let ticket = Ticket::fragment(Rc::clone(&gather), index);
                match fault {
                    Some(fault) => ticket.fail(fault),
                    None => ticket.complete(Frame::Borrowed(&[])),
                }
            }
            return Next::Continue;
        }
        let asking = Asking {
            lines,
            is_refused: Rc::default(),
            since: now,
            ending: None,
        };
        let request = Bytes::copy_from_slice(frame.bytes());
        for ((_, upstream), index) in asking.upstreams().zip(0..=u16::MAX) {
            let mark = Mark {
                gather: Rc::clone(&gather),
                index,
                upstream: Rc::downgrade(upstream),
                request: request.clone(),
                marks: P::marks(split),
                is_refused: Rc::clone(&asking.is_refused),
            };
            mark.send(now);
        }
        let places = asking.upstreams();
        let places = places.filter_map(|(server, upstream)| place(server, upstream));
        P::note_blocked(&self.client, places.collect());
        self.pool.leases.wait(self.session, &self.pipeline);
        self.held.get_or_insert_default().asking = Some(asking);
        Next::Continue
    }

    /// Looks after a client that waits for all servers.
    pub(crate) fn look_after_asking(&mut self, cx: &mut Context<'_>) {
        if self.pipeline.is_idle() {
            return self.end_asking();
        }
        let Some(asking) = self.asking() else {
            return;
        };
        // The answer is an error by now, whatever the others say.
        if asking.is_refused.get() || asking.lines.iter().any(|(_, lease)| lease.is_lost()) {
            self.stop_asking(Unblocked::Timeout);
        }
        self.poll_asking(cx);
    }

    /// Has the servers end what the client waits for.
    pub(crate) fn stop_asking(&mut self, how: Unblocked) {
        let Some(asking) = self.asking() else {
            return;
        };
        if asking.ending.is_none() {
            asking.ending = Some((Box::pin(sleep(Duration::ZERO)), how));
            asking
                .upstreams()
                .for_each(|(_, upstream)| give_time(upstream));
            self.pipeline.nudge();
        }
    }

    /// Tells those servers that have not answered, now and then, that nobody waits any more.
    fn poll_asking(&mut self, cx: &mut Context<'_>) {
        let Some(mut asking) = self.held.as_mut().and_then(|held| held.asking.take()) else {
            return;
        };
        if let Some((alarm, how)) = &mut asking.ending {
            let how = *how;
            let mut rang = false;
            while Pin::new(&mut *alarm).poll(cx).is_ready() {
                alarm.as_mut().reset(Instant::now() + AGAIN);
                rang = true;
            }
            if rang {
                for (server, upstream) in asking.upstreams().filter(|(_, line)| !line.is_quiet()) {
                    self.unblock(server, upstream, how);
                }
            }
        }
        if let Some(held) = &mut self.held {
            held.asking = Some(asking);
        }
    }

    /// What the client waited for has ended, or the client is gone: then nobody knows what the connections have in flight,
    /// and they are closed.
    pub(crate) fn end_asking(&mut self) {
        let Some(asking) = self.held.as_mut().and_then(|held| held.asking.take()) else {
            return;
        };
        P::note_blocked(&self.client, Vec::new());
        self.pool.leases.wait_no_more(self.session);
        for (_, lease) in asking.lines {
            if let Some(upstream) = lease.upstream()
                && upstream.is_quiet()
            {
                upstream.lift_end();
                lease.release();
            }
        }
        self.let_go();
    }

    fn asking(&mut self) -> Option<&mut Asking<P>> {
        self.held.as_mut()?.asking.as_mut()
    }
}
