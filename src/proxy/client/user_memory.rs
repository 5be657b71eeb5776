//! What a client holds, under the quota of its user.

use crate::proxy::worker::memory::{Pressure, STEP_BYTES, in_steps, pressure};
use crate::quota::{TenantMemory, WorkerTenant};

/// What a client holds, as far as it is booked for its user.
#[derive(Debug, Default)]
pub(crate) struct UserMemory(Option<TenantMemory>);

impl UserMemory {
    /// Books the holdings of a client for its user, if that has a quota.
    #[inline]
    pub(crate) fn book<'t>(
        &mut self,
        tenant: impl FnOnce() -> Option<&'t WorkerTenant>,
        bytes: usize,
    ) -> Pressure {
        if bytes < STEP_BYTES && self.0.is_none() {
            return Pressure::None;
        }
        self.rebook(tenant(), in_steps(bytes))
    }

    #[cold]
    fn rebook(&mut self, tenant: Option<&WorkerTenant>, bytes: usize) -> Pressure {
        let Some(tenant) = tenant.filter(|_| bytes > 0) else {
            self.0 = None;
            return Pressure::None;
        };
        let held = self.0.take().filter(|held| held.is_of(tenant));
        let mut held = held.unwrap_or_else(|| TenantMemory::of(tenant));
        let before = usize::try_from(held.bytes()).unwrap_or(usize::MAX);
        held.set(bytes as u64);
        self.0 = Some(held);
        pressure((before, bytes), tenant.largest_bytes(), |eighths| {
            tenant.memory_exceeds_eighths(eighths as u64)
        })
    }
}
