//! Time limits that several parts of the wiring have.

use std::time::Duration;

/// The time limit for requests in flight after SIGTERM.
pub(super) const DRAIN_WITHIN: Duration = Duration::from_secs(10);
