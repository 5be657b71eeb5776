//! The course of a worker: it copies the keys of its source, follows their changes, and gives away bucket after bucket.

use std::thread;
use std::time::{Duration, Instant};

use crate::mover::{MoverError, Step, Synced};
use crate::reshard::board::PAUSED;
use crate::reshard::error::ReshardError;
use crate::reshard::functions;
use crate::reshard::hold::{Held, Reason};
use crate::reshard::worker::Worker;
use crate::text::printable_key;
use crate::topology::BucketSet;

/// The longest wait of a step, and so of a worker before it hears the word to end.
const STEP: Duration = Duration::from_millis(50);
/// The wait before a server is tried again that has no memory, or is busy.
const RETRY: Duration = Duration::from_secs(1);
/// The time for which changes are followed before a hold, until nearly all are copied.
const CATCH_UP: Duration = Duration::from_secs(2);

impl Worker<'_> {
    /// Moves all buckets; returns false if it was told to end before.
    pub(super) fn run(&mut self) -> Result<bool, ReshardError> {
        if self.next_buckets().is_empty() {
            return Ok(true);
        }
        self.mover.try_formats()?;
        // Whether all proxies take part shows before the work begins, and again before any client waits.
        if !self.hold_nothing()? || !self.give_functions()? {
            return Ok(false);
        }
        self.holder.board.await_resume();
        if self.holder.lead.is_taken_over {
            self.mover.remove_leftovers()?;
        }
        while !self.mover.state().is_scanned || !self.holder.board.has_functions() {
            if self.holder.board.is_ending() {
                return Ok(false);
            }
            self.step()?;
        }
        self.holder.board.progress();
        if !self.hold_nothing()? {
            return Ok(false);
        }
        loop {
            let buckets = self.next_buckets();
            if buckets.is_empty() {
                return self.give_functions();
            }
            if let Some(took) = self.hold(&buckets)? {
                self.holder.group.committed(took);
            } else if self.holder.board.is_ending() {
                return Ok(false);
            }
        }
    }

    /// Holds no bucket until all proxies have vouched; returns false if it was told to end before.
    fn hold_nothing(&mut self) -> Result<bool, ReshardError> {
        loop {
            if self.hold(&BucketSet::EMPTY)?.is_some() {
                return Ok(true);
            }
            if self.holder.board.is_ending() {
                return Ok(false);
            }
        }
    }

    /// Tries one hold, after the changes so far are copied. `None` if it was aborted, or not begun as all is to end.
    fn hold(&mut self, buckets: &BucketSet) -> Result<Option<Duration>, ReshardError> {
        if self.mover.state().is_scanned {
            self.catch_up()?;
        }
        while self.holder.board.is_paused() && !self.holder.board.is_ending() {
            self.step()?;
        }
        if self.holder.board.is_ending() {
            return Ok(None);
        }
        match self.try_hold(buckets)? {
            Held::Committed(took) => {
                self.holder
                    .board
                    .update(&self.holder.source.name, |status| {
                        status.aborted_in_a_row = 0;
                        if !buckets.is_empty() {
                            status.holds.push(took);
                        }
                    });
                if !buckets.is_empty() {
                    self.holder.board.progress();
                }
                self.update(None);
                Ok(Some(took))
            }
            Held::Aborted(reason) => {
                self.put_off(reason)?;
                Ok(None)
            }
        }
    }

    /// Loads the source's function libraries to the servers that the move adds, if that is this worker's part. To be called
    /// after a hold of no bucket. Returns false if it was told to end before.
    fn give_functions(&mut self) -> Result<bool, ReshardError> {
        if !self.gives_functions {
            return Ok(true);
        }
        loop {
            match functions::give(self.holder.lead, self.holder.source) {
                Ok(0) => {
                    self.holder.board.set_functions();
                    return Ok(true);
                }
                Ok(_) => {
                    if !self.hold_nothing()? {
                        return Ok(false);
                    }
                }
                Err(ReshardError::Mover(error)) if error.may_go_on() => self.wait_for(&error),
                Err(error) => return Err(error),
            }
            if self.holder.board.is_ending() {
                return Ok(false);
            }
        }
    }

    /// Holds buckets, makes their copies equal, and commits them.
    fn try_hold(&mut self, buckets: &BucketSet) -> Result<Held, ReshardError> {
        let Self { holder, mover, .. } = self;
        let lead = holder.lead;
        let mut sync = |buckets: &BucketSet, _: u64, deadline: Instant| {
            let wanted = |key: &[u8]| buckets.contains(lead.routes.before.bucket(key));
            copied(mover.sync_at_once(&wanted, deadline), deadline)
        };
        holder.try_hold(buckets, &mut sync)
    }

    /// The next ones to be held.
    fn next_buckets(&self) -> BucketSet {
        let moved = self.holder.moved();
        let left = BucketSet::ALL
            .iter()
            .filter(|bucket| !moved.contains(*bucket));
        left.take(self.holder.group.size()).collect()
    }

    /// Waits after a hold that was aborted.
    fn put_off(&mut self, reason: Reason) -> Result<(), ReshardError> {
        self.holder.aborted(reason);
        let until = Instant::now() + self.holder.group.pause();
        while Instant::now() < until && !self.holder.board.is_ending() {
            self.step()?;
        }
        Ok(())
    }

    /// Copies what has changed, until what is left is the work of a part of a hold, or it takes too long: the hold copies
    /// the rest, or shows that it cannot. Keys that change all the time are never all equal before they are held.
    fn catch_up(&mut self) -> Result<(), ReshardError> {
        let until = Instant::now() + CATCH_UP;
        while Instant::now() < until && !self.holder.board.is_ending() {
            let step = self.step()?;
            let equal_at = self.mover.state().equal_at;
            let is_close = equal_at.is_some_and(|at| at.elapsed() < self.holder.limits.hold / 4);
            if step == Step::Equal || is_close {
                break;
            }
        }
        Ok(())
    }

    /// Copies a piece; waits if a server wants it.
    fn step(&mut self) -> Result<Step, ReshardError> {
        if self.holder.board.is_paused() {
            self.mover.follow(STEP)?;
            self.update(Some(PAUSED.to_owned()));
            return Ok(Step::Waited);
        }
        match self.mover.step(STEP) {
            Ok(step) => {
                self.update(None);
                Ok(step)
            }
            Err(error) if error.may_go_on() => {
                self.wait_for(&error);
                Ok(Step::Waited)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn wait_for(&self, error: &MoverError) {
        let reason = error.to_string();
        let mut is_new = false;
        self.holder
            .board
            .update(&self.holder.source.name, |status| {
                is_new = status.pause.as_ref() != Some(&reason);
                status.pause = Some(reason.clone());
            });
        if is_new {
            self.holder.board.note(format!("paused: {reason}"));
        }
        let until = Instant::now() + RETRY;
        while Instant::now() < until && !self.holder.board.is_ending() {
            thread::sleep(STEP);
        }
    }

    fn update(&self, pause: Option<String>) {
        let (state, moved) = (self.mover.state(), self.holder.moved().len());
        let destinations = self
            .holder
            .lead
            .routes
            .destinations(&self.holder.source.name)
            .iter();
        let found = destinations
            .cloned()
            .zip(self.mover.placed().iter().copied());
        let stale_key = self.mover.stale_key().map(printable_key);
        self.holder
            .board
            .update(&self.holder.source.name, |status| {
                status.state = state;
                status.moved = moved;
                status.pause = pause;
                status.found = found.collect();
                status.stale_key = stale_key;
            });
    }
}

/// Why the copies are not equal; none if they are.
fn copied(
    synced: Result<Synced, MoverError>,
    deadline: Instant,
) -> Result<Option<Reason>, ReshardError> {
    match synced {
        Ok(synced) if synced.left == 0 => {
            if Instant::now() > deadline {
                return Ok(Some(Reason::of("copying took too long".to_owned())));
            }
            Ok(None)
        }
        Ok(synced) => Ok(Some(Reason::of(format!(
            "{} keys had still changed",
            synced.left
        )))),
        Err(error @ (MoverError::Full { .. } | MoverError::Busy { .. })) => {
            Ok(Some(Reason::of(error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}
