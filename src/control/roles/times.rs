//! How often is asked, and how long is waited.

use std::time::Duration;

/// How often sentinels and servers are asked without a reason.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The pause before they are asked again, however often somebody wants to know.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// The time for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
