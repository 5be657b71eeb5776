//! Reads whose reply is late: a second server is asked, within a share of all reads.
//!
//! ```text
//! read at a replica --> [read read read]  in the order of their times --due, unanswered--> ask another
//! ```
//!
//! The time after which a read is late is the 99th percentile of the replies of the quickest replica of its shard: that of a slow
//! one would never be late.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

/// The shares of reads that may be saved up, in hundredths of a read.
const SAVED_MAX: u64 = 100 * 100;

/// A read that may be asked of a second server.
pub(crate) trait Hedged {
    /// Asks another server, unless there is a reply by now. Returns true if it was asked.
    fn hedge(self: Rc<Self>) -> bool;
}

/// The reads of a pool on one worker that are not answered yet.
#[derive(Default)]
pub(crate) struct Hedges {
    waiting: RefCell<VecDeque<(Instant, Weak<dyn Hedged>)>>,
    has_waiting: Rc<Notify>,
    /// What may be spent, in hundredths of a read.
    saved: Cell<u64>,
    task: RefCell<Option<JoinHandle<()>>>,
}

impl Hedges {
    /// Adds a read that is late at this time. At most so many of a hundred are asked of another server.
    pub(crate) fn add(self: &Rc<Self>, late_at: Instant, limit: u32, read: Weak<dyn Hedged>) {
        let saved = self.saved.get().saturating_add(u64::from(limit));
        self.saved.set(saved.min(SAVED_MAX));
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back((late_at, read));
        if waiting.len() == 1 {
            self.has_waiting.notify_one();
        }
        self.task.borrow_mut().get_or_insert_with(|| {
            spawn_local(watch(Rc::downgrade(self), Rc::clone(&self.has_waiting)))
        });
    }

    /// What may be spent, in hundredths of a read.
    #[cfg(test)]
    pub(crate) fn saved(&self) -> u64 {
        self.saved.get()
    }

    /// The time of the next read that is not answered.
    fn next(&self) -> Option<Instant> {
        let mut waiting = self.waiting.borrow_mut();
        while let Some((late_at, read)) = waiting.front() {
            if read.strong_count() > 0 {
                return Some(*late_at);
            }
            waiting.pop_front();
        }
        None
    }

    fn hedge_late(&self, now: Instant) {
        while self.next().is_some_and(|late_at| late_at <= now) {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(read) = next.and_then(|(_, read)| read.upgrade()) else {
                continue;
            };
            if let Some(left) = self.saved.get().checked_sub(100)
                && read.hedge()
            {
                self.saved.set(left);
            }
        }
    }
}

async fn watch(hedges: Weak<Hedges>, has_waiting: Rc<Notify>) {
    loop {
        let next = match hedges.upgrade() {
            Some(hedges) => hedges.next(),
            None => return,
        };
        match next {
            Some(late_at) => sleep_until(late_at).await,
            None => has_waiting.notified().await,
        }
        if let Some(hedges) = hedges.upgrade() {
            hedges.hedge_late(Instant::now());
        }
    }
}

impl Drop for Hedges {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Hedges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedges").finish_non_exhaustive()
    }
}

/// An estimate of the 99th percentile of the times that a server takes.
#[derive(Debug)]
pub(crate) struct Pace(Cell<f64>);

impl Pace {
    /// The first estimate, and the least one, in µs.
    const FIRST: f64 = 10_000.0;
    const LEAST: f64 = 500.0;

    /// Adds the time of one reply: one in a hundred raises the estimate as much as the others lower it.
    pub(crate) fn note(&self, took: Duration) {
        let (old, took) = (self.0.get(), took.as_secs_f64() * 1e6);
        let factor = if took > old { 1.0 + 0.099 } else { 1.0 - 0.001 };
        self.0.set((old * factor).max(Self::LEAST));
    }

    /// The estimate.
    pub(crate) fn p99(&self) -> Duration {
        Duration::from_secs_f64(self.0.get() / 1e6)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self(Cell::new(Self::FIRST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_approaches_the_99th_percentile() {
        let (pace, mut random) = (Pace::default(), fastrand::Rng::with_seed(3));
        for _ in 0..50_000 {
            pace.note(Duration::from_micros(random.u64(0..100_000)));
        }
        let found = pace.p99();
        let expected = Duration::from_millis(90)..Duration::from_millis(110);
        assert!(expected.contains(&found), "{found:?}");
        for _ in 0..10_000 {
            pace.note(Duration::from_micros(100));
        }
        assert!(pace.p99() < Duration::from_millis(1));
    }
}
