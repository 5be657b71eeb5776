//! The record: one line per row, with its name and its instructions per operation, after a line that names the tools.
//!
//! Compiled a second time for `tests.rs`, since a benchmark without the harness runs no tests.

use std::fmt::Write;

/// Per mille over its record from which a row fails. The same binary repeats itself exactly without a clock, and within
/// five in a thousand with one (a timer is due in one run and not in the other). Another binary of the same code may move
/// a row by one or two per cent, by where buffers lie and by what the compiler inlines. A regression worth catching, an additional copy,
/// lookup or allocation, costs more than four.
const TOLERATED_PER_MILLE: u64 = 40;

/// Instructions that are always tolerated: rows are rounded.
const TOLERATED_LEAST: u64 = 1;

/// A file of records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The compiler and valgrind that it was made with.
    pub(crate) tools: String,
    /// Names, and instructions per operation.
    pub(crate) rows: Vec<(String, u64)>,
}

/// The result of comparing a row with its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the tolerance.
    Held,
    /// Cheaper by more than the tolerance: no failure, but the record no longer guards the improvement.
    Won {
        recorded: u64,
    },
    /// More expensive by more than the tolerance.
    Lost {
        recorded: u64,
    },
    Unrecorded,
}

impl Record {
    /// Reads the output of [`Self::text`]; the error is the malformed line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self::default();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                if let Some(tools) = comment.strip_prefix(" tools: ") {
                    tools.clone_into(&mut record.tools);
                }
                continue;
            }
            let row = line
                .rsplit_once(' ')
                .and_then(|(name, figure)| Some((name.trim_end().to_owned(), figure.parse().ok()?)))
                .ok_or_else(|| line.to_owned())?;
            record.rows.push(row);
        }
        Ok(record)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "# Instructions per operation. To update: RINGROAD_BLESS=1 make bench-check\n# tools: {}\n",
            self.tools
        );
        for (name, figure) in &self.rows {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<40} {figure:>8}");
        }
        text
    }

    pub(crate) fn judge(&self, name: &str, measured: u64) -> Verdict {
        let found = self.rows.iter().find(|(row, _)| row == name);
        let Some(&(_, recorded)) = found else {
            return Verdict::Unrecorded;
        };
        let tolerated = (recorded * TOLERATED_PER_MILLE / 1000).max(TOLERATED_LEAST);
        if measured > recorded + tolerated {
            Verdict::Lost { recorded }
        } else if measured + tolerated < recorded {
            Verdict::Won { recorded }
        } else {
            Verdict::Held
        }
    }

    /// Records of rows that no longer exist.
    pub(crate) fn orphans<'r>(&'r self, names: &'r [&str]) -> impl Iterator<Item = &'r str> {
        let rows = self.rows.iter().map(|(name, _)| name.as_str());
        rows.filter(|name| !names.contains(name))
    }
}
