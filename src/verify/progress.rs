//! The pace of a scan, and the line that shows how far it is.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::console::ProgressLine;
use crate::topology::Percent;

const DRAW_EVERY: Duration = Duration::from_millis(100);
const BAR_CHARS: usize = 30;

/// Limits the number of keys per second.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: Option<u32>,
    started: Instant,
    keys: u64,
}

impl Pace {
    /// `None` is as fast as the servers answer.
    pub(super) fn new(per_second: Option<u32>) -> Self {
        Self {
            per_second,
            started: Instant::now(),
            keys: 0,
        }
    }

    /// About how many keys to ask for at once: a tenth of a second's, and no more than a server lists without a pause
    /// that others notice.
    pub(super) fn batch(&self) -> u32 {
        self.per_second
            .map_or(1000, |rate| (rate / 10).clamp(1, 1000))
    }

    /// Counts keys, and waits until they are due.
    pub(super) fn wait(&mut self, keys: u64) {
        self.keys += keys;
        if let Some(rate) = self.per_second {
            let due = due(self.keys, rate);
            thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
    }
}

fn due(keys: u64, per_second: u32) -> Duration {
    let rate = u64::from(per_second.max(1));
    Duration::from_secs(keys / rate) + Duration::from_secs(keys % rate) / per_second.max(1)
}

/// The line on a terminal. Without one it does nothing.
pub(super) struct Progress<'t> {
    terminal: Option<&'t mut dyn Write>,
    /// The number of keys that the servers have reported.
    total: u64,
    started: Instant,
    line: ProgressLine,
}

impl<'t> Progress<'t> {
    pub(super) fn new(terminal: Option<&'t mut dyn Write>, total: u64) -> Self {
        Self {
            terminal,
            total,
            started: Instant::now(),
            line: ProgressLine::default(),
        }
    }

    /// Draws the line, unless it was drawn a moment ago.
    pub(super) fn show(&mut self, keys: u64, strays: u64) {
        if let Some(terminal) = &mut self.terminal
            && self.line.is_due(Instant::now(), DRAW_EVERY)
        {
            let line = line(keys, self.total, strays, self.started.elapsed());
            ProgressLine::draw(terminal, &line);
        }
    }

    /// Removes the line.
    pub(super) fn clear(&mut self) {
        self.line.clear(self.terminal.as_deref_mut());
    }
}

/// `[###   ] 50.0%  100 of 200 keys, 50 per second, 3 strays`. The total is a moment old, and so perhaps too small.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for the eye"
)]
fn line(keys: u64, total: u64, strays: u64, elapsed: Duration) -> String {
    let total = total.max(keys).max(1);
    let share = keys as f64 / total as f64;
    let filled = (share * BAR_CHARS as f64) as usize;
    let per_second = (keys as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    format!(
        "[{:<BAR_CHARS$}] {:>6}  {keys} of {total} keys, {per_second} per second, {strays} strays",
        "#".repeat(filled),
        Percent(share),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_due_at_the_rate() {
        assert_eq!(due(0, 100), Duration::ZERO);
        assert_eq!(due(250, 100), Duration::from_millis(2500));
        assert_eq!(due(u64::MAX, 1), Duration::from_secs(u64::MAX));
    }

    #[test]
    fn batch_suits_the_rate() {
        for (rate, batch) in [
            (None, 1000),
            (Some(1), 1),
            (Some(500), 50),
            (Some(1 << 30), 1000),
        ] {
            assert_eq!(Pace::new(rate).batch(), batch);
        }
    }

    #[test]
    fn line_shows_how_far_the_scan_is() {
        let elapsed = Duration::from_secs(2);
        assert_eq!(
            line(100, 200, 3, elapsed),
            "[###############               ]  50.0%  100 of 200 keys, 50 per second, 3 strays"
        );
        assert!(line(9, 5, 0, elapsed).contains("] 100.0%  9 of 9 keys"));
        assert!(line(0, 0, 0, Duration::ZERO).contains("   0.0%  0 of 1 keys"));
    }
}
