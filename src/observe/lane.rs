//! What one worker keeps about one pool, for readers.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::observe::big_keys::BigKeys;
use crate::observe::hot_keys::HotKeys;
use crate::observe::locks::lock;

/// The number of keys that a worker counts. With a thousand, the count of a key is too high by a thousandth of the
/// requests at most; the tenth of a million keys under Zipf's law has 0.7 % of them. About 150 bytes each.
pub(super) const COUNTERS: usize = 1024;

/// The mean number of requests from one sample to the next. A sample costs some 700 instructions, so a request bears 3.
pub(super) const SAMPLE_OF: u32 = 256;

/// The lane of one worker.
#[derive(Debug)]
pub(super) struct Lane {
    hot: Mutex<HotKeys>,
    big: Mutex<BigKeys>,
}

impl Lane {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            hot: Mutex::new(HotKeys::decaying(COUNTERS, SAMPLE_OF, now)),
            big: Mutex::new(BigKeys::new(now)),
        }
    }

    /// The hot keys, unless a reader copies them.
    pub(super) fn try_hot(&self) -> Option<MutexGuard<'_, HotKeys>> {
        self.hot.try_lock().ok()
    }

    /// The big keys, unless a reader copies them.
    pub(super) fn try_big(&self) -> Option<MutexGuard<'_, BigKeys>> {
        self.big.try_lock().ok()
    }

    /// A copy of the big keys.
    pub(super) fn big(&self) -> BigKeys {
        lock(&self.big).clone()
    }

    /// A copy of the hot keys.
    pub(super) fn hot(&self) -> HotKeys {
        lock(&self.hot).clone()
    }
}
