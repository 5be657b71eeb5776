//! Locks of what workers note and readers copy.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks: what is noted is valid, whatever thread has panicked meanwhile.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
