//! A token bucket that threads share, as the generic cell rate algorithm keeps it: one number.
//!
//! That number is the time at which the bucket is full again. A bucket holds what flows into it in one second; it
//! is in debt as long as it is full later than one second from now. Nobody need touch a bucket for it to fill, and a
//! clock of one thread that is a little behind that of another does no harm.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use super::moment::Moment;

/// The time in which an empty bucket fills: a burst is one second's worth.
const FILLS_IN_NANOS: u64 = NANOS;

const NANOS: u64 = 1_000_000_000;

/// A bucket; a new one is full.
#[derive(Debug, Default)]
pub(super) struct TokenBucket {
    full_at: AtomicU64,
}

impl TokenBucket {
    /// Takes tokens, up to `most`. If there is none, returns when there will be one.
    pub(super) fn take(
        &self,
        per_second: NonZeroU64,
        most: u64,
        Moment(now): Moment,
    ) -> Result<u64, Moment> {
        let mut taken = 0;
        let outcome = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let full_at = full_at.max(now);
                let left_nanos = FILLS_IN_NANOS.saturating_sub(full_at - now);
                taken = tokens(left_nanos, per_second).min(most);
                (taken > 0).then(|| full_at.saturating_add(nanos(taken, per_second)))
            });
        outcome.map(|_| taken).map_err(|full_at| {
            let one_more = full_at.max(now).saturating_add(nanos(1, per_second));
            Moment(one_more.saturating_sub(FILLS_IN_NANOS))
        })
    }

    /// Takes tokens whether they are there or not.
    pub(super) fn charge(&self, per_second: NonZeroU64, tokens: u64, Moment(now): Moment) {
        let cost = nanos(tokens, per_second);
        self.change(|full_at| full_at.max(now).saturating_add(cost));
    }

    /// Keeps what is missing when the rate rises; when it falls, the time in which the bucket fills.
    pub(super) fn change_rate(&self, from: NonZeroU64, to: NonZeroU64, Moment(now): Moment) {
        self.change(|full_at| {
            let nanos = full_at.saturating_sub(now);
            let missing = u128::from(nanos) * u128::from(from.get());
            let same = saturated(missing / u128::from(to.get()));
            now.saturating_add(same.min(nanos))
        });
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        let changed = |full_at| Some(change(full_at));
        // It cannot fail: there always is another value.
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }
}

/// The time in which so many tokens come, rounded up.
fn nanos(tokens: u64, per_second: NonZeroU64) -> u64 {
    let nanos = u128::from(tokens) * u128::from(NANOS);
    saturated(nanos.div_ceil(u128::from(per_second.get())))
}

/// The tokens that come in a time, rounded down.
fn tokens(nanos: u64, per_second: NonZeroU64) -> u64 {
    saturated(u128::from(nanos) * u128::from(per_second.get()) / u128::from(NANOS))
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
