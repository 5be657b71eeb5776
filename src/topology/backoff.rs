//! The delays between attempts to reconnect.

use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// The delay before each attempt to reach a server: none after the first failure, then 10 ms, doubled after each
/// further one, up to 1 s; all cut by a random part of up to a half, so that workers do not reconnect in lockstep.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    /// Failures in a row.
    failures: u32,
    /// The earliest time of the next attempt; none while the server answers.
    retry_at: Option<Instant>,
}

impl Backoff {
    /// A server without failures.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that an attempt to connect failed, or an established connection broke, at `now`. `jitter` is a random
    /// number from 0 to 1.
    pub fn on_failure(&mut self, now: Instant, jitter: f64) {
        let delay = match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_DELAY
                .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(LONGEST_DELAY)
                .mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0),
        };
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + delay);
    }

    /// Records an answer of the server.
    pub fn on_success(&mut self) {
        *self = Self::default();
    }

    /// The earliest time of the next attempt; none if it may be made at any time.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_try(backoff: &Backoff, now: Instant) -> bool {
        backoff.retry_at().is_none_or(|retry_at| now >= retry_at)
    }

    fn delays(jitter: f64, failures: usize) -> Vec<u128> {
        let now = Instant::now();
        let mut backoff = Backoff::new();
        (0..failures)
            .map(|_| {
                backoff.on_failure(now, jitter);
                (backoff.retry_at().unwrap() - now).as_millis()
            })
            .collect()
    }

    #[test]
    fn backoff_doubles_up_to_a_second() {
        let full = [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000];
        assert_eq!(delays(1.0, 10), full);
        assert_eq!(delays(0.0, 10), full.map(|delay| delay / 2));
        assert_eq!(delays(7.0, 100).last(), Some(&1000));
    }

    #[test]
    fn attempt_waits_for_its_time_and_success_resets() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut backoff = Backoff::new();
        assert!(may_try(&backoff, start));
        backoff.on_failure(start, 1.0);
        assert!(may_try(&backoff, start));
        backoff.on_failure(start, 1.0);
        assert!(!may_try(&backoff, at(9)));
        assert!(may_try(&backoff, at(10)));
        backoff.on_success();
        assert_eq!(backoff.retry_at(), None);
        backoff.on_failure(at(20), 1.0);
        assert!(may_try(&backoff, at(20)));
    }
}
