//! The parameters that `CONFIG SET` can change, for all workers of a pool at once.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A parameter that can be changed at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tunable {
    /// Requests that take longer, in microseconds, are logged; 0 is all of them, below 0 none.
    SlowlogLogSlowerThan,
    /// The maximum number of entries of the slow log.
    SlowlogMaxLen,
    /// Requests that take this long, in milliseconds, are samples of `LATENCY`; 0 is none.
    LatencyMonitorThreshold,
    /// The maximum number of entries of `ACL LOG`.
    AclLogMaxLen,
}

impl Tunable {
    pub(crate) const ALL: [Self; 4] = [
        Self::AclLogMaxLen,
        Self::LatencyMonitorThreshold,
        Self::SlowlogLogSlowerThan,
        Self::SlowlogMaxLen,
    ];

    /// Its name in Redis.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SlowlogLogSlowerThan => "slowlog-log-slower-than",
            Self::SlowlogMaxLen => "slowlog-max-len",
            Self::LatencyMonitorThreshold => "latency-monitor-threshold",
            Self::AclLogMaxLen => "acllog-max-len",
        }
    }

    /// The minimum value; the maximum is that of the type.
    pub(crate) const fn least(self) -> i64 {
        match self {
            Self::SlowlogLogSlowerThan => -1,
            Self::SlowlogMaxLen | Self::LatencyMonitorThreshold | Self::AclLogMaxLen => 0,
        }
    }

    const fn default(self) -> i64 {
        match self {
            Self::SlowlogLogSlowerThan => 10_000,
            Self::SlowlogMaxLen | Self::AclLogMaxLen => 128,
            Self::LatencyMonitorThreshold => 0,
        }
    }
}

/// The values. They start as Redis's defaults.
#[derive(Debug)]
pub(crate) struct Tunables([AtomicI64; Tunable::ALL.len()]);

impl Tunables {
    pub(crate) fn get(&self, tunable: Tunable) -> i64 {
        self.cell(tunable)
            .map_or_else(|| tunable.default(), |cell| cell.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, tunable: Tunable, value: i64) {
        if let Some(cell) = self.cell(tunable) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// The duration from which a request concerns at least one of them.
    pub(crate) fn slow_from(&self) -> Duration {
        let log = u64::try_from(self.get(Tunable::SlowlogLogSlowerThan)).ok();
        let millis = u64::try_from(self.get(Tunable::LatencyMonitorThreshold)).ok();
        let sample = millis
            .filter(|millis| *millis > 0)
            .map(|millis| millis.saturating_mul(1000));
        let micros = log.into_iter().chain(sample).min().unwrap_or(u64::MAX);
        Duration::from_micros(micros)
    }

    fn cell(&self, tunable: Tunable) -> Option<&AtomicI64> {
        let mut pairs = Tunable::ALL.iter().zip(&self.0);
        pairs
            .find(|(candidate, _)| **candidate == tunable)
            .map(|(_, cell)| cell)
    }
}

impl Default for Tunables {
    fn default() -> Self {
        Self(Tunable::ALL.map(|tunable| AtomicI64::new(tunable.default())))
    }
}
