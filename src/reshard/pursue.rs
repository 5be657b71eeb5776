//! The course of a worker: it copies the keys of its source, follows their changes, and gives away bucket after bucket.

use std::thread;
use std::time::{Duration, Instant};

use crate::mover::{MoverError, Step};
use crate::reshard::error::ReshardError;
use crate::reshard::hold::{Held, Reason};
use crate::reshard::worker::Worker;
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
        if self.lead.is_taken_over {
            self.mover.remove_leftovers()?;
        }
        while !self.mover.state().is_scanned {
            if self.board.is_ending() {
                return Ok(false);
            }
            self.step()?;
        }
        self.board.progress();
        // Of no bucket: whether all proxies take part shows before any client waits.
        let mut is_tried = false;
        loop {
            let buckets = if is_tried {
                self.next_buckets()
            } else {
                BucketSet::EMPTY
            };
            if is_tried && buckets.is_empty() {
                return Ok(true);
            }
            self.catch_up()?;
            if self.board.is_ending() {
                return Ok(false);
            }
            match self.try_hold(&buckets)? {
                Held::Committed(took) => {
                    if is_tried {
                        self.group.committed(took);
                    }
                    is_tried = true;
                    self.board.progress();
                    self.update(Some(took), None);
                }
                Held::Aborted(reason) => self.put_off(reason)?,
            }
        }
    }

    /// The next ones to be held.
    fn next_buckets(&self) -> BucketSet {
        let moved = self.moved();
        let left = BucketSet::ALL
            .iter()
            .filter(|bucket| !moved.contains(*bucket));
        left.take(self.group.size()).collect()
    }

    /// Waits after a hold that was aborted.
    fn put_off(&mut self, reason: Reason) -> Result<(), ReshardError> {
        self.group.aborted(reason.silent.keys(), Instant::now());
        if let Some(times) = self.group.too_many() {
            return Err(ReshardError::Aborted {
                server: self.source.at.to_string(),
                times,
                reason: reason.text,
            });
        }
        self.update(None, Some(reason.text));
        let until = Instant::now() + self.group.pause();
        while Instant::now() < until && !self.board.is_ending() {
            self.step()?;
        }
        Ok(())
    }

    /// Copies what has changed, until what is left is the work of a part of a hold, or it takes too long: the hold copies
    /// the rest, or shows that it cannot. Keys that change all the time are never all equal before they are held.
    fn catch_up(&mut self) -> Result<(), ReshardError> {
        let until = Instant::now() + CATCH_UP;
        while Instant::now() < until && !self.board.is_ending() {
            let step = self.step()?;
            let equal_at = self.mover.state().equal_at;
            let is_close = equal_at.is_some_and(|at| at.elapsed() < self.limits.hold / 4);
            if step == Step::Equal || is_close {
                break;
            }
        }
        Ok(())
    }

    /// Copies a piece; waits if a server wants it.
    fn step(&mut self) -> Result<Step, ReshardError> {
        match self.mover.step(STEP) {
            Ok(step) => {
                self.update(None, None);
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
        self.board.update(&self.source.name, |status| {
            is_new = status.pause.as_ref() != Some(&reason);
            status.pause = Some(reason.clone());
        });
        if is_new {
            self.board.note(format!("paused: {reason}"));
        }
        let until = Instant::now() + RETRY;
        while Instant::now() < until && !self.board.is_ending() {
            thread::sleep(STEP);
        }
    }

    fn update(&self, took: Option<Duration>, pause: Option<String>) {
        let (state, moved) = (self.mover.state(), self.moved().len());
        self.board.update(&self.source.name, |status| {
            status.state = state;
            status.moved = moved;
            status.held = took.or(status.held);
            status.pause = pause;
        });
    }
}
