//! The pace of the copies: as fast as asked for, and slower while it delays the source's other clients.

use std::thread;
use std::time::{Duration, Instant};

/// How often the latency of the source is measured, by one PING.
const PING_EVERY: Duration = Duration::from_millis(50);
/// The latency above the best one that was seen from which on the copies make pauses: longer than a batch of copies
/// keeps a server busy.
const TOLERATED: Duration = Duration::from_millis(5);
/// The longest pause between two batches.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The time for which a best latency counts: the way to a server may become longer.
const BASELINE_FOR: Duration = Duration::from_secs(60);

/// The time for which a source may be faster than its limit after it was slower. It has no more credit than that,
/// however long there was nothing to copy.
const CREDIT: Duration = Duration::from_millis(100);

/// As many keys as a server lists without a pause that others notice.
const PAGE_KEYS: u32 = 1000;

/// The limits of one source; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Keys per second.
    pub keys: Option<u64>,
    /// Bytes of dumps per second.
    pub bytes: Option<u64>,
}

/// The pace of one source.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: Limits,
    /// The time from which on the next batch is due.
    due: Instant,
    /// The time of the next PING.
    ping_at: Instant,
    /// The least latency of late, and when it was measured.
    baseline: Option<(Duration, Instant)>,
    latency: Duration,
    pause: Duration,
    /// Clients wait for the copies: nothing else counts.
    is_urgent: bool,
}

impl Pace {
    pub(crate) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            limits,
            due: now,
            ping_at: now,
            baseline: None,
            latency: Duration::ZERO,
            pause: Duration::ZERO,
            is_urgent: false,
        }
    }

    /// From now on copies are made as fast as the servers answer, or again at the pace.
    pub(crate) fn set_urgent(&mut self, is_urgent: bool) {
        self.is_urgent = is_urgent;
    }

    /// The keys of a page of a scan: a tenth of a second's.
    pub(crate) fn page_keys(&self) -> u32 {
        let limit = self.limits.keys.filter(|_| !self.is_urgent);
        let keys = limit.map(|rate| rate / 10);
        let keys = keys.and_then(|keys| u32::try_from(keys).ok());
        keys.map_or(PAGE_KEYS, |keys| keys.clamp(1, PAGE_KEYS))
    }

    /// Counts a batch, and waits until the next one is due.
    pub(crate) fn wait(&mut self, keys: u64, bytes: u64) {
        if self.is_urgent {
            return;
        }
        let now = Instant::now();
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        self.due = self.due.max(earliest) + self.cost(keys, bytes);
        let wait = self.due.saturating_duration_since(now).max(self.pause);
        thread::sleep(wait);
    }

    /// The time that a batch takes at the limits.
    fn cost(&self, keys: u64, bytes: u64) -> Duration {
        let of = |count: u64, limit: Option<u64>| {
            let rate = limit?.max(1);
            let nanos = u128::from(count) * 1_000_000_000 / u128::from(rate);
            Some(Duration::from_nanos(
                u64::try_from(nanos).unwrap_or(u64::MAX),
            ))
        };
        let [keys, bytes] = [of(keys, self.limits.keys), of(bytes, self.limits.bytes)];
        keys.max(bytes).unwrap_or_default()
    }

    /// Returns true if the latency is to be measured now.
    pub(crate) fn wants_ping(&self, now: Instant) -> bool {
        now >= self.ping_at
    }

    /// Takes the latency of a PING, and determines the pauses.
    pub(crate) fn observe(&mut self, latency: Duration, now: Instant) {
        self.ping_at = now + PING_EVERY;
        self.latency = latency;
        let baseline = self
            .baseline
            .filter(|(best, at)| *best < latency && now.duration_since(*at) < BASELINE_FOR);
        let (best, _) = *self.baseline.insert(baseline.unwrap_or((latency, now)));
        let above = latency.saturating_sub(best);
        self.pause = if above > TOLERATED {
            above.min(LONGEST_PAUSE)
        } else {
            Duration::ZERO
        };
    }

    /// The latency of the last PING.
    pub(crate) fn latency(&self) -> Duration {
        self.latency
    }

    /// Returns true while the copies make pauses for the source's sake.
    pub(crate) fn is_slowed(&self) -> bool {
        !self.pause.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn batch_costs_what_the_stricter_limit_says() {
        let pace = |keys, bytes| Pace::new(Limits { keys, bytes });
        assert_eq!(pace(None, None).cost(1000, 1 << 40), Duration::ZERO);
        assert_eq!(pace(Some(1000), None).cost(200, 1 << 40), ms(200));
        assert_eq!(pace(Some(1000), Some(1 << 20)).cost(200, 1 << 20), ms(1000));
    }

    #[test]
    fn pages_suit_the_rate() {
        for (keys, page) in [
            (None, 1000),
            (Some(0), 1),
            (Some(500), 50),
            (Some(1 << 40), 1000),
        ] {
            let limits = Limits { keys, bytes: None };
            assert_eq!(Pace::new(limits).page_keys(), page);
        }
    }

    #[test]
    fn urgent_copies_do_not_wait() {
        let mut pace = Pace::new(Limits {
            keys: Some(1),
            bytes: None,
        });
        pace.set_urgent(true);
        let start = Instant::now();
        pace.wait(1000, 0);
        assert_eq!(pace.page_keys(), PAGE_KEYS);
        // They are no debt either.
        pace.set_urgent(false);
        assert!(pace.due <= start && pace.page_keys() == 1);
    }

    #[test]
    fn pauses_follow_the_latency_of_the_source() {
        let mut pace = Pace::new(Limits::default());
        let start = Instant::now();
        for (at, latency, pause) in [
            (0, 1, 0),
            (50, 5, 0),
            (100, 21, 20),
            (150, 900, 100),
            (200, 2, 0),
            // After a minute, what is usual now counts.
            (61_000, 30, 0),
            (61_050, 31, 0),
        ] {
            let now = start + ms(at);
            assert!(pace.wants_ping(now), "{at}");
            pace.observe(ms(latency), now);
            assert!(!pace.wants_ping(now));
            assert_eq!(pace.pause, ms(pause), "{at}");
            assert_eq!(pace.is_slowed(), pause > 0);
        }
    }
}
