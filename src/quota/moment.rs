//! Times, as plain numbers that workers can share.

use std::sync::LazyLock;
use std::time::Instant;

/// Nanoseconds since the process has first asked: enough for 584 years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub(super) u64);

static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// That of an instant; those before the first are the first.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(*FIRST).as_nanos();
        Self(u64::try_from(since).unwrap_or(u64::MAX))
    }
}
