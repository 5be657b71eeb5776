//! Counts of error replies by their code, such as `WRONGTYPE`.
//!
//! A server, a script or a module may invent codes: like Redis, a pool counts the first [`MOST`] of them, and the others
//! together. Those of Redis itself always have a count of their own, whatever a script has invented before.

use std::cell::RefCell;

use super::ShortText;

/// The number of codes that are counted (Redis's `ERRORSTATS_LIMIT`).
const MOST: usize = 128;

/// The codes of Redis 7 and valkey, and of the proxy.
const OWN: [&str; 30] = [
    "ASK",
    "BUSY",
    "BUSYGROUP",
    "BUSYKEY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "ERR",
    "EXECABORT",
    "INPROG",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOGOODSLAVE",
    "NOGROUP",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "NOSCRIPT",
    "NOTBUSY",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
    "IOERR",
    "NOMASTERLINK",
];

/// The name under which the others are counted.
pub const OTHER_ERRORS: &str = "ERRORSTATS_OVERFLOW";

/// The code of an error reply, as long as Redis takes them to be.
pub(super) type ErrorName = ShortText<31>;

/// The counts of a pool in one worker.
#[derive(Debug, Default)]
pub struct ErrorCells(RefCell<ErrorCounts>);

/// The counts of a pool at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    rows: Vec<(ErrorName, u64)>,
    /// Errors with other codes.
    others: u64,
}

impl ErrorCells {
    /// Counts an error reply with this code.
    pub fn note(&self, code: &[u8]) {
        self.0.borrow_mut().add(ErrorName::of(code), 1);
    }

    pub(super) fn copy_to(&self, counts: &mut ErrorCounts) {
        counts.clone_from(&self.0.borrow());
    }
}

impl ErrorCounts {
    /// The codes and their counts, by code.
    #[must_use]
    pub fn by_name(&self) -> Vec<(&str, u64)> {
        let counted = self.rows.iter().filter(|(_, count)| *count > 0);
        let mut named: Vec<_> = counted
            .map(|(code, count)| (code.as_str(), *count))
            .collect();
        if self.others > 0 {
            named.push((OTHER_ERRORS, self.others));
        }
        named.sort_unstable();
        named
    }

    /// The number of error replies.
    #[must_use]
    pub fn total(&self) -> u64 {
        let counted = self.rows.iter().map(|(_, count)| *count);
        counted.fold(self.others, u64::wrapping_add)
    }

    /// Adds the counts of another worker.
    pub(super) fn merge(&mut self, other: &Self) {
        for (code, count) in &other.rows {
            self.add(*code, *count);
        }
        self.others = self.others.wrapping_add(other.others);
    }

    /// Subtracts earlier counts of the same pool.
    pub fn subtract(&mut self, earlier: &Self) {
        for (code, count) in &earlier.rows {
            let mut rows = self.rows.iter_mut();
            if let Some((_, mine)) = rows.find(|(own, _)| own == code) {
                *mine = mine.saturating_sub(*count);
            }
        }
        self.others = self.others.saturating_sub(earlier.others);
    }

    fn add(&mut self, code: ErrorName, count: u64) {
        let known = self.rows.iter_mut().find(|(own, _)| *own == code);
        if let Some((_, own)) = known {
            *own = own.wrapping_add(count);
        } else if self.rows.len() < MOST || OWN.contains(&code.as_str()) {
            self.rows.push((code, count));
        } else {
            self.others = self.others.wrapping_add(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(codes: impl IntoIterator<Item = String>) -> ErrorCounts {
        let cells = ErrorCells::default();
        for code in codes {
            cells.note(code.as_bytes());
        }
        let mut counts = ErrorCounts::default();
        cells.copy_to(&mut counts);
        counts
    }

    #[test]
    fn codes_of_redis_are_counted_beyond_the_limit() {
        let invented = (0..2 * MOST).map(|n| format!("E{n}"));
        let sum = counts(invented.chain(OWN.map(str::to_owned)));
        let named = sum.by_name();
        assert!(OWN.iter().all(|code| named.contains(&(code, 1))));
        assert_eq!(named.len(), MOST + OWN.len() + 1);
    }

    #[test]
    fn codes_beyond_the_limit_are_counted_together() {
        let codes = |range: std::ops::Range<usize>| range.map(|n| format!("E{n}"));
        let mut sum = counts(codes(0..100).chain(codes(0..1)));
        sum.merge(&counts(codes(50..MOST + 7)));
        let named = sum.by_name();
        assert_eq!(named.len(), MOST + 1);
        assert!(named.contains(&("E0", 2)) && named.contains(&("E99", 2)));
        assert!(named.contains(&(OTHER_ERRORS, 7)));
        let total = (MOST + 7 + 51) as u64;
        assert_eq!(sum.total(), total);
        sum.subtract(&counts(codes(0..1)));
        assert_eq!(sum.total(), total - 1);
    }
}
