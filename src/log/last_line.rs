//! One line for an event that several threads notice.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time within which threads notice the same event.
const TOGETHER: Duration = Duration::from_secs(1);

/// Times are stored as microseconds after it.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time of the last line about an event. Threads that share it write one line about what they notice together.
#[derive(Debug, Default)]
pub struct LastLine(AtomicU64);

impl LastLine {
    /// Returns true if the caller is the one to write the line.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(*START).as_micros();
        // 0 means that there was none.
        let now_us = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
        let together_us = u64::try_from(TOGETHER.as_micros()).unwrap_or(u64::MAX);
        let last_us = self.0.load(Ordering::Relaxed);
        if last_us > 0 && now_us.saturating_sub(last_us) < together_us {
            return false;
        }
        let taken = self
            .0
            .compare_exchange(last_us, now_us, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_noticed_together_is_written_once() {
        let line = LastLine::default();
        LazyLock::force(&START);
        let start = Instant::now();
        let dues = [0, 1, 999, 1000, 1001, 1999, 2000].map(|msec| {
            let at = start + Duration::from_millis(msec);
            (msec, line.is_due(at))
        });
        let due: Vec<_> = dues
            .iter()
            .filter_map(|(msec, is_due)| is_due.then_some(*msec))
            .collect();
        assert_eq!(due, [0, 1000, 2000]);
    }
}
