//! The observation of one pool by all its workers, and its readers.

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::observe::big_keys::{self, Big, BigName};
use crate::observe::hot_keys::{self, HotKeys, HotKeysReport};
use crate::observe::lane::Lane;
use crate::observe::locks::lock;
use crate::observe::watch::Watch;

/// The number of keys that a worker counts for [`ExactCount`].
const EXACT_COUNTERS: usize = 8192;

/// What is observed of a pool, shared by its workers and its readers.
#[derive(Debug, Default)]
pub struct PoolObservation {
    /// Counts the changes of `watchers`. Workers compare it before each batch of requests.
    changes: AtomicU64,
    watchers: Mutex<Vec<Watcher>>,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Seeds the hashes of keys, for all workers alike.
    pub(super) hasher: RandomState,
}

/// Somebody who looks at each request for a time.
#[derive(Debug, Clone)]
pub(super) enum Watcher {
    Keys(Arc<KeysOfAll>),
    Requests(Arc<dyn Watch>),
}

/// The keys of all requests of a time, worker by worker.
#[derive(Debug)]
pub(super) struct KeysOfAll {
    lanes: Box<[Mutex<HotKeys>]>,
}

/// A count of the keys of all requests, until it is finished or dropped.
#[derive(Debug)]
pub struct ExactCount {
    pool: Arc<PoolObservation>,
    keys: Arc<KeysOfAll>,
}

/// The attention of a [`Watch`], until it is dropped.
#[derive(Debug)]
pub struct Watching {
    pool: Arc<PoolObservation>,
    watch: Arc<dyn Watch>,
}

impl PoolObservation {
    /// Adds a worker; returns its number and its lane.
    pub(super) fn join(&self, now: Instant) -> (usize, Arc<Lane>) {
        let lane = Arc::new(Lane::new(now));
        let mut lanes = lock(&self.lanes);
        lanes.push(Arc::clone(&lane));
        (lanes.len() - 1, lane)
    }

    /// Counts the changes of [`Self::watchers`].
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn watchers(&self) -> Vec<Watcher> {
        lock(&self.watchers).clone()
    }

    /// The hottest keys of about the last minute, from samples.
    pub fn hot_keys(&self, most: usize) -> HotKeysReport {
        let lanes = lock(&self.lanes).clone();
        let workers: Vec<_> = lanes.iter().map(|lane| lane.hot()).collect();
        hot_keys::merge(&workers, Instant::now(), most)
    }

    /// The largest requests and replies of the last minutes.
    pub fn big_keys(&self, most: usize) -> Vec<(BigName, Big)> {
        let lanes = lock(&self.lanes).clone();
        let workers = lanes.iter().map(|lane| lane.big()).collect();
        big_keys::merge(workers, Instant::now(), most)
    }

    /// Counts the keys of all requests from now on.
    pub fn count_exactly(self: &Arc<Self>) -> ExactCount {
        let (now, workers) = (Instant::now(), lock(&self.lanes).len());
        let lanes = (0..workers).map(|_| Mutex::new(HotKeys::exact(EXACT_COUNTERS, 1, now)));
        let keys = Arc::new(KeysOfAll {
            lanes: lanes.collect(),
        });
        self.change(|watchers| watchers.push(Watcher::Keys(Arc::clone(&keys))));
        ExactCount {
            pool: Arc::clone(self),
            keys,
        }
    }

    /// Has all requests from now on seen.
    pub fn watch(self: &Arc<Self>, watch: Arc<dyn Watch>) -> Watching {
        self.change(|watchers| watchers.push(Watcher::Requests(Arc::clone(&watch))));
        Watching {
            pool: Arc::clone(self),
            watch,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Watcher>)) {
        change(&mut lock(&self.watchers));
        self.changes.fetch_add(1, Ordering::Release);
    }
}

impl KeysOfAll {
    /// The counts of a worker, unless a reader copies them.
    pub(super) fn of(&self, worker: usize) -> Option<&Mutex<HotKeys>> {
        self.lanes.get(worker)
    }
}

impl ExactCount {
    /// The hottest keys so far.
    pub fn report(&self, most: usize) -> HotKeysReport {
        let workers: Vec<_> = self
            .keys
            .lanes
            .iter()
            .map(|lane| lock(lane).clone())
            .collect();
        hot_keys::merge(&workers, Instant::now(), most)
    }
}

impl Drop for ExactCount {
    fn drop(&mut self) {
        self.pool.change(|watchers| {
            watchers.retain(|watcher| match watcher {
                Watcher::Keys(keys) => !Arc::ptr_eq(keys, &self.keys),
                Watcher::Requests(_) => true,
            });
        });
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.pool.change(|watchers| {
            watchers.retain(|watcher| match watcher {
                Watcher::Requests(watch) => !Arc::ptr_eq(watch, &self.watch),
                Watcher::Keys(_) => true,
            });
        });
    }
}
