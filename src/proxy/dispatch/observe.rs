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
            self.forwarder.pool.observer.note_refusals(self.refusals());
        }
        let next = self.dispatch(request, frame, now);
        if is_due {
            self.observe(request, bytes, next.is_taken(), now);
        }
        next
    }

    fn refusals(&self) -> u64 {
        self.forwarder.pool.cells.get(PoolMetric::RequestsRefused)
    }

    #[cold]
    fn observe(&mut self, request: &P::Request, bytes: &[u8], is_taken: bool, now: Instant) {
        let observer = &self.forwarder.pool.observer;
        if !is_taken {
            return observer.postpone();
        }
        let is_refused = observer.refusals_before() != self.refusals();
        observer.look(now.into_std(), &|visit| {
            if !is_refused {
                P::Observer::visit_keys(request, bytes, visit);
            }
        });
    }
}
