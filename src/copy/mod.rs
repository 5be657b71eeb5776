//! `ringroad copy`: the keys of a pool, copied to the servers of another one while clients use them.
//!
//! ```text
//!   main thread:  checks, asks, starts a worker for each source; draws the progress, hears signals, reports
//!   worker:       one Mover (`mover`): scans, copies, follows the changes; starts anew if the feed is lost
//!        \-- Board: what each worker is doing, and the word to end
//! ```
//!
//! `main` calls it; no proxy needs to run. It reads the source's keys and writes at the destinations only; at the source it
//! changes nothing. It follows the changes until it is told to end (a signal, or `--once`): then it copies what is left,
//! and says whether all that was written before that moment is at the destinations.
//!
//! Invariants: destinations are primaries, other processes than the sources, and have no keys, unless that was allowed;
//! a key of a source is copied only if the source's file looks for it there; exit code 0 means that nothing is left.

mod board;
mod checks;
mod error;
mod job;
mod progress;
mod report;
mod servers;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::console::{Console, Report as _};
use crate::copy::board::{Board, Event};
use crate::copy::progress::Progress;
use crate::copy::report::Report;
use crate::copy::servers::Sides;
use crate::copy::worker::Worker;

pub use error::CopyError;
pub use job::Job;

/// How often the workers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Copies until it is told to end. `catch_stops` begins to count the signals for that: until the copy begins, they end the
/// process as usual. Returns true if nothing is left to copy.
pub fn run(
    job: &Job<'_>,
    catch_stops: impl FnOnce() -> io::Result<Arc<AtomicU32>>,
    console: &mut Console<'_>,
) -> Result<bool, CopyError> {
    checks::pools(job)?;
    if !job.is_confirmed && console.confirm.is_none() {
        return Err(CopyError::Unconfirmed);
    }
    let mut sides = Sides::open(job)?;
    checks::servers(job, &mut sides)?;
    let board = Arc::new(Board::new(sides.sources.len()));
    for note in checks::notes(job, &mut sides)? {
        Event::Note(note).print(job.json, console.out)?;
    }
    if !is_agreed(job, &sides, console)? {
        return Ok(false);
    }
    let stops = catch_stops()?;
    let started = Instant::now();
    for worker in Worker::each(job, &sides, &board) {
        thread::spawn(move || worker.run());
    }
    let is_ended = watch(job, &stops, &board, sides.keys, console)?;
    let report = Report::of(job, &sides, &board, started.elapsed(), is_ended);
    report.print(job.json, console.out)?;
    Ok(report.is_equal())
}

fn is_agreed(job: &Job<'_>, sides: &Sides, console: &mut Console<'_>) -> Result<bool, CopyError> {
    if job.is_confirmed {
        return Ok(true);
    }
    let question = format!(
        "Copy about {} keys of pool '{}' to the {} servers of pool '{}'? [y/N] ",
        sides.keys,
        job.from.name,
        sides.destinations.len(),
        job.to.name
    );
    let confirm = console.confirm.as_mut().ok_or(CopyError::Unconfirmed)?;
    Ok(confirm(&question)?)
}

/// Waits until all workers have ended, or for the second signal; returns true if all have ended.
fn watch(
    job: &Job<'_>,
    stops: &AtomicU32,
    board: &Board,
    total: u64,
    console: &mut Console<'_>,
) -> Result<bool, CopyError> {
    let mut progress = Progress::new(total);
    let mut is_told = false;
    loop {
        for event in board.take_events() {
            progress.clear(console.terminal.as_deref_mut());
            event.print(job.json, console.out)?;
        }
        if let Some(error) = board.take_error() {
            progress.clear(console.terminal.as_deref_mut());
            return Err(error);
        }
        let workers = board.workers();
        if workers.iter().all(|worker| worker.ended.is_some()) {
            progress.clear(console.terminal.as_deref_mut());
            return Ok(true);
        }
        // One that has started anew has lost it; who reads no terminal waits for it to be told again.
        let is_equal = workers.iter().all(|worker| worker.was_equal);
        if is_equal && !is_told {
            board.add_event(Event::Equal);
            if job.is_once {
                board.end();
            }
        }
        is_told = is_equal;
        let stopped = stops.load(Ordering::SeqCst);
        if stopped > 0 && !board.is_ending() {
            board.end();
            board.add_event(Event::Ending);
        }
        if stopped > 1 {
            progress.clear(console.terminal.as_deref_mut());
            return Ok(false);
        }
        if job.json {
            progress.print_json(&workers, console.out)?;
        } else if let Some(terminal) = console.terminal.as_deref_mut() {
            progress.draw(&workers, terminal);
        }
        thread::sleep(LOOK_EVERY);
    }
}
