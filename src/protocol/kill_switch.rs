//! Stops a client at once, whichever worker serves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the session of a client and by all who may kill it. A clone is the same switch.
///
/// The session checks it between each read and the first request of what was read. So once [`KillSwitch::kill`] has
/// returned, whatever the client sends because of what follows is not executed, even if the message that closes the
/// session is still on its way to a busy worker.
#[derive(Debug, Clone, Default)]
pub struct KillSwitch(Arc<AtomicBool>);

impl KillSwitch {
    /// Ensures that no further request of the client is executed.
    pub fn kill(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns true if the client was killed.
    #[inline]
    pub fn is_killed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl PartialEq for KillSwitch {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for KillSwitch {}
