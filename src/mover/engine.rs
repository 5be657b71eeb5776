//! The mover of one source.

mod leftovers;
mod stale;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mover::copier::{Copier, DatabasePair, Tally, Todo};
use crate::mover::destination::Destination;
use crate::mover::dirty::{Cause, DirtyKey, DirtySet};
use crate::mover::endpoint::Endpoint;
use crate::mover::engine::stale::Stale;
use crate::mover::error::MoverError;
use crate::mover::feed::Feed;
use crate::mover::pace::Limits;
use crate::mover::scan::Scan;
use crate::redis_client::Info;
use crate::topology::is_mark;

pub use stale::GivenAway;

/// During a scan, changed keys are copied when there are so many: a key that changes often is copied once for many
/// changes.
const DIRTY_KEYS: usize = 10_000;
/// The shortest time between two rounds over the changed keys, for the same reason.
const ROUND: Duration = Duration::from_millis(10);

/// How often the feeds are read while keys are copied.
const LISTEN_EVERY: Duration = Duration::from_millis(100);

/// The destination of a key, by its position among the plan's; `None` if this source does not have to give it away.
pub type Placement = Arc<dyn Fn(&[u8]) -> Option<usize> + Send + Sync>;

/// What is to be copied, and how.
pub struct Plan {
    /// The source.
    pub source: Endpoint,
    /// The destinations.
    pub destinations: Vec<Endpoint>,
    /// The databases. All keys that change are copied in each of them that is not empty: the feed does not say which one
    /// it was in.
    pub databases: Vec<DatabasePair>,
    /// The destination of each key.
    pub placement: Placement,
    /// The keys that have been given away. Who writes one at the source is counted.
    pub given_away: Option<GivenAway>,
    /// The name of all connections in the servers' `CLIENT LIST`; no blanks.
    pub client_name: String,
    /// The channel to which the connections with a feed subscribe, for the class that this gives them. Messages on it are
    /// ignored.
    pub channel: Vec<u8>,
    /// The limits at the source.
    pub limits: Limits,
    /// The destinations have keys of their own: what somebody else changes there, and the source does not have, is left
    /// alone. Otherwise it is unlinked, as it is no copy.
    pub keeps_others: bool,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("source", &self.source)
            .field("destinations", &self.destinations)
            .finish_non_exhaustive()
    }
}

/// How far a mover is.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    /// What has been copied.
    pub tally: Tally,
    /// Keys that the scan has found, with those that do not move.
    pub scanned: u64,
    /// Those of them that have a destination.
    pub placed: u64,
    /// The scan is complete.
    pub is_scanned: bool,
    /// Keys that have changed and are to be copied again.
    pub backlog: usize,
    /// All changes up to this time have been copied, except those that are not told.
    pub equal_at: Option<Instant>,
    /// Keys whose changes are not all told.
    pub untold: usize,
    /// The latency of the source, measured by a PING.
    pub latency: Duration,
    /// The copies make pauses, since the latency has risen.
    pub is_slowed: bool,
    /// Keys that were written at the source after they had been given away.
    pub stale: u64,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It has copied a page of the scan.
    Scanned,
    /// It has copied keys that have changed.
    Copied,
    /// Nothing is to be copied: all changes that were made before this step began are at the destinations.
    Equal,
    /// It has waited.
    Waited,
}

/// The result of [`Mover::sync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// The number of copies.
    pub copied: u64,
    /// The number of wanted keys that have changed once more; if none, source and destinations are equal.
    pub left: usize,
}

/// Copies the keys of one source to its destinations, and keeps them equal.
pub struct Mover {
    feed: Feed,
    copier: Copier,
    scan: Scan,
    dirty: DirtySet,
    /// Taken from `dirty` in this round.
    round: Vec<DirtyKey>,
    /// When the changes of this round were taken.
    round_at: Instant,
    databases: Vec<DatabasePair>,
    placement: Placement,
    scanned: u64,
    /// What the scan has found, by the position of the destination.
    placed: Vec<u64>,
    equal_at: Option<Instant>,
    stale: Stale,
}

impl fmt::Debug for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mover")
            .field("source", self.feed.at())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Mover {
    /// Connects to all servers. From now on, no change is missed.
    pub fn open(plan: Plan) -> Result<Self, MoverError> {
        let (name, channel) = (plan.client_name.as_str(), plan.channel.as_slice());
        let destinations: Result<Vec<_>, _> = plan
            .destinations
            .into_iter()
            .map(|at| Destination::open(at, name, channel))
            .collect();
        let destinations = destinations?;
        let feed = Feed::of_source(plan.source.clone(), name, channel)?;
        let info = feed.info();
        let copier = Copier::open(
            plan.source,
            info,
            destinations,
            name,
            plan.limits,
            plan.keeps_others,
        )?;
        let now = Instant::now();
        let placed = vec![0; copier.destinations.len()];
        Ok(Self {
            scan: Scan::new(
                plan.databases.iter().map(|pair| pair.source),
                copier.pace.page_keys(),
            ),
            feed,
            copier,
            dirty: DirtySet::default(),
            round: Vec::new(),
            round_at: now,
            databases: plan.databases,
            placement: plan.placement,
            scanned: 0,
            placed,
            equal_at: None,
            stale: Stale::of(plan.given_away),
        })
    }

    /// What the source said about itself when the feed was opened.
    #[must_use]
    pub fn source_info(&self) -> &Info {
        self.feed.info()
    }

    /// Tries whether all destinations load what the source dumps, with one of its keys under a name of its own. Does
    /// nothing if the source has no keys. Types that a destination does not know show only when they are copied.
    pub fn try_formats(&mut self) -> Result<(), MoverError> {
        self.copier.try_formats(&self.databases)
    }

    /// Does one piece of work: a page of the scan, or as many changed keys. If there is nothing to do, waits for changes,
    /// at most that long.
    pub fn step(&mut self, wait: Duration) -> Result<Step, MoverError> {
        self.listen()?;
        let is_scanned = self.scan.is_finished();
        if self.round.is_empty() && !is_scanned && self.dirty.len() < DIRTY_KEYS {
            return self.scan_page();
        }
        if self.round.is_empty() {
            let next = self.round_at + ROUND;
            let now = Instant::now();
            if is_scanned && now < next {
                let until = next.min(now + wait);
                std::thread::sleep(until.saturating_duration_since(now));
                return Ok(Step::Waited);
            }
            self.round_at = now;
            self.settle()?;
            self.round = self.dirty.take();
            if self.round.is_empty() {
                self.equal_at = Some(now);
                self.hear_source(|feed, is_ours, dirty| feed.wait(now + wait, is_ours, dirty))?;
                return Ok(Step::Equal);
            }
        }
        self.copy_round()?;
        if self.round.is_empty() && is_scanned {
            self.equal_at = Some(self.round_at);
        }
        Ok(Step::Copied)
    }

    /// Copies all wanted keys that have changed, or may have, until none has or until `deadline`. The caller sees to it that
    /// clients write none of them; what expires or is evicted in between is copied once more.
    ///
    /// Keys whose changes are not told are copied once in any case. A scan that is not complete is completed first, however
    /// long that takes ([`State::is_scanned`] tells). After an error nothing is forgotten: it may be called again.
    pub fn sync(
        &mut self,
        wanted: &dyn Fn(&[u8]) -> bool,
        deadline: Instant,
    ) -> Result<Synced, MoverError> {
        while !self.scan.is_finished() {
            self.scan_page()?;
        }
        let before = self.copier.tally;
        self.copy_untold(wanted)?;
        let mut pass = 0_u64;
        loop {
            self.settle()?;
            let mut keys = self.dirty.take_where(wanted);
            keys.extend(self.round.extract_if(.., |dirty| wanted(&dirty.key)));
            let left = keys.len();
            let tally = self.copier.tally;
            let copied = tally.copied + tally.deleted - before.copied - before.deleted;
            if left == 0 {
                return Ok(Synced { copied, left });
            }
            if pass > 0 && Instant::now() >= deadline {
                self.put_back(keys);
                return Ok(Synced { copied, left });
            }
            while !keys.is_empty() {
                if let Err(error) = self.copy_dirty(&mut keys) {
                    self.put_back(keys);
                    return Err(error);
                }
            }
            pass += 1;
        }
    }

    /// As [`Self::sync`], as fast as the servers answer: clients wait for it.
    pub fn sync_at_once(
        &mut self,
        wanted: &dyn Fn(&[u8]) -> bool,
        deadline: Instant,
    ) -> Result<Synced, MoverError> {
        self.copier.pace.set_urgent(true);
        let synced = self.sync(wanted, deadline);
        self.copier.pace.set_urgent(false);
        synced
    }

    /// Copies all keys once more whose changes the feed does not tell: for callers that follow for long.
    pub fn copy_all_untold(&mut self) -> Result<(), MoverError> {
        self.copy_untold(&|_| true)
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            tally: self.copier.tally,
            scanned: self.scanned,
            placed: self.placed.iter().sum(),
            is_scanned: self.scan.is_finished(),
            backlog: self.dirty.len() + self.round.len(),
            equal_at: self.equal_at,
            untold: self.copier.untold_len(),
            latency: self.copier.pace.latency(),
            is_slowed: self.copier.pace.is_slowed(),
            stale: self.stale.count(),
        }
    }

    /// The keys that the scan has found, by the position of their destination.
    #[must_use]
    pub fn placed(&self) -> &[u64] {
        &self.placed
    }

    /// The last one of those that [`State::stale`] counts.
    #[must_use]
    pub fn stale_key(&self) -> Option<&[u8]> {
        self.stale.last()
    }

    /// Copies nothing, and hears what changes, for that long.
    pub fn follow(&mut self, wait: Duration) -> Result<(), MoverError> {
        let until = Instant::now() + wait;
        self.listen()?;
        self.hear_source(|feed, is_ours, dirty| feed.wait(until, is_ours, dirty))?;
        // Keys that change all the time end no pause early.
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// Marks what has been told so far, by the source and by the destinations.
    fn listen(&mut self) -> Result<(), MoverError> {
        self.hear(|feed, is_ours, dirty| feed.poll(is_ours, dirty))
    }

    /// Marks all that has changed before this call.
    fn settle(&mut self) -> Result<(), MoverError> {
        self.hear(|feed, is_ours, dirty| feed.settle(is_ours, dirty))
    }

    fn hear(
        &mut self,
        mut hear: impl FnMut(&mut Feed, &dyn Fn(&[u8]) -> bool, &mut DirtySet) -> Result<(), MoverError>,
    ) -> Result<(), MoverError> {
        self.hear_source(&mut hear)?;
        let placement = &self.placement;
        for (to, destination) in self.copier.destinations.iter_mut().enumerate() {
            // Another source's copies are told too.
            let is_ours = |key: &[u8]| !is_mark(key) && placement(key) == Some(to);
            hear(&mut destination.feed, &is_ours, &mut self.dirty)?;
        }
        Ok(())
    }

    fn hear_source(
        &mut self,
        hear: impl FnOnce(&mut Feed, &dyn Fn(&[u8]) -> bool, &mut DirtySet) -> Result<(), MoverError>,
    ) -> Result<(), MoverError> {
        let (placement, stale) = (&self.placement, &self.stale);
        let moves = |key: &[u8]| {
            if is_mark(key) {
                return false;
            }
            let moves = placement(key).is_some();
            if !moves {
                stale.suspect(key);
            }
            moves
        };
        hear(&mut self.feed, &moves, &mut self.dirty)?;
        self.stale.look(&mut self.copier.source, &self.databases)
    }

    /// Copies the next page of the scan.
    fn scan_page(&mut self) -> Result<Step, MoverError> {
        let source = &mut self.copier.source;
        let page = self.scan.next(&mut source.connection);
        let page = page.map_err(|error| source.fault(error))?;
        let Some((database, keys)) = page else {
            return Ok(Step::Waited);
        };
        self.scanned += keys.len() as u64;
        let pair = self.databases.iter().find(|pair| pair.source == database);
        let Some(&pair) = pair else {
            return Ok(Step::Scanned);
        };
        let todo = keys.iter().filter_map(|key| self.todo(key, Cause::Source));
        let mut todo: Vec<_> = todo.collect();
        for todo in &todo {
            if let Some(placed) = self.placed.get_mut(todo.to) {
                *placed += 1;
            }
        }
        if let Err(error) = self.copy_todo(pair, &mut todo) {
            for todo in todo {
                self.dirty.add(&todo.key, Cause::Source);
            }
            return Err(error);
        }
        Ok(Step::Scanned)
    }

    fn todo(&self, key: &[u8], cause: Cause) -> Option<Todo> {
        let to = (self.placement)(key)?;
        Some(Todo {
            key: key.into(),
            to,
            cause,
        })
    }

    /// Copies keys of one database. Large ones take their time: the feeds are read in between, before they are cut.
    fn copy_todo(&mut self, pair: DatabasePair, todo: &mut Vec<Todo>) -> Result<(), MoverError> {
        while !todo.is_empty() {
            self.copier
                .copy(pair, todo, Instant::now() + LISTEN_EVERY)?;
            if !todo.is_empty() {
                self.listen()?;
            }
        }
        Ok(())
    }

    fn copy_round(&mut self) -> Result<(), MoverError> {
        let mut keys = std::mem::take(&mut self.round);
        let copied = self.copy_dirty(&mut keys);
        self.round = keys;
        copied
    }

    /// Copies as many changed keys as a page has, in all databases that have been used. Those that are left stay in `keys`.
    fn copy_dirty(&mut self, keys: &mut Vec<DirtyKey>) -> Result<(), MoverError> {
        let page_keys = self.copier.pace.page_keys() as usize;
        let first = keys.len().saturating_sub(page_keys);
        let used = |pair: &&DatabasePair| self.feed.is_used(pair.source);
        let used: Vec<_> = self.databases.iter().filter(used).copied().collect();
        for pair in used {
            let page = keys.get(first..).unwrap_or_default();
            let todo = page
                .iter()
                .filter_map(|dirty| self.todo(&dirty.key, dirty.cause));
            let mut todo: Vec<_> = todo.collect();
            self.copy_todo(pair, &mut todo)?;
        }
        keys.truncate(first);
        Ok(())
    }

    fn copy_untold(&mut self, wanted: &dyn Fn(&[u8]) -> bool) -> Result<(), MoverError> {
        for pair in self.databases.clone() {
            let keys = self.copier.untold(pair.source).filter(|key| wanted(key));
            let todo = keys.filter_map(|key| self.todo(key, Cause::Source));
            let mut todo: Vec<_> = todo.collect();
            self.copy_todo(pair, &mut todo)?;
        }
        Ok(())
    }

    fn put_back(&mut self, keys: Vec<DirtyKey>) {
        for dirty in keys {
            self.dirty.add(&dirty.key, dirty.cause);
        }
    }
}
