//! The number of requests that a session may take in one turn.
//!
//! While quotas count, one request at a time is in the budget, once they have admitted it: a session without quotas only
//! ever compares its budget with zero.

use std::mem;
use std::ops::ControlFlow;
use std::ops::ControlFlow::{Break, Continue};

use bytes::{Buf as _, BytesMut};
use tokio::time::Instant;

use crate::protocol::Protocol;
use crate::proxy::client::pause::ReadPause;
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::dispatch::metering::Metered;

/// The budget of a turn.
#[derive(Debug, Default)]
pub(crate) struct TurnBudget {
    left: usize,
    /// Requests that quotas may yet admit in this turn; `None` if they are not asked.
    metered_left: Option<usize>,
    /// Quotas have admitted the next request, which then could not be taken.
    is_admitted: bool,
}

impl TurnBudget {
    /// Begins a turn with so many requests.
    pub(crate) const fn begin(&mut self, requests: usize) {
        self.left = requests;
        self.metered_left = None;
    }

    /// Asks quotas for each further request of the turn.
    pub(crate) const fn ask_quotas(&mut self) {
        if self.metered_left.is_none() {
            self.metered_left = Some(self.left);
            self.left = 0;
        }
    }

    /// Returns true if the next request is not in the budget.
    #[inline]
    pub(crate) const fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Spends the budget of a request that is taken.
    #[inline]
    pub(crate) const fn spend(&mut self) {
        self.left -= 1;
    }

    /// Asks quotas for the request at the start of `bytes`. Continues if it is in the budget now; breaks if it is refused and
    /// gone, or must wait.
    #[cold]
    #[inline(never)]
    pub(crate) fn meter<P: Protocol>(
        &mut self,
        dispatcher: &mut Dispatcher<P>,
        (request, bytes, len): (&P::Request, &mut BytesMut, usize),
        now: Instant,
    ) -> ControlFlow<Option<ReadPause>> {
        let left = self.metered_left.and_then(|left| left.checked_sub(1));
        if left.is_none() {
            return Break(Some(ReadPause::Budget));
        }
        let frame = bytes.get(..len).unwrap_or_default();
        let metered = if mem::take(&mut self.is_admitted) {
            Metered::Admitted
        } else {
            dispatcher.meter(request, frame, now)
        };
        if metered == Metered::Fenced {
            return Break(Some(ReadPause::Fence));
        }
        (self.left, self.metered_left) = (1, left);
        if metered == Metered::Refused {
            bytes.advance(len);
            return Break(None);
        }
        Continue(())
    }

    /// Keeps that the next request is admitted, for it could not be taken.
    pub(crate) const fn keep_admitted(&mut self) {
        if self.metered_left.is_some() && self.left > 0 {
            self.left = 0;
            self.is_admitted = true;
        }
    }
}
