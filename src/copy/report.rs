//! The result, as text and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::console;
use crate::copy::board::{Board, Status};
use crate::copy::job::Job;
use crate::copy::servers::Sides;
use crate::text::{Align, Printable, size, table};

/// The result.
pub(super) struct Report<'r> {
    job: &'r Job<'r>,
    /// The sources with their names.
    workers: Vec<(String, Status)>,
    elapsed: Duration,
    /// False if the copy was ended at once.
    is_ended: bool,
}

impl<'r> Report<'r> {
    pub(super) fn of(
        job: &'r Job<'r>,
        sides: &Sides,
        board: &Board,
        elapsed: Duration,
        is_ended: bool,
    ) -> Self {
        let names = sides.sources.iter();
        let names = names.map(|server| Printable(&server.at.name).to_string());
        Self {
            job,
            workers: names.zip(board.workers()).collect(),
            elapsed,
            is_ended,
        }
    }

    /// Returns true if nothing is left to copy.
    pub(super) fn is_equal(&self) -> bool {
        self.is_ended
            && self.workers.iter().all(|(_, status)| {
                let ended = status.ended;
                ended.is_some_and(|ended| ended.is_scanned && ended.left == 0)
            })
    }

    /// Why sources wait whose copy has ended.
    fn pauses(&self) -> BTreeSet<&str> {
        let workers = self.workers.iter();
        workers
            .filter_map(|(_, status)| status.pause.as_deref())
            .collect()
    }

    fn sum(&self, of: impl Fn(&Status) -> u64) -> u64 {
        self.workers.iter().map(|(_, status)| of(status)).sum()
    }

    fn table(&self) -> String {
        let head = [
            "FROM", "KEYS", "COPIES", "DELETED", "SIZE", "STARTS", "LEFT",
        ];
        let rows = self.workers.iter().map(|(name, status)| {
            let tally = status.tally();
            [
                name.clone(),
                status.state.placed.to_string(),
                tally.copied.to_string(),
                tally.deleted.to_string(),
                size(tally.bytes),
                (status.restarts + 1).to_string(),
                left(status).to_string(),
            ]
        });
        let rows: Vec<_> = [head.map(str::to_owned)].into_iter().chain(rows).collect();
        let right = Align::Right;
        table(
            [Align::Left, right, right, right, right, right, right],
            &rows,
        )
    }
}

impl console::Report for Report<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        let (from, to) = (Printable(&self.job.from.name), Printable(&self.job.to.name));
        let placed = self.sum(|status| status.state.placed);
        // Writing to a String cannot fail.
        let _ = if self.is_equal() {
            writeln!(
                out,
                "pool '{from}' is copied to pool '{to}': nothing is left of what was written before the end"
            )
        } else if self
            .workers
            .iter()
            .all(|(_, status)| status.state.is_scanned)
        {
            let left = self.sum(left);
            let question = if self.pauses().is_empty() {
                "; do clients still write there?"
            } else {
                ""
            };
            writeln!(
                out,
                "stopped: {left} keys of pool '{from}' have changed and are not copied{question}"
            )
        } else {
            writeln!(
                out,
                "stopped: not all keys of pool '{from}' are copied to pool '{to}'"
            )
        };
        for line in self.table().lines() {
            let _ = writeln!(out, "  {line}");
        }
        for pause in self.pauses() {
            let _ = writeln!(out, "note: paused at the end: {}", Printable(pause));
        }
        let scanned = self.sum(|status| status.state.scanned);
        if scanned > placed {
            let _ = writeln!(
                out,
                "note: {} keys are on servers on which pool '{from}' does not look for them; they are not copied \
                 ('ringroad verify')",
                scanned - placed
            );
        }
        let foreign = self.sum(|status| status.tally().foreign);
        if foreign > 0 {
            let _ = writeln!(
                out,
                "note: {foreign} copies were changed by others at the destinations, or evicted there, and made again"
            );
        }
        let untold = self.sum(|status| status.state.untold as u64);
        if untold > 0 {
            let _ = writeln!(
                out,
                "note: {untold} streams and values of modules, whose changes servers do not all tell, were copied again at \
                 the end"
            );
        }
        out
    }

    fn json(&self) -> Value {
        let sources = self.workers.iter().map(|(name, status)| {
            let (state, tally) = (&status.state, status.tally());
            json!({
                "name": name,
                "scanned": state.scanned,
                "keys": state.placed,
                "copies": tally.copied,
                "deleted": tally.deleted,
                "bytes": tally.bytes,
                "foreign": tally.foreign,
                "untold": state.untold,
                "starts": status.restarts + 1,
                "left": left(status),
                "is_scanned": state.is_scanned,
                "paused": status.pause,
            })
        });
        json!({
            "event": "end",
            "from": self.job.from.name,
            "to": self.job.to.name,
            "equal": self.is_equal(),
            "seconds": self.elapsed.as_secs_f64(),
            "sources": sources.collect::<Vec<_>>(),
        })
    }
}

/// The changed keys that are not copied.
fn left(status: &Status) -> u64 {
    let left = status.ended.map(|ended| ended.left);
    left.unwrap_or(status.state.backlog) as u64
}
