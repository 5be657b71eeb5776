//! The observation point: each request passes it once, when it is taken.
//!
//! ```text
//! session --request--> offer --countdown not at zero--> dispatch
//!                        +-----at zero: dispatch, then look at what was taken
//! ```
//!
//! The countdown is at zero for samples, and for each request while somebody watches. Those who see the requests themselves
//! see what is queued in a transaction when that is executed, as with Redis's `MONITOR`.

use std::rc::Rc;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::observe::Seen;
use crate::protocol::{ClientState as _, PoolObserver as _, Protocol};
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::dispatch::monitoring::Monitoring;
use crate::proxy::forward::Dispatched;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::PoolMetric;

impl<P: Protocol> Dispatcher<P> {
    /// Plans and executes one request, and has it observed if it is its turn. `bytes` are those of its frame.
    #[inline]
    pub(crate) fn offer(
        &mut self,
        request: &P::Request,
        frame: Frame<'_>,
        bytes: &[u8],
        now: Instant,
    ) -> Dispatched<P> {
        let is_due = self.forwarder.pool.observer.is_due();
        if is_due {
            self.note_before();
        }
        let next = self.dispatch(request, frame, now);
        if is_due {
            self.observe(request, bytes, next.is_taken(), now);
        }
        next
    }

    /// Keeps what is to be known of a request before it is dispatched: a transaction takes its state with it.
    #[cold]
    fn note_before(&mut self) {
        let queueing = self.pinned.as_mut();
        let queueing = queueing.filter(|pinned| pinned.tx.is_in_multi());
        let is_queueing = queueing.is_some();
        self.queued = queueing.and_then(|pinned| pinned.queued.take());
        let observer = &self.forwarder.pool.observer;
        observer.note_before(self.refusals(), is_queueing);
    }

    fn refusals(&self) -> u64 {
        self.forwarder.pool.cells.get(PoolMetric::RequestsRefused)
    }

    #[cold]
    fn observe(&mut self, request: &P::Request, bytes: &[u8], is_taken: bool, now: Instant) {
        let mut queued = self.queued.take();
        let observer = Rc::clone(&self.forwarder.pool.observer);
        let (refusals, was_queueing) = observer.before();
        let is_seen = is_taken && refusals == self.refusals();
        if is_taken {
            observer.look(now.into_std(), &|visit| {
                if is_seen {
                    P::Observer::visit_keys(request, bytes, visit);
                }
            });
        } else {
            observer.postpone();
        }
        // As in Redis, an EXEC is shown that has aborted its transaction.
        let is_aborted = is_taken && !is_seen && was_queueing && P::Observer::is_exec(bytes);
        let is_shown = (is_seen || is_aborted) && observer.shows();
        let pinned = self.pinned.as_mut();
        if was_queueing && let Some(pinned) = pinned.filter(|pinned| pinned.tx.is_in_multi()) {
            if is_shown {
                queued.get_or_insert_default().push(bytes);
            }
            pinned.queued = queued.filter(|_| observer.shows());
        } else if is_shown {
            let executed = queued.filter(|_| is_seen && P::Observer::is_exec(bytes));
            let executed = executed.unwrap_or_default();
            executed.frames.iter().for_each(|frame| self.show(frame));
            if executed.missed > 0 {
                observer.miss(executed.missed);
            }
            self.show(bytes);
        }
    }

    /// Has the client get the requests that pass.
    pub(super) fn begin_monitoring(&mut self, buffers: &PlanBuffers) -> Dispatched<P> {
        let next = self.forwarder.answer(&buffers.reply);
        P::Clients::set_monitor(&mut self.forwarder.client);
        let monitoring = Monitoring::begin(&self.forwarder);
        self.pinned.get_or_insert_default().monitoring = Some(monitoring);
        next
    }

    /// Ends it, if the client has ended it.
    pub(super) fn end_monitoring(&mut self) {
        if !P::Clients::is_monitor(&self.forwarder.client)
            && let Some(pinned) = &mut self.pinned
        {
            pinned.monitoring = None;
        }
    }

    /// Shows a request to those who watch.
    fn show(&self, frame: &[u8]) {
        let fw = &self.forwarder;
        let keys = |visit: &mut dyn FnMut(&[u8])| P::Observer::visit_keys_of_head(frame, visit);
        let servers = || {
            let mut names = Vec::new();
            keys(&mut |key| {
                let server = fw.view.route(key);
                let server = server.and_then(|index| fw.view.topology.server(index));
                if let Some(server) = server
                    && !names.contains(&server.name)
                {
                    names.push(server.name.clone());
                }
            });
            names
        };
        fw.pool.observer.show(&Seen {
            frame,
            name: P::Observer::name_of_head(frame),
            client: fw.replies.shared_peer(),
            database: P::Clients::database(&fw.client),
            is_administrative: P::Observer::is_administrative(frame),
            keys: &keys,
            servers: &servers,
            text: &|| P::Observer::text(frame),
        });
    }
}
