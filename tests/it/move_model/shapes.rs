//! The shapes that are searched.

use super::invariants::STUCK;
use super::omission::Omission;
use super::shape::{Budget, Shape, Start};
use super::state::Faults;

const ABSENT: Budget = budget(0, 0, 0);

/// A worker with so many writes, timeouts and connections.
const fn budget(writes: u8, timeouts: u8, connects: u8) -> Budget {
    Budget {
        writes,
        timeouts,
        connects,
        starts: 0,
    }
}

/// One proxy and one coordinator; a bucket; no faults.
const PLAIN: Shape = Shape {
    name: "plain",
    buckets: 1,
    sources: 1,
    workers: [budget(1, 0, 2), ABSENT],
    one_proxy: false,
    start: Start::Armed,
    faults: holds(1),
};

const fn holds(holds: u8) -> Faults {
    Faults {
        holds,
        begins: 0,
        saves: 0,
        restarts: 0,
        rollbacks: 0,
        flushes: 0,
        wipes: 0,
    }
}

/// One proxy with all its faults, and two attempts.
const ALONE: Shape = Shape {
    name: "alone",
    workers: [budget(2, 1, 3), ABSENT],
    faults: holds(2),
    ..PLAIN
};

/// A proxy that times out, and a healthy one.
const PAIR: Shape = Shape {
    name: "pair",
    workers: [budget(1, 1, 1), budget(1, 0, 1)],
    ..PLAIN
};

/// Two workers of one proxy.
const COLLEAGUES: Shape = Shape {
    name: "colleagues",
    workers: [budget(1, 0, 1), budget(0, 0, 1)],
    one_proxy: true,
    ..PLAIN
};

/// A coordinator freezes anywhere, another begins, the first wakes.
const ZOMBIE: Shape = Shape {
    name: "zombie",
    faults: Faults {
        begins: 1,
        ..holds(2)
    },
    ..PLAIN
};

/// Two coordinators are started at once.
const TWICE: Shape = Shape {
    name: "twice",
    workers: [budget(1, 0, 1), ABSENT],
    start: Start::Twice,
    faults: holds(2),
    ..PLAIN
};

/// The source restarts, and keeps all.
const RESTART: Shape = Shape {
    name: "restart",
    faults: Faults {
        begins: 1,
        restarts: 1,
        ..holds(1)
    },
    ..PLAIN
};

/// The source restarts with what it had at some time since, or before, the move began.
const ROLLBACK: Shape = Shape {
    name: "rollback",
    faults: Faults {
        begins: 1,
        saves: 1,
        rollbacks: 1,
        ..holds(1)
    },
    ..PLAIN
};

/// The source restarts without a mark, and a proxy from an old file.
const OLD_FILE: Shape = Shape {
    name: "old file",
    workers: [
        Budget {
            starts: 1,
            ..budget(1, 0, 2)
        },
        ABSENT,
    ],
    faults: Faults {
        begins: 1,
        rollbacks: 1,
        ..holds(1)
    },
    ..PLAIN
};

/// The source is flushed.
const FLUSH: Shape = Shape {
    name: "flush",
    faults: Faults {
        begins: 1,
        flushes: 1,
        ..holds(1)
    },
    ..PLAIN
};

/// The destination restarts with nothing.
const WIPE: Shape = Shape {
    name: "wipe",
    faults: Faults {
        begins: 1,
        wipes: 1,
        ..holds(1)
    },
    ..PLAIN
};

/// Two buckets of one source, hold after hold.
const BUCKETS: Shape = Shape {
    name: "buckets",
    buckets: 2,
    faults: Faults {
        begins: 1,
        ..holds(2)
    },
    workers: [budget(1, 0, 1), ABSENT],
    ..PLAIN
};

/// Two buckets of one source, which is rolled back.
const BUCKETS_ROLLBACK: Shape = Shape {
    name: "buckets, rollback",
    buckets: 2,
    faults: Faults {
        begins: 1,
        rollbacks: 1,
        ..holds(2)
    },
    workers: [budget(1, 0, 1), ABSENT],
    ..PLAIN
};

/// Two sources with a bucket each.
const SOURCES: Shape = Shape {
    name: "sources",
    buckets: 2,
    sources: 2,
    workers: [budget(1, 0, 2), ABSENT],
    faults: holds(2),
    ..PLAIN
};

/// A move back, after an earlier one.
const AGAIN: Shape = Shape {
    name: "again",
    start: Start::Again,
    faults: holds(2),
    ..PLAIN
};

pub(super) const SLOW_PROXIES: [Shape; 3] = [ALONE, PAIR, COLLEAGUES];

pub(super) const SEVERAL_COORDINATORS: [Shape; 2] = [ZOMBIE, TWICE];

pub(super) const RESTARTED_SOURCES: [Shape; 3] = [RESTART, ROLLBACK, OLD_FILE];

pub(super) const LOST_MARKS: [Shape; 2] = [FLUSH, WIPE];

pub(super) const SEVERAL_BUCKETS: [Shape; 4] = [BUCKETS, BUCKETS_ROLLBACK, SOURCES, AGAIN];

/// Shapes with more of everything.
pub(super) const THOROUGH: [Shape; 13] = [
    Shape {
        workers: [budget(1, 1, 2), budget(1, 0, 2)],
        ..PAIR
    },
    Shape {
        workers: [budget(1, 1, 2), budget(1, 0, 2)],
        ..COLLEAGUES
    },
    begins(2, workers(budget(1, 1, 2), ZOMBIE)),
    begins(2, workers(budget(1, 0, 2), TWICE)),
    begins(
        2,
        workers(
            budget(1, 0, 3),
            Shape {
                faults: Faults {
                    holds: 2,
                    ..RESTART.faults
                },
                ..RESTART
            },
        ),
    ),
    begins(2, ROLLBACK),
    begins(
        2,
        workers(
            budget(1, 0, 1),
            Shape {
                name: "two restarts",
                faults: Faults {
                    restarts: 1,
                    ..ROLLBACK.faults
                },
                ..ROLLBACK
            },
        ),
    ),
    workers(
        Budget {
            starts: 1,
            ..budget(2, 1, 3)
        },
        OLD_FILE,
    ),
    begins(2, workers(budget(1, 0, 3), FLUSH)),
    begins(2, WIPE),
    workers(budget(2, 0, 2), BUCKETS),
    workers(
        budget(1, 0, 2),
        Shape {
            faults: Faults {
                saves: 1,
                ..BUCKETS_ROLLBACK.faults
            },
            ..BUCKETS_ROLLBACK
        },
    ),
    begins(1, SOURCES),
];

const fn workers(worker: Budget, shape: Shape) -> Shape {
    Shape {
        workers: [worker, ABSENT],
        ..shape
    }
}

const fn begins(begins: u8, shape: Shape) -> Shape {
    Shape {
        faults: Faults {
            begins,
            ..shape.faults
        },
        ..shape
    }
}

/// No worker takes part.
const fn unused(shape: Shape) -> Shape {
    Shape {
        workers: [ABSENT; 2],
        ..shape
    }
}

/// One connection, and one write.
const fn small(shape: Shape) -> Shape {
    Shape {
        workers: [budget(1, 0, 1), ABSENT],
        ..shape
    }
}

const fn unsaved(shape: Shape) -> Shape {
    Shape {
        faults: Faults {
            saves: 0,
            ..shape.faults
        },
        ..shape
    }
}

const LATE: Shape = Shape {
    name: "late write",
    workers: [budget(1, 1, 1), ABSENT],
    ..PLAIN
};

const RENUMBERED: Shape = Shape {
    name: "renumbered",
    workers: [budget(0, 0, 1), ABSENT],
    faults: Faults {
        begins: 1,
        rollbacks: 1,
        ..holds(3)
    },
    ..PLAIN
};

/// What goes wrong without each rule, in the smallest shape that shows it.
pub(super) const OMISSIONS: [(Omission, Shape, &str); 31] = [
    (Omission::Guard, PLAIN, "I4"),
    (Omission::Kill, LATE, "I4"),
    (Omission::MarkBeforeList, PLAIN, "I4"),
    (Omission::Drain, PLAIN, "I4"),
    (Omission::KillTimedOut, LATE, "I4"),
    (Omission::AllWorkers, COLLEAGUES, "I4"),
    (Omission::OwnName, COLLEAGUES, "I4"),
    (Omission::Sync, PLAIN, "I4"),
    (Omission::FirstProposal, PLAIN, "I5"),
    (Omission::Obedience, PLAIN, "I5"),
    (Omission::Term, unused(ZOMBIE), "I3"),
    (Omission::KillCoordinators, unused(ZOMBIE), "I3"),
    (Omission::NeverReconnect, unused(ZOMBIE), "I3"),
    (Omission::TermOnce, unused(TWICE), "I3"),
    (Omission::Upwards, small(ZOMBIE), STUCK),
    (Omission::NumberFromTerm, RENUMBERED, "I"),
    (Omission::NumbersContinue, small(AGAIN), "I5"),
    (Omission::MoveOfCopies, small(AGAIN), "I2"),
    (Omission::RunInDecision, small(ROLLBACK), "I5"),
    (Omission::RunInGreeting, small(ROLLBACK), "I1"),
    (Omission::MissingIsDoubt, small(OLD_FILE), "I1"),
    (Omission::LowerIsDoubt, small(ROLLBACK), "I1"),
    (Omission::NewsRead, PLAIN, "I"),
    (Omission::Intent, unsaved(small(ROLLBACK)), "I1"),
    (Omission::IntentBuckets, small(BUCKETS_ROLLBACK), "I"),
    (Omission::IntentCommits, unsaved(small(ROLLBACK)), "I1"),
    (Omission::IntentOnly, small(ZOMBIE), "I"),
    (Omission::Ask, small(FLUSH), "I"),
    (Omission::CopyBeforeRemoval, unsaved(small(ROLLBACK)), "I1"),
    (Omission::Copies, unsaved(small(ROLLBACK)), "I1"),
    (Omission::Renewal, small(RESTART), STUCK),
];
