//! The line that shows how far a move is, and its form for machines.

use std::io;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::console::{DRAW_EVERY, JSON_EVERY, ProgressLine};
use crate::reshard::board::{Board, Phase, Status};
use crate::reshard::worker::BUCKETS_EACH;

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    /// All buckets of all sources.
    buckets: usize,
    line: ProgressLine,
}

/// The sums of all sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Sums {
    copied: u64,
    moved: usize,
    /// The longest of the last holds.
    held: Option<Duration>,
    is_scanned: bool,
    pause: Option<String>,
}

impl Sums {
    fn of<'s>(sources: impl Iterator<Item = &'s Status>) -> Self {
        let mut sums = Self {
            is_scanned: true,
            ..Self::default()
        };
        for status in sources {
            let tally = status.state.tally;
            sums.copied += tally.copied + tally.deleted;
            sums.moved += status.moved;
            sums.held = sums.held.max(status.holds.last().copied());
            sums.is_scanned &= status.state.is_scanned;
            sums.pause = sums.pause.take().or_else(|| status.pause.clone());
        }
        sums
    }
}

impl Progress {
    pub(super) fn new(sources: usize) -> Self {
        Self {
            buckets: sources * BUCKETS_EACH,
            line: ProgressLine::default(),
        }
    }

    /// Draws the line on a terminal, unless it was drawn a moment ago.
    pub(super) fn draw(&mut self, board: &Board, terminal: &mut dyn Write) {
        let now = Instant::now();
        if self.line.is_due(now, DRAW_EVERY) {
            let sums = Sums::of(board.sources().values());
            let rate = self.line.rate(sums.copied, now);
            ProgressLine::draw(terminal, &line(&sums, board.phase(), self.buckets, rate));
        }
    }

    /// Prints a line of JSON once a second.
    pub(super) fn print_json(&mut self, board: &Board, out: &mut dyn Write) -> io::Result<()> {
        let now = Instant::now();
        if !self.line.is_due(now, JSON_EVERY) {
            return Ok(());
        }
        let sums = Sums::of(board.sources().values());
        let held = sums
            .held
            .map(|held| u64::try_from(held.as_millis()).unwrap_or(u64::MAX));
        let event = json!({
            "event": "progress",
            "phase": board.phase().name(),
            "copies": sums.copied,
            "per_second": self.line.rate(sums.copied, now),
            "is_scanned": sums.is_scanned,
            "moved": sums.moved,
            "buckets": self.buckets,
            "hold_ms": held,
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

/// `copying: 100 copies, 50 per second`, then `moving: 12 of 2048 buckets moved, ..., last hold 7 ms`.
fn line(sums: &Sums, phase: Phase, buckets: usize, rate: u64) -> String {
    let name = match phase {
        Phase::Moving if !sums.is_scanned => "copying",
        phase => phase.name(),
    };
    let copies = sums.copied;
    let moved = (phase == Phase::Moving && sums.is_scanned)
        .then(|| format!(", {} of {buckets} buckets moved", sums.moved));
    let held = sums
        .held
        .map(|held| format!(", last hold {} ms", held.as_millis()));
    let pause = sums
        .pause
        .as_ref()
        .map(|pause| format!("; waiting: {pause}"));
    let copies = Some(format!("{name}: {copies} copies, {rate} per second"));
    [copies, moved, held, pause].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_shows_copies_then_buckets_and_the_last_hold() {
        let mut status = Status::default();
        status.state.tally.copied = 7;
        let of = |status: &Status| Sums::of([status].into_iter());
        assert_eq!(
            line(&of(&status), Phase::Moving, 1024, 5),
            "copying: 7 copies, 5 per second"
        );
        status.state.is_scanned = true;
        status.moved = 3;
        status.holds.push(Duration::from_millis(9));
        status.pause = Some("no answer".to_owned());
        assert_eq!(
            line(&of(&status), Phase::Moving, 1024, 5),
            "moving: 7 copies, 5 per second, 3 of 1024 buckets moved, last hold 9 ms; waiting: no answer"
        );
        assert!(line(&of(&status), Phase::Cleaning, 1024, 5).starts_with("cleaning: 7"));
    }
}
