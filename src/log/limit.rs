//! The limit of repeated lines: so many of a kind in a while, then a count of the rest.
//!
//! Lines are of one kind if they come from one place in the code, with the same message and about the same pool and
//! server. Debug and trace lines are not limited: whoever turns them on wants all of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing::callsite::Identifier;

use crate::log::record::{Record, Value, head};

/// The number of lines of a kind that are written within that time.
const LINES: u32 = 10;
/// The time after which the lines of a kind are counted anew.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// The kinds that are told apart. Above it, lines of one place in the code are one kind.
const KINDS_MAX: usize = 1024;
/// The fields that tell kinds apart.
const FIELDS: [&str; 4] = ["pool", "server", "sentinel", "reason"];
/// The maximum length of a text in a report.
const REPORTED_BYTES: usize = 200;

/// Counts the lines of each kind.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    kinds: HashMap<u64, Kind>,
    hashes: RandomState,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    lines: u32,
    suppressed: u64,
    /// The report about it, but for its count.
    report: Record,
}

/// The fate of a line.
#[derive(Debug)]
pub(super) struct Admission {
    /// Reports that are due, to be written first.
    pub(super) reports: Vec<Record>,
    pub(super) is_written: bool,
    /// It is the first suppressed line of its kind, so that a report must follow.
    pub(super) is_first_suppressed: bool,
}

impl Limiter {
    /// Counts a line from that place in the code.
    pub(super) fn admit(&mut self, place: &Identifier, record: &Record, now: Instant) -> Admission {
        let mut admission = Admission {
            reports: Vec::new(),
            is_written: true,
            is_first_suppressed: false,
        };
        if record.level > Level::INFO {
            return admission;
        }
        let mut key = self.hashes.hash_one((
            place,
            &record.message,
            FIELDS.map(|field| record.text(field)),
        ));
        if !self.kinds.contains_key(&key) && self.kinds.len() >= KINDS_MAX {
            self.take_ended(now, &mut admission.reports);
            if self.kinds.len() >= KINDS_MAX {
                key = self.hashes.hash_one(place);
            }
        }
        let kind = self
            .kinds
            .entry(key)
            .or_insert_with(|| Kind::new(record, now));
        if kind.has_ended(now) {
            admission.reports.extend(kind.report(now));
            *kind = Kind::new(record, now);
        }
        if kind.lines < LINES {
            kind.lines += 1;
        } else {
            kind.suppressed += 1;
            admission.is_written = false;
            admission.is_first_suppressed = kind.suppressed == 1;
        }
        admission
    }

    /// Forgets the kinds whose time is over, and reports what was suppressed of them.
    pub(super) fn take_ended(&mut self, now: Instant, reports: &mut Vec<Record>) {
        self.kinds.retain(|_, kind| {
            let has_ended = kind.has_ended(now);
            if has_ended {
                reports.extend(kind.report(now));
            }
            !has_ended
        });
    }

    /// Reports what was suppressed of all kinds.
    pub(super) fn take_all(&mut self, now: Instant) -> Vec<Record> {
        let kinds = self.kinds.drain();
        kinds.filter_map(|(_, kind)| kind.report(now)).collect()
    }

    /// Returns true if something was suppressed that is not reported yet.
    pub(super) fn owes_reports(&self) -> bool {
        self.kinds.values().any(|kind| kind.suppressed > 0)
    }
}

impl Kind {
    fn new(record: &Record, now: Instant) -> Self {
        let cut = |text: &str| Value::Text(head(text, REPORTED_BYTES).to_owned());
        let fields = FIELDS.map(|field| Some((field, cut(record.text(field)?))));
        let line = ("line", cut(&record.message));
        Self {
            since: now,
            lines: 0,
            suppressed: 0,
            report: Record {
                level: record.level,
                target: record.target,
                message: "further lines of this kind were suppressed".to_owned(),
                fields: [line]
                    .into_iter()
                    .chain(fields.into_iter().flatten())
                    .collect(),
            },
        }
    }

    fn has_ended(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }

    fn report(&self, now: Instant) -> Option<Record> {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        let count = [
            ("count", Value::Number(self.suppressed.into())),
            ("within", Value::Text(format!("{seconds}s"))),
        ];
        (self.suppressed > 0).then(|| Record {
            fields: count
                .into_iter()
                .chain(self.report.fields.clone())
                .collect(),
            ..self.report.clone()
        })
    }
}
