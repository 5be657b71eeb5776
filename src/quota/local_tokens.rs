//! The tokens that one worker has taken from a bucket.

use std::cell::Cell;
use std::num::NonZeroU64;

use super::moment::Moment;
use super::token_bucket::TokenBucket;

/// A batch is the worth of a second divided by this, and at least one token.
const BATCHES_A_SECOND: u64 = 1000;

/// Tokens that are taken and not spent; below zero, what is spent and not yet taken from the bucket: at most a batch.
#[derive(Debug, Default)]
pub(super) struct LocalTokens {
    left: Cell<i64>,
    /// The rate for which all this holds.
    per_second: Cell<u64>,
    /// The bucket is empty until then.
    empty_until: Cell<Moment>,
}

impl LocalTokens {
    /// Returns true if a token is left, here or in the bucket.
    #[inline]
    pub(super) fn has_any(
        &self,
        bucket: &TokenBucket,
        per_second: NonZeroU64,
        now: impl FnOnce() -> Moment,
    ) -> bool {
        let has_some = self.left.get() > 0 && self.per_second.get() == per_second.get();
        has_some || self.refill(bucket, per_second, now())
    }

    #[cold]
    fn refill(&self, bucket: &TokenBucket, per_second: NonZeroU64, now: Moment) -> bool {
        if self.per_second.replace(per_second.get()) != per_second.get() {
            self.empty_until.set(Moment::default());
        }
        if now < self.empty_until.get() {
            return false;
        }
        let left = self.left.replace(0);
        if left < 0 {
            bucket.charge(per_second, left.unsigned_abs(), now);
        }
        match bucket.take(per_second, batch(per_second), now) {
            Ok(taken) => {
                self.left.set(signed(taken));
                true
            }
            Err(until) => {
                self.empty_until.set(until);
                false
            }
        }
    }

    /// Spends tokens, whether they are there or not.
    #[inline]
    pub(super) fn spend(
        &self,
        tokens: u64,
        bucket: &TokenBucket,
        per_second: NonZeroU64,
        now: impl FnOnce() -> Moment,
    ) {
        let left = self.left.get().saturating_sub(signed(tokens));
        self.left.set(left);
        if left < 0 && left.unsigned_abs() > batch(per_second) {
            // The other workers learn of it at once.
            self.left.set(0);
            bucket.charge(per_second, left.unsigned_abs(), now());
        }
    }
}

fn batch(per_second: NonZeroU64) -> u64 {
    (per_second.get() / BATCHES_A_SECOND).max(1)
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
