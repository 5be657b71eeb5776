//! Times that several parts of the wiring have.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time limit for requests in flight after SIGTERM.
pub(super) const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// The time in which clients may leave for a new process; the others are drained.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_secs(60);

/// Milliseconds since 1970.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
