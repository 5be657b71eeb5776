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
use crate::topology::{Mark, Marked, SeenMark, SourceState, State, Topology};

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
        })
    }

    /// Adopts what a topology says of a server.
    pub(crate) fn adopt(&self, server: &str, topology: &Topology, now: Instant) -> Adopted {
        let new = Known::of(server, topology);
        let holds = |state: &SourceState| state.is_in_doubt || !state.held.is_empty();
        let is_held = new.source.as_ref().is_some_and(holds);
        let since = self.held_since.get().filter(|_| is_held);
        self.held_since.set(is_held.then(|| since.unwrap_or(now)));
        let hold = new.source.is_some().then(|| new.hold());
        let old = self.adopted.replace(new);
        Adopted {
            is_news: old != *self.adopted.borrow(),
            hold: hold.filter(|hold| old.source.is_none() || *hold != old.hold()),
        }
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
    fn of(server: &str, topology: &Topology) -> Self {
        let moving = topology.moving.as_ref();
        Self {
            marked: topology.marked.clone(),
            source: moving.map(|moving| moving.source(server)),
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
