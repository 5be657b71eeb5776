//! The terminal of a tool, or what stands for it: `main` makes it, and tools write to nothing else. What they write has two
//! forms: one for people, and JSON.

use std::fmt;
use std::io;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The terminal, or what stands for it.
pub struct Console<'a> {
    /// For the report.
    pub out: &'a mut dyn Write,
    /// For the line that shows the progress, if anybody sees it.
    pub terminal: Option<&'a mut dyn Write>,
    /// Asks a question; none if nobody can answer.
    pub confirm: Option<&'a mut Confirm<'a>>,
}

/// Asks a question that has the answers yes and no.
pub type Confirm<'a> = dyn FnMut(&str) -> io::Result<bool> + 'a;

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

/// A result with its two forms.
pub trait Report {
    /// For people, with the end of its last line.
    fn text(&self) -> String;

    /// For machines.
    fn json(&self) -> Value;

    /// Writes one of them.
    fn print(&self, is_json: bool, out: &mut dyn Write) -> io::Result<()> {
        if is_json {
            writeln!(out, "{}", self.json())?;
        } else {
            write!(out, "{}", self.text())?;
        }
        out.flush()
    }
}

/// How often a line on a terminal is drawn anew.
pub const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often the progress is printed as JSON.
pub const JSON_EVERY: Duration = Duration::from_secs(1);
/// The time over which a rate is measured.
const RATE_OVER: Duration = Duration::from_secs(2);

/// A line that shows how far something is, drawn over itself; or the same as JSON, a line each time.
#[derive(Debug)]
pub struct ProgressLine {
    shown: Option<Instant>,
    /// The count at two times, for the rate.
    marks: [(Instant, u64); 2],
}

impl Default for ProgressLine {
    fn default() -> Self {
        Self {
            shown: None,
            marks: [(Instant::now(), 0); 2],
        }
    }
}

impl ProgressLine {
    /// Returns true if it was shown longer ago than that; then it counts as shown now.
    pub fn is_due(&mut self, now: Instant, every: Duration) -> bool {
        let is_due = self
            .shown
            .is_none_or(|shown| now.saturating_duration_since(shown) >= every);
        if is_due {
            self.shown = Some(now);
        }
        is_due
    }

    /// What is counted per second of late.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "for the eye"
    )]
    pub fn rate(&mut self, count: u64, now: Instant) -> u64 {
        let [(first, earlier), (second, _)] = self.marks;
        let seconds = now.saturating_duration_since(first).as_secs_f64();
        if now.saturating_duration_since(second) >= RATE_OVER {
            self.marks = [self.marks[1], (now, count)];
        }
        (count.saturating_sub(earlier) as f64 / seconds.max(0.001)) as u64
    }

    /// Draws it.
    pub fn draw(terminal: &mut dyn Write, line: &str) {
        // A terminal that is gone has no reader to tell.
        let _ = write!(terminal, "\r\x1b[K{line}").and_then(|()| terminal.flush());
    }

    /// Removes it, if it was drawn.
    pub fn clear(&mut self, terminal: Option<&mut (dyn Write + '_)>) {
        if let (Some(terminal), Some(_)) = (terminal, self.shown.take()) {
            Self::draw(terminal, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_shown_now_and_then_and_cleared_once() {
        let mut line = ProgressLine::default();
        let now = Instant::now();
        assert!(line.is_due(now, DRAW_EVERY));
        assert!(!line.is_due(now + DRAW_EVERY / 2, DRAW_EVERY));
        assert!(line.is_due(now + DRAW_EVERY, DRAW_EVERY));
        let mut shown = Vec::new();
        line.clear(Some(&mut shown));
        line.clear(Some(&mut shown));
        assert_eq!(shown, b"\r\x1b[K");
    }

    #[test]
    fn rate_is_that_of_the_last_seconds() {
        let mut line = ProgressLine::default();
        let start = line.marks[0].0;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(line.rate(100, after(1)), 100);
        assert_eq!(line.rate(200, after(2)), 100);
        assert_eq!(line.rate(200, after(4)), 50);
        assert_eq!(line.rate(200, after(6)), 0);
    }
}
