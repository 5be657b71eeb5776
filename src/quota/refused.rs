//! What was refused because of a quota.

use std::sync::atomic::{AtomicU64, Ordering};

use super::kind::QuotaKind;

/// The numbers of refusals of one row of the configuration, by kind.
#[derive(Debug, Default)]
pub struct RefusedCounts([AtomicU64; QuotaKind::ALL.len()]);

impl RefusedCounts {
    /// The number of a kind.
    #[must_use]
    pub fn get(&self, kind: QuotaKind) -> u64 {
        let count = self.0.get(kind.index());
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, kind: QuotaKind) {
        if let Some(count) = self.0.get(kind.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
