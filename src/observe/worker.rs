//! The observation of one pool by one worker: the countdown of its requests, and what happens at zero.

use std::cell::{Cell, RefCell};
use std::hash::BuildHasher as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::observe::big_keys::BigName;
use crate::observe::hot_keys::HotKeys;
use crate::observe::key_text::VisitKeys;
use crate::observe::lane::{Lane, SAMPLE_OF};
use crate::observe::pool::{PoolObservation, Watcher, Watching};
use crate::observe::watch::{Seen, Watch};

/// Observes the requests of one pool in one worker.
///
/// The interval from one sample to the next is random: clients whose requests repeat with a period must not have the same
/// one of them sampled each time. While somebody watches, each request is looked at, and samples go on as before.
#[derive(Debug)]
pub struct WorkerObserver {
    /// Requests until the next one that is looked at.
    countdown: Cell<u32>,
    /// The countdown when it was last set.
    set_to: Cell<u32>,
    /// Requests until the next sample, when the countdown was last set.
    until_sample: Cell<u32>,
    random: RefCell<fastrand::Rng>,
    pool: Arc<PoolObservation>,
    lane: Arc<Lane>,
    worker: usize,
    /// See [`Self::note_before`].
    before: Cell<(u64, bool)>,
    /// The changes of watchers that this worker has adopted.
    seen: Cell<u64>,
    watchers: RefCell<Rc<[Watcher]>>,
    /// Set if somebody wants to see the requests themselves.
    shows: Cell<bool>,
}

impl WorkerObserver {
    /// Joins the workers that observe a pool.
    #[must_use]
    pub fn new(pool: Arc<PoolObservation>) -> Self {
        let (worker, lane) = pool.join(Instant::now());
        let observer = Self {
            countdown: Cell::default(),
            set_to: Cell::default(),
            until_sample: Cell::default(),
            random: RefCell::new(fastrand::Rng::with_seed(worker as u64)),
            pool,
            lane,
            worker,
            before: Cell::default(),
            seen: Cell::default(),
            watchers: RefCell::new(Rc::default()),
            shows: Cell::default(),
        };
        observer.draw();
        observer.arm();
        observer
    }

    /// Learns who watches, before a batch of requests.
    #[inline]
    pub fn begin_batch(&self) {
        if self.pool.changes() != self.seen.get() {
            self.adopt();
        }
    }

    /// Counts a request. Returns true if it is to be looked at.
    #[inline]
    pub fn is_due(&self) -> bool {
        let left = self.countdown.get().wrapping_sub(1);
        self.countdown.set(left);
        left == 0
    }

    /// Keeps the number of refused requests before the one that is looked at, and whether its client is queueing a transaction.
    #[cold]
    pub fn note_before(&self, refusals: u64, is_queueing: bool) {
        self.before.set((refusals, is_queueing));
    }

    /// What was kept.
    pub fn before(&self) -> (u64, bool) {
        self.before.get()
    }

    /// Has the next request looked at in place of one that is offered again.
    #[cold]
    pub fn postpone(&self) {
        self.countdown.set(1);
    }

    /// Looks at a request that was taken.
    #[cold]
    pub fn look(&self, now: Instant, keys: &VisitKeys<'_>) {
        let left = self.until_sample.get().saturating_sub(self.set_to.get());
        self.until_sample.set(left);
        if left == 0 {
            self.draw();
            if let Some(mut hot) = self.lane.try_hot() {
                self.count(&mut hot, now, keys);
            }
        }
        let watchers = Rc::clone(&self.watchers.borrow());
        for watcher in &*watchers {
            if let Watcher::Keys(counted) = watcher
                && let Some(Ok(mut hot)) = counted.of(self.worker).map(|hot| hot.try_lock())
            {
                self.count(&mut hot, now, keys);
            }
        }
        self.arm();
    }

    /// Returns true if somebody wants to see the requests themselves.
    pub fn shows(&self) -> bool {
        self.shows.get()
    }

    /// Shows a request to those who watch.
    pub fn show(&self, request: &Seen<'_>) {
        self.each_watch(|watch| watch.see(request));
    }

    /// Tells those who watch that they miss requests.
    pub fn miss(&self, requests: u64) {
        self.each_watch(|watch| watch.miss(requests));
    }

    fn each_watch(&self, tell: impl Fn(&dyn Watch)) {
        let watchers = Rc::clone(&self.watchers.borrow());
        for watcher in &*watchers {
            if let Watcher::Requests(watch) = watcher {
                tell(&**watch);
            }
        }
    }

    /// Has all requests of the pool from now on seen.
    pub fn watch(&self, watch: Arc<dyn Watch>) -> Watching {
        let watching = self.pool.watch(watch);
        self.begin_batch();
        watching
    }

    /// Notes a large request or reply, unless there are enough that are larger. `name` tells its name and its number of
    /// keys.
    #[cold]
    pub fn note_big(
        &self,
        bytes: usize,
        server: &str,
        now: Instant,
        name: impl FnOnce() -> (BigName, usize),
    ) {
        if let Some(mut big) = self.lane.try_big()
            && bytes > big.turn(now)
        {
            let (name, keys) = name();
            big.note(name, bytes, keys, server);
        }
    }

    fn count(&self, hot: &mut HotKeys, now: Instant, keys: &VisitKeys<'_>) {
        let weight = hot.request(now);
        keys(&mut |key| hot.key(key, self.pool.hasher.hash_one(key), weight));
    }

    /// Draws the interval to the next sample.
    fn draw(&self) {
        let interval = self.random.borrow_mut().u32(1..2 * SAMPLE_OF);
        self.until_sample.set(interval);
    }

    fn arm(&self) {
        let is_watched = !self.watchers.borrow().is_empty();
        let next = if is_watched {
            1
        } else {
            self.until_sample.get()
        };
        self.set_to.set(next);
        self.countdown.set(next);
    }

    #[cold]
    fn adopt(&self) {
        self.seen.set(self.pool.changes());
        let watchers: Rc<[Watcher]> = self.pool.watchers().into();
        let mut all = watchers.iter();
        self.shows
            .set(all.any(|watcher| matches!(watcher, Watcher::Requests(_))));
        self.watchers.replace(watchers);
        // Requests that were counted already are not counted again.
        let counted = self.set_to.get().saturating_sub(self.countdown.get());
        let left = self.until_sample.get().saturating_sub(counted).max(1);
        self.until_sample.set(left);
        self.arm();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes so many requests for the key of each turn, and returns how many were looked at.
    fn pass(observer: &WorkerObserver, requests: u32, key: impl Fn(u32) -> String) -> u32 {
        let mut looked_at = 0;
        for request in 0..requests {
            observer.begin_batch();
            if observer.is_due() {
                looked_at += 1;
                let key = key(request);
                observer.look(Instant::now(), &|visit| visit(key.as_bytes()));
            }
        }
        looked_at
    }

    #[test]
    fn one_request_in_256_is_sampled() {
        let observer = WorkerObserver::new(Arc::default());
        let looked_at = pass(&observer, 640_000, |_| "k".to_owned());
        assert!((2_250..2_750).contains(&looked_at), "{looked_at}");
    }

    #[test]
    fn samples_do_not_beat_with_periodic_requests() {
        let pool = Arc::<PoolObservation>::default();
        let observer = WorkerObserver::new(Arc::clone(&pool));
        pass(&observer, 640_000, |request| {
            format!("k{}", request % 64 / 16)
        });
        let report = pool.hot_keys(10);
        assert_eq!(report.keys.len(), 4);
        for hot in report.keys {
            assert!((hot.share - 0.25).abs() < 0.04, "{hot:?}");
        }
    }

    #[test]
    fn every_request_is_counted_while_somebody_watches() {
        let pool = Arc::<PoolObservation>::default();
        let observer = WorkerObserver::new(Arc::clone(&pool));
        pass(&observer, 40, |_| "before".to_owned());
        let exact = pool.count_exactly();
        assert_eq!(
            pass(&observer, 1000, |request| format!("k{}", request % 2)),
            1000
        );
        let report = exact.report(10);
        let shares: Vec<_> = report.keys.iter().map(|hot| hot.share).collect();
        assert_eq!(shares, [0.5, 0.5]);
        drop(exact);
        assert!(pass(&observer, 6400, |_| "after".to_owned()) < 200);
        assert!(pool.watchers().is_empty());
    }

    #[test]
    fn request_that_is_offered_again_is_looked_at_once() {
        let observer = WorkerObserver::new(Arc::default());
        while !observer.is_due() {}
        observer.postpone();
        assert!(observer.is_due());
    }
}
