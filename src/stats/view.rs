//! The counts of one pool, as its protocol reads them for a client.

use std::fmt;
use std::time::Instant;

use super::{PoolMetric, PoolSnapshot, Snapshot};

/// A view of the counts of a pool.
pub struct PoolStatsView {
    /// The name of the pool.
    pub pool: String,
    /// Returns the current counts of all workers. Called once per query.
    pub snapshot: Box<dyn Fn() -> Snapshot>,
    /// Returns the totals of the pool a short time ago, if known yet.
    pub before: Box<dyn Fn() -> Option<Sample>>,
}

impl PoolStatsView {
    /// The current counts of the pool.
    #[must_use]
    pub fn of_pool(&self) -> PoolSnapshot {
        (self.snapshot)().into_pool(&self.pool)
    }
}

impl Default for PoolStatsView {
    /// A view without a pool.
    fn default() -> Self {
        Self {
            pool: String::new(),
            snapshot: Box::new(Snapshot::default),
            before: Box::new(|| None),
        }
    }
}

impl fmt::Debug for PoolStatsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolStatsView")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// The totals of a pool at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The time.
    pub at: Instant,
    /// Requests answered, by servers or by the proxy.
    pub requests: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
}

/// The rates of a pool per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Requests answered.
    pub requests: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
}

impl Sample {
    /// A sample of `pool` at this time.
    #[must_use]
    pub fn of(pool: &PoolSnapshot, at: Instant) -> Self {
        Self {
            at,
            requests: pool.requests(),
            bytes_in: pool.values.get(PoolMetric::ClientBytesIn),
            bytes_out: pool.values.get(PoolMetric::ClientBytesOut),
        }
    }

    /// Adds the totals of the pool on another worker.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests = self.requests.wrapping_add(other.requests);
        self.bytes_in = self.bytes_in.wrapping_add(other.bytes_in);
        self.bytes_out = self.bytes_out.wrapping_add(other.bytes_out);
    }

    /// The rates per second since then; `None` if no time has passed.
    #[must_use]
    pub fn rates_since(&self, before: &Self) -> Option<Rates> {
        let millis = self.at.saturating_duration_since(before.at).as_millis();
        let rate = |now: u64, then: u64| {
            let done = u128::from(now.saturating_sub(then));
            u64::try_from((done * 1000).checked_div(millis)?).ok()
        };
        Some(Rates {
            requests: rate(self.requests, before.requests)?,
            bytes_in: rate(self.bytes_in, before.bytes_in)?,
            bytes_out: rate(self.bytes_out, before.bytes_out)?,
        })
    }
}
