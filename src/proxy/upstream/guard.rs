//! The guard of a server's connections in a pool whose keys may be moved while clients work.
//!
//! ```text
//! connect, handshake --> name, id, mark, run id --> the worker knows all of it: the connection is used
//!                                            +----> it is news: told to the store; another connection, once adopted
//! ```
//!
//! Invariant: over a connection goes no request that was routed by a worker which knew less of the keys that move away from
//! its server than the mark said when the connection was opened (ADR 17).

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::PoolConfig;
use crate::topology::{Mark, Marked, PoolServer, SeenMark, SourceState, State, Topology};

/// The time for which requests for keys that are being moved wait. A hold takes milliseconds; after a restart of their server
/// they wait for the coordinator.
pub(crate) const HELD_WITHIN: Duration = Duration::from_secs(10);

/// The guard of the connections of one worker to one server.
#[derive(Debug)]
pub(crate) struct Guard {
    mark_key: String,
    /// The pool, for names of connections.
    pool: String,
    /// As in the topology that the worker has adopted.
    adopted: RefCell<Known>,
    /// When requests began to wait.
    held_since: Cell<Option<Instant>>,
    /// Counts the changes of `adopted`.
    changes: Cell<u64>,
    /// The last change.
    news_at: Cell<Option<Instant>>,
}

/// What a worker knows of the keys that move away from a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    /// The last move of the pool.
    marked: Option<Marked>,
    /// None if no keys are being moved.
    source: Option<SourceState>,
}

/// What the adoption of a topology means for the connections to a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adopted {
    /// What is queued and not sent was routed by a worker that knew less.
    pub(crate) is_news: bool,
    /// A new hold, in which the worker vouches for its connections.
    pub(crate) hold: Option<u64>,
}

impl Guard {
    /// The guard of a server of this pool; none if the pool needs none.
    pub(crate) fn of(config: &PoolConfig) -> Option<Self> {
        config.placement_guard.then(|| Self {
            mark_key: Mark::key(&config.name, config.redis_db),
            pool: Mark::pool_in_names(&config.name, config.redis_db),
            adopted: RefCell::default(),
            held_since: Cell::default(),
            changes: Cell::default(),
            news_at: Cell::default(),
        })
    }

    /// Adopts what a topology says of a server.
    pub(crate) fn adopt(&self, server: &PoolServer, topology: &Topology, now: Instant) -> Adopted {
        let new = Known::of(server, topology);
        let holds = |state: &SourceState| state.is_in_doubt || !state.held.is_empty();
        let is_held = new.source.as_ref().is_some_and(holds);
        let hold = new.source.is_some().then(|| new.hold());
        let old = self.adopted.replace(new);
        let hold = hold.filter(|hold| old.source.is_none() || *hold != old.hold());
        // Holds that follow each other are not one long one.
        let since = self.held_since.get().filter(|_| hold.is_none());
        self.held_since.set(is_held.then(|| since.unwrap_or(now)));
        let is_news = old != *self.adopted.borrow();
        if is_news {
            self.changes.set(self.changes.get() + 1);
            self.news_at.set(Some(now));
        }
        Adopted { is_news, hold }
    }

    /// Counts how often the worker has learnt more.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// When the worker has learnt more: what it queued before was routed by what it knew before.
    pub(crate) fn news_at(&self) -> Option<Instant> {
        self.news_at.get()
    }

    /// What the worker knows by now.
    pub(crate) fn known(&self) -> Known {
        self.adopted.borrow().clone()
    }

    /// The key of the mark.
    pub(crate) fn mark_key(&self) -> &str {
        &self.mark_key
    }

    /// The name of a connection over which requests go that were routed by what the worker knows.
    pub(crate) fn name(&self, proxy: &str, known: &Known) -> String {
        format!("rr/{}/{proxy}/{}", self.pool, known.hold())
    }

    /// The name of a connection over which no requests for keys go.
    pub(crate) fn other_name(&self, proxy: &str) -> String {
        format!("rr-other/{}/{proxy}", self.pool)
    }

    /// Returns true if requests have waited for too long.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        let since = self.held_since.get();
        since.is_some_and(|since| now.saturating_duration_since(since) >= HELD_WITHIN)
    }
}

impl Known {
    fn of(server: &PoolServer, topology: &Topology) -> Self {
        let moving = topology.moving.as_ref();
        let source = moving.map(|moving| {
            let called = moving.called(&server.name, &server.place);
            moving.source(&called)
        });
        Self {
            marked: topology.marked.clone(),
            source,
        }
    }

    /// The number of the last hold at the server.
    pub(crate) fn hold(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.hold)
    }

    /// Returns true if requests that were routed by this may be sent to a server with this mark.
    pub(crate) fn agrees_with(&self, seen: &SeenMark) -> bool {
        let Some(mark) = seen.mark.as_deref() else {
            let source = self.source.as_ref();
            return source.is_none_or(|source| source.is_in_doubt);
        };
        let Some(marked) = &self.marked else {
            return false;
        };
        match &self.source {
            // No requests for keys that move are sent to it, whatever its mark says.
            Some(source) if source.is_in_doubt => mark.term <= marked.term,
            Some(_) => {
                mark.move_id == marked.move_id
                    && mark.state == State::Armed
                    && mark.hold == self.hold()
                    && mark.run_id == seen.run_id
            }
            None => {
                let is_ended = mark.state == marked.state || marked.state != State::Armed;
                mark.move_id == marked.move_id && is_ended || mark.term < marked.term
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::topology::{BucketSet, MoveState, Placement};

    fn config() -> Arc<PoolConfig> {
        let yaml = "p: {listen: 127.0.0.1:1, redis: true, placement_guard: true, servers: ['127.0.0.1:2:1 s']}";
        Arc::new(Config::parse(yaml, "F").unwrap().pools.remove(0))
    }

    fn server() -> PoolServer {
        PoolServer::new("s".to_owned(), "127.0.0.1:2".parse().unwrap())
    }

    /// A topology with a hold of this number at the server `s`.
    fn topology(hold: u64, buckets: BucketSet) -> Topology {
        let config = config();
        let placement = Arc::new(Placement::of(&config));
        let source = SourceState {
            hold,
            held: buckets,
            ..SourceState::default()
        };
        let mut topology = Topology::empty(config);
        topology.moving = Some(Arc::new(MoveState {
            id: "m".to_owned(),
            term: 1,
            before: Arc::clone(&placement),
            after: placement,
            sources: BTreeMap::from([("s".to_owned(), source)]),
        }));
        topology
    }

    #[test]
    fn holds_in_a_row_are_not_one_long_hold() {
        let guard = Guard::of(&config()).unwrap();
        let start = Instant::now();
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            guard.adopt(&server(), &topology(second, BucketSet::ALL), now);
            assert!(!guard.is_overdue(now));
        }
        let last = start + Duration::from_secs(59);
        guard.adopt(&server(), &topology(59, BucketSet::ALL), last + HELD_WITHIN);
        assert!(guard.is_overdue(last + HELD_WITHIN));
        guard.adopt(
            &server(),
            &topology(59, BucketSet::EMPTY),
            last + HELD_WITHIN,
        );
        assert!(!guard.is_overdue(last + HELD_WITHIN));
    }

    #[test]
    fn each_new_hold_is_told_once() {
        let guard = Guard::of(&config()).unwrap();
        let now = Instant::now();
        for (hold, expected) in [(1, Some(1)), (1, None), (2, Some(2))] {
            let adopted = guard.adopt(&server(), &topology(hold, BucketSet::ALL), now);
            assert_eq!(
                (adopted.hold, adopted.is_news),
                (expected, expected.is_some())
            );
        }
        let changes = guard.changes();
        guard.adopt(&server(), &Topology::empty(config()), now);
        assert_eq!(guard.changes(), changes + 1);
    }
}
