//! The turns of handshakes to compute, so that a flood of them takes a bounded part of the processors.
//!
//! ```text
//! ClientHello, also in pieces --> one at a time (a signature) --> peer --> one at a time (Finished, certificate) --> done
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most handshakes that compute their first flight at the same time, and as many that compute a later one: those whose peer
/// has answered wait for no newcomer.
const COMPUTING_MAX: usize = 1;

/// The turns of the handshakes of one worker. A clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Turns {
    first: Arc<Semaphore>,
    later: Arc<Semaphore>,
}

/// The turns of one handshake.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    is_first: AtomicBool,
    /// Another hello was asked for.
    is_retried: AtomicBool,
    is_computing: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            first: Arc::new(Semaphore::new(COMPUTING_MAX)),
            later: Arc::new(Semaphore::new(COMPUTING_MAX)),
        }
    }
}

impl Turns {
    /// The turns of a handshake that begins.
    #[must_use]
    pub fn begin(&self) -> Turn {
        Turn {
            turns: self.clone(),
            is_first: AtomicBool::new(true),
            is_retried: AtomicBool::new(false),
            is_computing: AtomicBool::new(false),
        }
    }
}

impl Turn {
    /// Waits until it may compute once. What is returned is kept until it has.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let lane = if self.is_first.load(Ordering::Relaxed) {
            &self.turns.first
        } else {
            &self.turns.later
        };
        self.is_computing.store(true, Ordering::Relaxed);
        Arc::clone(lane).acquire_owned().await.ok()
    }

    /// Notes that it waits for its peer, which has been sent a flight if it `has_answered`.
    pub(super) fn end(&self, has_answered: bool) {
        if has_answered {
            self.is_first.store(false, Ordering::Relaxed);
        }
        self.is_computing.store(false, Ordering::Relaxed);
    }

    /// Notes that another hello was asked for. Returns true if that was so already.
    pub(super) fn was_retried(&self) -> bool {
        self.is_retried.swap(true, Ordering::Relaxed)
    }

    /// Returns true if it computes, or waits until it may.
    pub(super) fn is_computing(&self) -> bool {
        self.is_computing.load(Ordering::Relaxed)
    }
}
