//! Latencies in log-linear buckets, 64 to an octave: a percentile is at most 1.6 % too high. The proxy's own histogram
//! has four to an octave, which is too coarse to compare two proxies by.

use std::time::Duration;

/// Sub-buckets of an octave, as a power of two.
const SUB_BITS: u32 = 6;
/// Longer latencies than this power of two of nanoseconds (18 minutes) share the last bucket.
const OCTAVES: u32 = 40;

/// A histogram of latencies. Recording allocates nothing.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(latency);
    }

    /// The latency that `per_thousand` of every thousand did not exceed. Zero if nothing was recorded.
    pub(crate) fn quantile(&self, per_thousand: u64) -> Duration {
        let rank = (self.count * per_thousand).div_ceil(1000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(Duration::ZERO, |index| {
            Duration::from_nanos(last_of(index)).min(self.longest)
        })
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; bucket(u64::MAX) + 1],
            count: 0,
            longest: Duration::ZERO,
        }
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min((1 << OCTAVES) - 1);
    let shift = nanos.max(1).ilog2().saturating_sub(SUB_BITS);
    let index = (u64::from(shift) << SUB_BITS) + (nanos >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The longest latency of a bucket.
fn last_of(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index >> SUB_BITS).saturating_sub(1);
    ((index - (shift << SUB_BITS) + 1) << shift) - 1
}
