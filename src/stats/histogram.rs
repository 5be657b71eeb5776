//! Latencies in log-linear buckets: four per octave, so a bucket is at most a quarter as wide as its lower bound.

use std::array;
use std::cell::Cell;
use std::time::Duration;

/// The sub-buckets of an octave, as a power of two.
const SUB_BITS: u32 = 2;
/// The number of buckets with an upper bound. The last of them ends at 2^26 microseconds (67 s).
const BOUNDED: usize = 100;
/// One more holds longer latencies.
const BUCKETS: usize = BOUNDED + 1;

/// A histogram of microseconds in plain cells. Recording costs a few nanoseconds and allocates nothing.
#[derive(Debug)]
pub struct Histogram {
    counts: [Cell<u64>; BUCKETS],
    sum_micros: Cell<u64>,
}

/// A latency and its bucket, for several histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    micros: u64,
    bucket: usize,
}

impl Latency {
    /// That of a request that took no microsecond.
    pub const ZERO: Self = Self {
        micros: 0,
        bucket: 0,
    };

    /// A latency in whole microseconds.
    #[inline]
    #[must_use]
    pub fn of(took: Duration) -> Self {
        Self::of_micros(micros(took))
    }

    #[inline]
    pub(super) fn of_micros(micros: u64) -> Self {
        Self {
            micros,
            bucket: bucket(micros),
        }
    }
}

/// Whole microseconds. Without the 128 bits of [`Duration::as_micros`]: half a million years are enough.
#[inline]
fn micros(took: Duration) -> u64 {
    let of_seconds = took.as_secs().saturating_mul(1_000_000);
    of_seconds.saturating_add(took.subsec_micros().into())
}

impl Histogram {
    /// Records one latency.
    #[inline]
    pub fn record(&self, latency: Latency) {
        if let Some(count) = self.counts.get(latency.bucket) {
            count.set(count.get().wrapping_add(1));
        }
        let sum = self.sum_micros.get();
        self.sum_micros.set(sum.wrapping_add(latency.micros));
    }

    /// The current counts.
    pub fn counts(&self) -> HistogramCounts {
        HistogramCounts {
            counts: self.counts.each_ref().map(Cell::get),
            sum_micros: self.sum_micros.get(),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [const { Cell::new(0) }; BUCKETS],
            sum_micros: Cell::new(0),
        }
    }
}

/// The counts of a [`Histogram`] at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramCounts {
    counts: [u64; BUCKETS],
    sum_micros: u64,
}

impl HistogramCounts {
    /// The last bound, in microseconds.
    pub const LAST_BOUND: u128 = 1 << 26;

    /// The number of recorded latencies.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The exact sum of all recorded latencies.
    #[must_use]
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros
    }

    /// Adds the counts of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.sum_micros = self.sum_micros.wrapping_add(other.sum_micros);
    }

    /// Subtracts earlier counts of the same histogram.
    pub fn subtract(&mut self, earlier: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&earlier.counts) {
            *mine = mine.saturating_sub(*theirs);
        }
        self.sum_micros = self.sum_micros.saturating_sub(earlier.sum_micros);
    }

    /// The buckets in ascending order: upper bound in microseconds (exclusive) and count; `None` is the bucket without
    /// a bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        self.counts
            .iter()
            .enumerate()
            .map(|(index, count)| (upper_bound(index), *count))
    }

    /// An upper bound of the latency that `per_thousand` of every thousand did not exceed (990 is the p99): at most a
    /// quarter, and one microsecond, above the true value. `None` if nothing was recorded, or if the result is beyond
    /// the last bound.
    pub fn quantile(&self, per_thousand: u64) -> Option<Duration> {
        let rank = (u128::from(self.count()) * u128::from(per_thousand))
            .div_ceil(1000)
            .max(1);
        let mut seen = 0;
        self.buckets()
            .find(|(_, count)| {
                seen += u128::from(*count);
                seen >= rank
            })
            .and_then(|(bound, _)| bound)
            .map(Duration::from_micros)
    }
}

impl Default for HistogramCounts {
    fn default() -> Self {
        Self {
            counts: array::from_fn(|_| 0),
            sum_micros: 0,
        }
    }
}

/// The bucket of a value: the values below 4 have one each, then every octave has four.
#[inline]
fn bucket(micros: u64) -> usize {
    if micros < 1 << SUB_BITS {
        return usize::try_from(micros).unwrap_or(BOUNDED);
    }
    let octave = micros.ilog2();
    let within = (micros >> (octave - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    let index = (u64::from(octave - SUB_BITS + 1) << SUB_BITS) + within;
    usize::try_from(index).map_or(BOUNDED, |index| index.min(BOUNDED))
}

/// The first value above a bucket.
fn upper_bound(index: usize) -> Option<u64> {
    (index < BOUNDED).then(|| {
        let next = index as u64 + 1;
        let (octave, within) = (next >> SUB_BITS, next & ((1 << SUB_BITS) - 1));
        match octave {
            0 => within,
            _ => (within + (1 << SUB_BITS)) << (octave - 1),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded(values: &[u64]) -> HistogramCounts {
        let histogram = Histogram::default();
        for &value in values {
            histogram.record(Latency::of_micros(value));
        }
        histogram.counts()
    }

    /// Microseconds, with all orders of magnitude equally likely.
    fn micros() -> impl Strategy<Value = u64> {
        (0u32..40, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1))
    }

    #[test]
    fn latency_has_whole_microseconds() {
        for took in [
            Duration::ZERO,
            Duration::from_nanos(1999),
            Duration::new(3, 999_999_999),
            Duration::MAX,
        ] {
            let exact = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            assert_eq!(Latency::of(took), Latency::of_micros(exact));
        }
        assert_eq!(Latency::of(Duration::ZERO), Latency::ZERO);
    }

    #[test]
    fn histogram_has_four_bounds_per_octave() {
        let bounds: Vec<u64> = (0..BOUNDED).map_while(upper_bound).collect();
        assert_eq!(
            bounds[..14],
            [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24]
        );
        assert_eq!(bounds.last(), Some(&(1 << 26)));
        assert_eq!(upper_bound(BOUNDED), None);
        assert_eq!(bucket(u64::MAX), BOUNDED);
    }

    proptest! {
        #[test]
        fn value_is_recorded_in_its_bucket(value in micros()) {
            let index = bucket(value);
            prop_assert!(upper_bound(index).is_none_or(|bound| value < bound));
            let lower = index.checked_sub(1).and_then(upper_bound).unwrap_or(0);
            prop_assert!(value >= lower, "{value} is below {lower}");
        }

        #[test]
        fn quantile_error_is_at_most_a_quarter(
            mut values in prop::collection::vec(0u64..1 << 26, 1..200),
            per_thousand in 0u64..=1000,
        ) {
            let bound = recorded(&values).quantile(per_thousand).unwrap().as_micros();
            values.sort_unstable();
            let share = |value: u64| values.partition_point(|&other| other <= value) as u64 * 1000;
            let enough = per_thousand * values.len() as u64;
            let truth = values.iter().copied().find(|&value| share(value) >= enough).unwrap();
            let truth = u128::from(truth);
            prop_assert!(truth < bound && bound <= truth + truth / 4 + 1, "{truth}: {bound}");
        }

        #[test]
        fn merge_equals_recording_both(
            left in prop::collection::vec(micros(), 0..50),
            right in prop::collection::vec(micros(), 0..50),
        ) {
            let mut merged = recorded(&left);
            merged.merge(&recorded(&right));
            let both: Vec<u64> = left.iter().chain(&right).copied().collect();
            prop_assert_eq!(merged.sum_micros(), both.iter().sum::<u64>());
            prop_assert_eq!(merged.count(), both.len() as u64);
            prop_assert_eq!(&merged, &recorded(&both));
            merged.subtract(&recorded(&right));
            prop_assert_eq!(merged, recorded(&left));
        }
    }
}
