//! What the workers tell the main thread, and the word to end.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::mover;
use crate::reshard::error::ReshardError;

/// How often a paused worker looks whether it is to go on.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a worker waits for that has been told to pause.
pub(super) const PAUSED: &str = "it is paused, until 'ringroad reshard resume'";

/// What the workers tell, and the word to end. One lock, taken a few times a second by each.
#[derive(Debug, Default)]
pub(super) struct Board {
    told: Mutex<Told>,
    is_ending: AtomicBool,
    has_functions: AtomicBool,
    is_paused: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    sources: BTreeMap<String, Status>,
    phase: Phase,
    notes: Vec<String>,
    error: Option<ReshardError>,
    progresses: u64,
}

/// What a move is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Connecting, taking the lead, settling what was open.
    #[default]
    Taking,
    /// Copying and giving away bucket after bucket.
    Moving,
    /// Waiting until the destinations have saved the copies.
    Saving,
    /// Unlinking at the sources.
    Cleaning,
}

impl Phase {
    /// One word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Taking => "starting",
            Self::Moving => "moving",
            Self::Saving => "saving",
            Self::Cleaning => "cleaning",
        }
    }
}

/// What one source is at.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// How far its mover is.
    pub(super) state: mover::State,
    /// Buckets that have moved.
    pub(super) moved: usize,
    /// How long the holds took that were committed.
    pub(super) holds: Vec<Duration>,
    /// Holds that were aborted, of all and in a row.
    pub(super) aborted: u64,
    pub(super) aborted_in_a_row: u64,
    /// The reason of the last one.
    pub(super) last_abort: Option<String>,
    /// The reason for which it waits.
    pub(super) pause: Option<String>,
    /// The keys that the scan has found, by destination.
    pub(super) found: Vec<(String, u64)>,
    /// A key that somebody has written here after it had moved, printable.
    pub(super) stale_key: Option<String>,
}

impl Board {
    /// Changes the status of a source.
    pub(super) fn update(&self, source: &str, change: impl FnOnce(&mut Status)) {
        let mut told = self.told();
        change(told.sources.entry(source.to_owned()).or_default());
    }

    pub(super) fn sources(&self) -> BTreeMap<String, Status> {
        self.told().sources.clone()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.told().phase = phase;
    }

    pub(super) fn phase(&self) -> Phase {
        self.told().phase
    }

    /// Tells something once.
    pub(super) fn note(&self, note: String) {
        self.told().notes.push(note);
    }

    pub(super) fn take_notes(&self) -> Vec<String> {
        mem::take(&mut self.told().notes)
    }

    /// Counts that something was reached which a new start does not lose.
    pub(super) fn progress(&self) {
        self.told().progresses += 1;
    }

    pub(super) fn progresses(&self) -> u64 {
        self.told().progresses
    }

    /// Ends all workers with an error; the first one counts.
    pub(super) fn fail(&self, error: ReshardError) {
        self.told().error.get_or_insert(error);
        self.end();
    }

    pub(super) fn take_error(&self) -> Option<ReshardError> {
        self.told().error.take()
    }

    /// Tells the workers to end.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    /// Lets new workers begin.
    pub(super) fn begin(&self) {
        self.is_ending.store(false, Ordering::SeqCst);
        self.has_functions.store(false, Ordering::SeqCst);
    }

    /// Tells that the added servers have the function libraries: keys may be given away.
    pub(super) fn set_functions(&self) {
        self.has_functions.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_functions(&self) -> bool {
        self.has_functions.load(Ordering::SeqCst)
    }

    /// Tells the workers to begin no hold and to copy nothing, or to go on.
    pub(super) fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::SeqCst);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::SeqCst)
    }

    /// Waits while all is to pause.
    pub(super) fn await_resume(&self) {
        while self.is_paused() && !self.is_ending() {
            thread::sleep(LOOK_EVERY);
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // A worker that has panicked has reported it ([`ReshardError::Thread`]).
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
