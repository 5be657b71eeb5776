//! The state of the world: what the servers, the proxies and the coordinators know, and what really happened.
//!
//! There is no field for a frozen process: whatever takes no step for a while is frozen.

use super::omission::Omission;
use super::shape::{Model, Start};

/// The most buckets, sources, workers, coordinators and connections of a shape.
pub(super) const BUCKETS: usize = 2;
pub(super) const SOURCES: usize = 2;
pub(super) const WORKERS: usize = 2;
pub(super) const COORDINATORS: usize = 2;
pub(super) const CONNECTIONS: usize = 5;

/// The last hold of an earlier move.
const EARLIER_HOLD: u8 = 12;

/// No connection, or no run id.
pub(super) const NONE: u8 = u8::MAX;

/// A set of small numbers: buckets, writes, connections, servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Set(pub(super) u8);

impl Set {
    pub(super) const fn one(index: usize) -> Self {
        Self(1 << index)
    }

    pub(super) const fn has(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }

    pub(super) const fn with(self, index: usize) -> Self {
        self.union(Self::one(index))
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn first(self) -> usize {
        self.0.trailing_zeros() as usize
    }
}

/// What was decided of the last hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Decision {
    Open,
    Commit,
    Abort,
}

/// The mark of a source. One that is not armed has lost its fields, but may have been given a term since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) armed: bool,
    pub(super) term: u8,
    pub(super) hold: u8,
    pub(super) buckets: Set,
    pub(super) run: u8,
    pub(super) decision: Decision,
    /// `moved`: the committed buckets of this source.
    pub(super) moved: Set,
    /// `moved@NAME` of all other sources.
    pub(super) copies: Set,
}

impl Mark {
    pub(super) const MISSING: Self = Self {
        armed: false,
        term: 0,
        hold: 0,
        buckets: Set(0),
        run: 0,
        decision: Decision::Abort,
        moved: Set(0),
        copies: Set(0),
    };
}

/// What a server has on its disk, or its replica in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Saved {
    pub(super) mark: Mark,
    pub(super) data: [Set; BUCKETS],
}

impl Saved {
    /// What was saved before the move, and before all writes.
    pub(super) const OLD: Self = Self {
        mark: Mark::MISSING,
        data: [Set(0); BUCKETS],
    };
}

/// A source. The data of a bucket are the writes that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) run: u8,
    pub(super) mark: Mark,
    pub(super) data: [Set; BUCKETS],
    pub(super) saved: Saved,
}

/// `intent@NAME`; hold 0 if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Intent {
    pub(super) hold: u8,
    pub(super) buckets: Set,
    pub(super) run: u8,
}

/// The destination of all buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) term: u8,
    pub(super) intents: [Intent; SOURCES],
    pub(super) copies: Set,
    pub(super) data: [Set; BUCKETS],
}

/// A mark as a reply tells it, together with the run id of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) mark: Mark,
    pub(super) run: u8,
}

/// The handshake of a connection: its name is set before the mark is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Handshake {
    Asked,
    Answered(View),
    /// To be used while the mark has this run id.
    Ready(u8),
    /// The mark was missing, or lower than the proxy knew.
    Doubtful,
}

/// A connection to a source, which lives in the server longer than in the proxy that has abandoned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Connection {
    pub(super) alive: bool,
    pub(super) worker: u8,
    pub(super) source: u8,
    pub(super) name: u8,
    pub(super) handshake: Handshake,
    pub(super) writes: [Set; BUCKETS],
}

impl Connection {
    pub(super) const DEAD: Self = Self {
        alive: false,
        worker: 0,
        source: 0,
        name: 0,
        handshake: Handshake::Asked,
        writes: [Set(0); BUCKETS],
    };

    pub(super) fn is_idle(&self) -> bool {
        self.writes.iter().all(|writes| writes.is_empty())
    }
}

/// Where a worker sends the requests for a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Route {
    Before,
    Held,
    After,
}

/// A worker of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    /// The last hold that it knows, of each source.
    pub(super) known: [u8; SOURCES],
    /// The run id in the mark of each source, as far as it knows.
    pub(super) run: [u8; SOURCES],
    pub(super) routes: [Route; BUCKETS],
    pub(super) connection: [u8; SOURCES],
    /// The last hold for which it has drained, and the connection that it vouched for.
    pub(super) drained: [u8; SOURCES],
    pub(super) vouched: [u8; SOURCES],
    pub(super) writes: u8,
    pub(super) timeouts: u8,
    pub(super) connects: u8,
    pub(super) starts: u8,
}

/// Where a coordinator is. A step is done when its reply is read, so each phase is also where it may freeze or die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Absent,
    Started,
    Raising(Set),
    Settling(u8),
    /// Has commits, which are copied to the other marks.
    Committed,
    Copied,
    Choosing,
    ListedFirst,
    Marked,
    Listed,
    Fenced,
    Restoring,
    Restored,
    Synced,
    Intended,
    Refused,
    Cleaning,
    Finished,
    /// Waits for an operator: the source has lost its mark without a restart, and it is not known what was decided.
    Asking,
    Gone,
}

/// A coordinator, or what is left of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Coordinator {
    pub(super) phase: Phase,
    pub(super) term: u8,
    /// Its last hold, with the source and the bucket.
    pub(super) hold: u8,
    pub(super) source: u8,
    pub(super) bucket: u8,
    pub(super) listed: Set,
    pub(super) copy: Set,
    pub(super) moved: Set,
    /// Whether its connections to the sources and to the destination are open.
    pub(super) at_source: [bool; SOURCES],
    pub(super) at_destination: bool,
}

impl Coordinator {
    /// One without connections.
    pub(super) const fn in_phase(phase: Phase) -> Self {
        Self {
            phase,
            term: 0,
            hold: 0,
            source: 0,
            bucket: 0,
            listed: Set(0),
            copy: Set(0),
            moved: Set(0),
            at_source: [false; SOURCES],
            at_destination: false,
        }
    }

    /// One whose connections are all open, with its term in their names.
    pub(super) const fn connected(term: u8, phase: Phase) -> Self {
        Self {
            term,
            at_source: [true; SOURCES],
            at_destination: true,
            ..Self::in_phase(phase)
        }
    }
}

/// The faults that may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    pub(super) holds: u8,
    pub(super) begins: u8,
    pub(super) saves: u8,
    pub(super) restarts: u8,
    pub(super) rollbacks: u8,
    pub(super) flushes: u8,
    pub(super) wipes: u8,
}

/// What happened, whoever knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Truth {
    pub(super) committed: Set,
    /// The writes that were acknowledged, without those that a server has lost by itself.
    pub(super) acknowledged: [Set; BUCKETS],
    /// Buckets of which the destination has lost copies between an intent and its commit.
    pub(super) excused: Set,
}

/// The state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) sources: [Source; SOURCES],
    pub(super) destination: Destination,
    pub(super) connections: [Connection; CONNECTIONS],
    pub(super) workers: [Worker; WORKERS],
    pub(super) coordinators: [Coordinator; COORDINATORS],
    pub(super) faults: Faults,
    pub(super) truth: Truth,
}

impl State {
    /// The start: the move is armed, the first coordinator has its term everywhere, and nothing is held.
    pub(super) fn first(model: &Model) -> Self {
        let shape = &model.shape;
        let is_again = shape.start == Start::Again;
        let known = if is_again { EARLIER_HOLD } else { 0 };
        let hold = if model.omits(Omission::NumbersContinue) {
            0
        } else {
            known
        };
        let copies = if is_again && model.omits(Omission::MoveOfCopies) {
            Set::one(0)
        } else {
            Set(0)
        };
        let coordinators = match shape.start {
            Start::Armed | Start::Again => [
                Coordinator::connected(1, Phase::Choosing),
                Coordinator::in_phase(Phase::Absent),
            ],
            Start::Twice => [Coordinator::in_phase(Phase::Started); COORDINATORS],
        };
        let data = [Set(0); BUCKETS];
        let source = Source {
            run: 0,
            mark: Mark {
                armed: true,
                term: 1,
                hold,
                ..Mark::MISSING
            },
            data,
            saved: Saved::OLD,
        };
        Self {
            sources: [source; SOURCES],
            destination: Destination {
                term: 1,
                copies,
                ..Destination::default()
            },
            connections: [Connection::DEAD; CONNECTIONS],
            workers: shape.workers.map(|budget| Worker {
                known: [known; SOURCES],
                run: [0; SOURCES],
                routes: [Route::Before; BUCKETS],
                connection: [NONE; SOURCES],
                drained: [0; SOURCES],
                vouched: [NONE; SOURCES],
                writes: budget.writes,
                timeouts: budget.timeouts,
                connects: budget.connects,
                starts: budget.starts,
            }),
            coordinators,
            faults: shape.faults,
            truth: Truth::default(),
        }
    }

    /// The mark of a source as a reply tells it now, as far as proxies read it.
    pub(super) fn view(&self, source: usize) -> View {
        let Source { mut mark, run, .. } = self.sources[source];
        mark.term = 0;
        mark.copies = Set(0);
        View { mark, run }
    }

    /// Closes a connection; what it had in flight is never executed, and its proxy sees that at once.
    ///
    /// Ids are never used again, so who has noted the id of a dead connection forgets it here.
    pub(super) fn kill(&mut self, connection: usize) {
        let source = usize::from(self.connections[connection].source);
        self.connections[connection] = Connection::DEAD;
        for worker in &mut self.workers {
            for id in [&mut worker.connection[source], &mut worker.vouched[source]] {
                if usize::from(*id) == connection {
                    *id = NONE;
                }
            }
        }
        for coordinator in &mut self.coordinators {
            if usize::from(coordinator.source) == source {
                coordinator.listed = coordinator.listed.minus(Set::one(connection));
            }
        }
    }
}
