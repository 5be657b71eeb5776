//! What all workers know of a pool together. Nothing in it is touched for a request that is forwarded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::register::Register;
use super::tunables::Tunables;
use crate::stats::{PoolMetric, PoolSnapshot, Sample};

/// One a pool, made before its workers start.
#[derive(Debug, Default)]
pub struct Hall {
    /// The clients of all workers.
    pub register: Register,
    /// What `CONFIG SET` can change.
    pub(super) tunables: Tunables,
    reset: Mutex<Reset>,
}

/// The counts at the last `CONFIG RESETSTAT`: what `INFO` takes off. The stats port goes on counting.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reset {
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) requests: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Hall {
    pub(super) fn reset(&self) -> Reset {
        *self.lock()
    }

    /// From now on `INFO` counts from here.
    pub(super) fn reset_at(&self, pool: &PoolSnapshot, sample: &Sample) {
        *self.lock() = Reset {
            accepted: pool.values.get(PoolMetric::ClientAccepted),
            rejected: pool.values.get(PoolMetric::ClientRejected),
            requests: sample.requests,
            bytes_in: sample.bytes_in,
            bytes_out: sample.bytes_out,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Reset> {
        // Numbers only, replaced as a whole.
        self.reset.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
