//! The observation point: each request passes it once, when it is taken.
//!
//! ```text
//! session --request--> offer --countdown not at zero--> dispatch
//!                        +-----at zero: dispatch, then look at what was taken
//! ```

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{PoolObserver as _, Protocol};
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::forward::Dispatched;
use crate::stats::PoolMetric;

impl<P: Protocol> Dispatcher<P> {
    /// Plans and executes one request, and has it observed if it is its turn.
    #[inline]
    pub(crate) fn offer(
        &mut self,
        request: &P::Request,
        frame: Frame<'_>,
        now: Instant,
    ) -> Dispatched<P> {
        if self.forwarder.pool.observer.is_due() {
            self.offer_observed(request, &frame, now)
        } else {
            self.dispatch(request, frame, now)
        }
    }

    #[cold]
    #[inline(never)]
    fn offer_observed(
        &mut self,
        request: &P::Request,
        frame: &Frame<'_>,
        now: Instant,
    ) -> Dispatched<P> {
        let refusals = |pool: &Self| pool.forwarder.pool.cells.get(PoolMetric::RequestsRefused);
        let refused_before = refusals(self);
        let next = self.dispatch(request, frame.clone(), now);
        let observer = &self.forwarder.pool.observer;
        if !next.is_taken() {
            observer.postpone();
            return next;
        }
        let is_refused = refusals(self) != refused_before;
        observer.look(now.into_std(), &|visit| {
            if !is_refused {
                P::Observer::visit_keys(request, frame.bytes(), visit);
            }
        });
        next
    }
}
