//! Whether a client has authenticated, for who closes those that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the session of a client and by who waits for it. A clone is the same flag.
#[derive(Debug, Clone, Default)]
pub struct AuthFlag(Arc<AtomicBool>);

impl AuthFlag {
    /// Notes that the client has authenticated.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns true if the client has authenticated once.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for AuthFlag {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AuthFlag {}
