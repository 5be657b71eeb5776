//! The worker of one source.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::copy::board::{Board, Ended, Event, Status};
use crate::copy::error::CopyError;
use crate::copy::job::Job;
use crate::copy::servers::{Server, Sides, client_name};
use crate::mover::{DatabasePair, Endpoint, Limits, Mover, MoverError, Placement, Plan, State};
use crate::topology::{Router, ServerIndex};

/// The longest wait of a step, and so of a worker before it hears the word to end.
const STEP: Duration = Duration::from_millis(50);
/// The wait before a new start, and before a full destination is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The time for which new starts are tried, since the last one that came as far as being equal.
const ANEW_FOR: Duration = Duration::from_secs(60);
/// New starts in a row, none of which comes as far as being equal.
const ANEW_TIMES: u32 = 5;
/// How often keys are copied again whose changes are not told.
const UNTOLD_EVERY: Duration = Duration::from_secs(60);
/// The time for which the last changes are copied at the end. Clients that still write there make more.
const END_WITHIN: Duration = Duration::from_secs(10);

/// The worker of one source.
pub(super) struct Worker {
    number: usize,
    board: Arc<Board>,
    source: Endpoint,
    destinations: Vec<Endpoint>,
    databases: Vec<DatabasePair>,
    placement: Placement,
    client_name: String,
    limits: Limits,
    into_data: bool,
}

/// Copies of an earlier start whose keys are no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftovers {
    /// There was none.
    None,
    /// There may be some.
    Some,
    /// Perhaps all of them: the source was flushed.
    All,
}

/// Reports a worker that ends by a panic.
struct Guard(Arc<Board>);

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(CopyError::Thread);
        }
    }
}

impl Worker {
    /// One for each source.
    pub(super) fn each(job: &Job<'_>, sides: &Sides, board: &Arc<Board>) -> Vec<Self> {
        let destinations = sides.destinations.iter();
        let destinations: Vec<_> = destinations.map(|server| server.at.clone()).collect();
        let (from, to) = (Router::for_pool(job.from), Router::for_pool(job.to));
        let sources = sides.sources.iter().enumerate();
        let worker = |(number, source): (usize, &Server)| Self {
            number,
            board: Arc::clone(board),
            source: source.at.clone(),
            destinations: destinations.clone(),
            databases: sides.databases.clone(),
            placement: placement(number, &from, &to, sides),
            client_name: client_name(job),
            limits: Limits {
                keys: job.per_second.map(u64::from),
                bytes: None,
            },
            into_data: job.into_data,
        };
        sources.map(worker).collect()
    }

    /// Copies and follows until the word to end.
    pub(super) fn run(self) {
        let _guard = Guard(Arc::clone(&self.board));
        match self.copy() {
            Ok(ended) => self.update(|status| status.ended = Some(ended)),
            Err(error) => self.board.fail(error),
        }
    }

    fn copy(&self) -> Result<Ended, CopyError> {
        let mut working_at = Instant::now();
        let mut starts = 0;
        let mut was_flushed = false;
        loop {
            let leftovers = match starts {
                0 => Leftovers::None,
                _ if was_flushed => Leftovers::All,
                _ => Leftovers::Some,
            };
            let error = match self.follow(leftovers, &mut working_at, &mut starts) {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            };
            let may_start = error.may_start_anew() || error.may_go_on();
            if self.board.is_ending() || !may_start || starts == 0 {
                return Err(error.into());
            }
            if self.into_data {
                return Err(CopyError::IntoData(error));
            }
            if starts > ANEW_TIMES || working_at.elapsed() > ANEW_FOR {
                return Err(error.into());
            }
            was_flushed = matches!(error, MoverError::Flushed { .. });
            self.board.add_event(Event::Anew(error.to_string()));
            self.update(|status| {
                status.earlier = status.tally();
                status.state = State::default();
                status.restarts += 1;
                status.was_equal = false;
            });
            self.pause(RETRY);
        }
    }

    /// One mover, to its end. `starts` counts those that have begun since the last one that was equal.
    fn follow(
        &self,
        leftovers: Leftovers,
        working_at: &mut Instant,
        starts: &mut u32,
    ) -> Result<Ended, MoverError> {
        let mut mover = Mover::open(Plan {
            source: self.source.clone(),
            destinations: self.destinations.clone(),
            databases: self.databases.clone(),
            placement: Arc::clone(&self.placement),
            given_away: None,
            client_name: self.client_name.clone(),
            channel: b"ringroad:copy".to_vec(),
            limits: self.limits,
            keeps_others: self.into_data,
        })?;
        *starts += 1;
        mover.try_formats()?;
        if leftovers == Leftovers::Some {
            mover.require_keys()?;
        }
        if leftovers != Leftovers::None {
            mover.remove_leftovers()?;
        }
        let mut untold_at = Instant::now();
        loop {
            if self.board.is_ending() {
                return self.end(&mut mover);
            }
            let stepped = if untold_at.elapsed() > UNTOLD_EVERY {
                untold_at = Instant::now();
                mover.copy_all_untold()
            } else {
                mover.step(STEP).map(|_| ())
            };
            let state = mover.state();
            self.update(|status| status.state = state);
            match stepped {
                Ok(()) => {
                    // Under load there is always a change that is not copied yet.
                    let was_equal = state.equal_at.is_some();
                    if was_equal {
                        *working_at = Instant::now();
                        *starts = 1;
                    }
                    self.update(|status| {
                        status.was_equal = was_equal;
                        status.pause = None;
                    });
                }
                Err(error) if error.may_go_on() => {
                    self.tell_pause(&error);
                    self.pause(RETRY);
                    *working_at = Instant::now();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Copies what is left.
    fn end(&self, mover: &mut Mover) -> Result<Ended, MoverError> {
        let deadline = Instant::now() + END_WITHIN;
        let is_scanned = mover.state().is_scanned;
        // Before the scan is over it would not end soon.
        while mover.state().is_scanned {
            match mover.sync(&|_| true, deadline) {
                Ok(synced) => {
                    let state = mover.state();
                    self.update(|status| {
                        status.state = state;
                        status.pause = None;
                    });
                    return Ok(Ended {
                        is_scanned,
                        left: synced.left,
                    });
                }
                Err(error) if error.may_go_on() && Instant::now() < deadline => {
                    self.tell_pause(&error);
                    thread::sleep(RETRY);
                }
                Err(error) if error.may_go_on() => break,
                Err(error) => return Err(error),
            }
        }
        let state = mover.state();
        self.update(|status| status.state = state);
        Ok(Ended {
            is_scanned,
            left: state.backlog,
        })
    }

    /// Says why the mover waits, when the reason is new.
    fn tell_pause(&self, error: &MoverError) {
        let reason = error.to_string();
        let mut is_new = false;
        self.update(|status| {
            is_new = status.pause.as_ref() != Some(&reason);
            status.pause = Some(reason.clone());
        });
        if is_new {
            self.board.add_event(Event::Paused(reason));
        }
    }

    /// Waits, until the word to end if that comes first.
    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.board.is_ending() {
            thread::sleep(STEP);
        }
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        self.board.update(self.number, change);
    }
}

/// A key goes from the source on which its pool's file looks for it to the destination on which the other file does.
fn placement(source: usize, from: &Router, to: &Router, sides: &Sides) -> Placement {
    let (from, to) = (from.clone(), to.clone());
    let (source_of, destination_of) = (sides.source_of.clone(), sides.destination_of.clone());
    let at = |positions: &[usize], index: ServerIndex| positions.get(index.index()).copied();
    Arc::new(move |key| {
        let owner = at(&source_of, from.route(key)?)?;
        if owner != source {
            return None;
        }
        at(&destination_of, to.route(key)?)
    })
}
