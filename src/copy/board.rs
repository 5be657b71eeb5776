//! What the workers tell the main thread, and the word to end.

use std::io;
use std::io::Write;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::copy::error::CopyError;
use crate::mover::{State, Tally};
use crate::text::Printable;

/// What the workers tell, and the word to end. One lock, taken a few times a second by each.
#[derive(Debug)]
pub(super) struct Board {
    told: Mutex<Told>,
    is_ending: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    workers: Vec<Status>,
    events: Vec<Event>,
    error: Option<CopyError>,
}

/// What one worker does.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// How far its mover is.
    pub(super) state: State,
    /// What its earlier movers have done.
    pub(super) earlier: Tally,
    /// All changes had been copied at some time.
    pub(super) was_equal: bool,
    /// The reason for which it waits, or has ended before all was copied.
    pub(super) pause: Option<String>,
    /// How often it has started anew.
    pub(super) restarts: u32,
    /// Set at the end.
    pub(super) ended: Option<Ended>,
}

/// The end of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its scan was complete.
    pub(super) is_scanned: bool,
    /// Keys that have changed and are not copied.
    pub(super) left: usize,
}

impl Status {
    /// What all its movers have done.
    pub(super) fn tally(&self) -> Tally {
        let (a, b) = (self.state.tally, self.earlier);
        Tally {
            copied: a.copied + b.copied,
            deleted: a.deleted + b.deleted,
            bytes: a.bytes + b.bytes,
            foreign: a.foreign + b.foreign,
        }
    }
}

impl Board {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            told: Mutex::new(Told {
                workers: vec![Status::default(); workers],
                ..Told::default()
            }),
            is_ending: AtomicBool::new(false),
        }
    }

    /// Changes the status of a worker.
    pub(super) fn update(&self, worker: usize, change: impl FnOnce(&mut Status)) {
        if let Some(status) = self.told().workers.get_mut(worker) {
            change(status);
        }
    }

    pub(super) fn workers(&self) -> Vec<Status> {
        self.told().workers.clone()
    }

    pub(super) fn add_event(&self, event: Event) {
        self.told().events.push(event);
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        mem::take(&mut self.told().events)
    }

    /// Ends the copy with an error; the first one counts.
    pub(super) fn fail(&self, error: CopyError) {
        self.told().error.get_or_insert(error);
        self.end();
    }

    pub(super) fn take_error(&self) -> Option<CopyError> {
        self.told().error.take()
    }

    /// Tells the workers to copy what is left, and to end.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // A worker that has panicked has reported it ([`CopyError::Thread`]).
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is told once.
#[derive(Debug)]
pub(super) enum Event {
    /// What may be misunderstood, or go wrong.
    Note(String),
    /// All keys are copied, and all changes up to a moment ago.
    Equal,
    /// The signal was received.
    Ending,
    /// A worker waits.
    Paused(String),
    /// A worker starts anew.
    Anew(String),
}

impl Event {
    /// Prints a line.
    pub(super) fn print(&self, is_json: bool, out: &mut dyn Write) -> io::Result<()> {
        const EQUAL: &str = "all keys are copied; following the changes";
        const ENDING: &str = "copying what is left; a second signal ends at once";
        let (name, text) = match self {
            Self::Note(text) => ("note", text.as_str()),
            Self::Equal => ("equal", EQUAL),
            Self::Ending => ("ending", ENDING),
            Self::Paused(text) => ("paused", text.as_str()),
            Self::Anew(text) => ("anew", text.as_str()),
        };
        if is_json {
            writeln!(out, "{}", json!({ "event": name, "text": text }))?;
        } else {
            let prefix = match self {
                Self::Equal | Self::Ending => "",
                Self::Note(_) => "note: ",
                Self::Paused(_) => "paused: ",
                Self::Anew(_) => "starting anew: ",
            };
            writeln!(out, "{prefix}{}", Printable(text))?;
        }
        out.flush()
    }
}
