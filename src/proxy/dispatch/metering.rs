//! The quotas of a client's user and of its pool, before a request is planned.

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{ClientState as _, ErrorReplies as _};
use crate::protocol::{Metering, Protocol, Scan};
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::forward::Forwarder;
use crate::quota::{Moment, OverQuota, QuotaKind, WorkerTenant, admit};
use crate::stats::{PoolMetric, RefusalReason};

impl<P: Protocol> Dispatcher<P> {
    /// Replies to a client that has just connected and may not stay. Returns true if it is such a one.
    pub(crate) fn refuse_client(&self) -> bool {
        let fw = &self.forwarder;
        let settings = &fw.pool.backends.view().settings;
        let refusal = P::Clients::refusal(settings, &fw.client);
        if let Some(text) = &refusal {
            let mut reply = BytesMut::new();
            P::Errors::write_refused_client(text, &mut reply);
            fw.reply(Frame::Borrowed(&reply));
        }
        refusal.is_some()
    }
}

/// What quotas say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metered {
    Admitted,
    /// It is answered with an error.
    Refused,
    /// It must be offered again when all before it are answered.
    Fenced,
}

impl<P: Protocol> Dispatcher<P> {
    /// Has a request count towards quotas.
    pub(crate) fn meter(&mut self, request: &P::Request, frame: &[u8], now: Instant) -> Metered {
        let mut canonical = BytesMut::new();
        match P::canonicalize(request, frame, &mut canonical) {
            Ok(false) => self.meter_canonical(request, frame, now),
            Ok(true) => {
                let limits = &self.forwarder.pool.limits;
                let mut scanner = P::RequestScanner::default();
                let scan = P::scan_request(&mut scanner, &canonical, limits);
                match scan {
                    Ok(Scan::Complete { found, .. }) => {
                        self.meter_canonical(&found, &canonical, now)
                    }
                    _ => Metered::Admitted,
                }
            }
            // The client is about to be closed.
            Err(_) => Metered::Admitted,
        }
    }

    fn meter_canonical(&mut self, request: &P::Request, frame: &[u8], now: Instant) -> Metered {
        let metering = P::Clients::metering(&self.forwarder.client, request);
        if metering == Metering::Free {
            return Metered::Admitted;
        }
        if self.pinned.is_some() && self.is_barred() {
            return Metered::Fenced;
        }
        match self.forwarder.admit(frame.len(), now) {
            Err(over) if metering == Metering::Counted => self.refuse_over(&over, request, frame),
            _ => Metered::Admitted,
        }
    }

    /// Refuses a request, once its client's subscriptions are settled.
    #[cold]
    fn refuse_over(&mut self, over: &OverQuota, request: &P::Request, frame: &[u8]) -> Metered {
        let subscriber = self.subscriber.get();
        if subscriber.is_some_and(|subscriber| subscriber.is_changing()) {
            return Metered::Fenced;
        }
        if let Some(pinned) = &mut self.pinned {
            pinned.tx.abort();
        }
        let fw = self.forwarder.executing(P::command(request, frame));
        fw.pool.cells.bump(if over.kind == QuotaKind::Requests {
            PoolMetric::QuotaRequestsRefused
        } else {
            PoolMetric::QuotaBytesRefused
        });
        over.count();
        let mut reply = BytesMut::new();
        P::Errors::write_over_quota(request, &over.to_string(), &mut reply);
        fw.unmetered_bytes
            .set(fw.unmetered_bytes.get() + reply.len());
        // It always is taken.
        let _ = fw.refuse(&reply, RefusalReason::Quota);
        Metered::Refused
    }
}

impl<P: Protocol> Forwarder<P> {
    /// Returns true if a new large request of the client must be refused.
    #[cold]
    pub(crate) fn refuses_large(&self) -> bool {
        self.pool.memory.refuses_large() || self.user_near_its_memory().is_some()
    }

    /// Writes why a large request is refused.
    pub(crate) fn write_over_memory(&self, out: &mut BytesMut) {
        match self.user_near_its_memory() {
            Some(user) => {
                self.count_over_memory();
                P::Errors::write_refused_client(&user.over_memory().to_string(), out);
            }
            None => P::Errors::write_memory_limit(out),
        }
    }

    /// Counts that something is refused because of what the client's user holds.
    pub(crate) fn count_over_memory(&self) {
        if let Some(user) = P::Clients::tenant(&self.client) {
            user.over_memory().count();
        }
    }

    fn user_near_its_memory(&self) -> Option<&WorkerTenant> {
        P::Clients::tenant(&self.client).filter(|user| user.memory_exceeds_eighths(7))
    }

    fn admit(&self, bytes: usize, now: Instant) -> Result<(), OverQuota> {
        let tenants = [P::Clients::tenant(&self.client), Some(&self.pool.tenant)];
        admit(tenants, bytes, || Moment::at(now.into_std()))
    }

    /// Charges what was written to the client, but for the errors because of quotas.
    #[cold]
    pub(crate) fn charge_output(&self, bytes: usize) {
        let unmetered = self.unmetered_bytes.get();
        self.unmetered_bytes.set(unmetered.saturating_sub(bytes));
        if P::Clients::is_metered(&self.client) {
            let bytes = bytes.saturating_sub(unmetered);
            let tenants = [P::Clients::tenant(&self.client), Some(&self.pool.tenant)];
            for tenant in tenants.into_iter().flatten() {
                tenant.charge(bytes, Moment::now);
            }
        }
    }
}
