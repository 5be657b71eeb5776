//! The line that shows how far the copy is, and its form for machines.

use std::io;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::console::{DRAW_EVERY, JSON_EVERY, ProgressLine};
use crate::copy::board::Status;
use crate::topology::Percent;

/// The line.
pub(super) struct Progress {
    /// The number of keys that the sources have reported.
    total: u64,
    line: ProgressLine,
}

/// The sums of all workers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sums {
    scanned: u64,
    copied: u64,
    backlog: usize,
    /// The longest time since a source and its destinations were equal; none if they have not been.
    behind: Option<Duration>,
    is_scanned: bool,
    is_slowed: bool,
    pause: Option<String>,
}

impl Sums {
    fn of(workers: &[Status], now: Instant) -> Self {
        let mut sums = Self {
            is_scanned: true,
            behind: Some(Duration::ZERO),
            ..Self::default()
        };
        for status in workers {
            let state = &status.state;
            let tally = status.tally();
            sums.scanned += state.scanned;
            sums.copied += tally.copied + tally.deleted;
            sums.backlog += state.backlog;
            let behind = state.equal_at.map(|at| now.saturating_duration_since(at));
            sums.behind = sums.behind.zip(behind).map(|(a, b)| a.max(b));
            sums.is_scanned &= state.is_scanned;
            sums.is_slowed |= state.is_slowed;
            sums.pause = sums.pause.take().or_else(|| status.pause.clone());
        }
        sums
    }
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            line: ProgressLine::default(),
        }
    }

    /// Draws the line on a terminal, unless it was drawn a moment ago.
    pub(super) fn draw(&mut self, workers: &[Status], terminal: &mut dyn Write) {
        let now = Instant::now();
        if self.line.is_due(now, DRAW_EVERY) {
            let sums = Sums::of(workers, now);
            let rate = self.line.rate(sums.copied, now);
            ProgressLine::draw(terminal, &line(&sums, self.total, rate));
        }
    }

    /// Prints a line of JSON once a second.
    pub(super) fn print_json(&mut self, workers: &[Status], out: &mut dyn Write) -> io::Result<()> {
        let now = Instant::now();
        if !self.line.is_due(now, JSON_EVERY) {
            return Ok(());
        }
        let sums = Sums::of(workers, now);
        let event = json!({
            "event": "progress",
            "scanned": sums.scanned,
            "total": self.total,
            "is_scanned": sums.is_scanned,
            "copies": sums.copied,
            "per_second": self.line.rate(sums.copied, now),
            "backlog": sums.backlog,
            "behind_ms": sums.behind.map(|behind| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX)),
            "slowed": sums.is_slowed,
            "paused": sums.pause,
        });
        writeln!(out, "{event}")?;
        out.flush()
    }

    /// Removes the line.
    pub(super) fn clear(&mut self, terminal: Option<&mut (dyn Write + '_)>) {
        self.line.clear(terminal);
    }
}

/// `[###   ] 50.0%  100 of 200 keys, 50 per second, 3 changed keys to copy`, and when the scan is over
/// `following: 50 per second, 3 changed keys to copy, 12 ms behind`.
fn line(sums: &Sums, total: u64, rate: u64) -> String {
    if let Some(pause) = &sums.pause {
        let backlog = sums.backlog;
        return format!("paused, {backlog} changed keys to copy: {pause}");
    }
    let slowed = if sums.is_slowed {
        ", slowed down for the sources' sake"
    } else {
        ""
    };
    let changed = format!(
        "{rate} per second, {} changed keys to copy{slowed}",
        sums.backlog
    );
    if sums.is_scanned {
        let behind = sums
            .behind
            .map(|behind| format!(", {} ms behind", behind.as_millis()));
        return format!("following: {changed}{}", behind.unwrap_or_default());
    }
    let bar = bar(sums.scanned, total);
    format!(
        "{bar}  {} of {} keys, {changed}",
        sums.scanned,
        total.max(sums.scanned)
    )
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for the eye"
)]
fn bar(keys: u64, total: u64) -> String {
    const BAR_CHARS: usize = 20;
    let share = keys as f64 / total.max(keys).max(1) as f64;
    let filled = "#".repeat((share * BAR_CHARS as f64) as usize);
    format!("[{filled:<BAR_CHARS$}] {:>6}", Percent(share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mover::State;

    #[test]
    fn line_shows_the_scan_and_then_how_far_behind_it_is() {
        let now = Instant::now();
        let mut status = Status::default();
        status.state.scanned = 100;
        status.state.backlog = 3;
        let sums = Sums::of(&[status.clone(), Status::default()], now);
        assert_eq!(
            line(&sums, 200, 50),
            "[##########          ]  50.0%  100 of 200 keys, 50 per second, 3 changed keys to copy"
        );
        let state = State {
            is_scanned: true,
            is_slowed: true,
            equal_at: Some(now),
            ..status.state
        };
        let later = now + Duration::from_millis(12);
        let mut status = Status {
            state,
            ..Status::default()
        };
        assert_eq!(
            line(&Sums::of(&[status.clone()], later), 200, 50),
            "following: 50 per second, 3 changed keys to copy, slowed down for the sources' sake, 12 ms behind"
        );
        status.pause = Some("full".to_owned());
        assert_eq!(
            line(&Sums::of(&[status], later), 200, 50),
            "paused, 3 changed keys to copy: full"
        );
    }
}
