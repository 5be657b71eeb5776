//! What the servers and the coordinators have, and what really happened.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Decision {
    Abort,
    Open,
    Commit,
}

/// The source. Its data are the number of the last write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) data: u8,
    pub(super) term: u8,
    pub(super) hold: u8,
    pub(super) decision: Decision,
    /// That of the mark, and that of the process.
    pub(super) mark_run: u8,
    pub(super) run: u8,
    /// The mark has what makes its copies known as such.
    pub(super) labels: bool,
}

/// The server that takes its place.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Taker {
    pub(super) data: u8,
    pub(super) is_replica: bool,
    pub(super) is_synced: bool,
    /// It has a mark, which has its own run id.
    pub(super) has_mark: bool,
    pub(super) is_own: bool,
    pub(super) term: u8,
    pub(super) intent: Option<u8>,
    /// A copy of the commit.
    pub(super) knows_commit: bool,
    /// Its mark was copied from the source.
    pub(super) is_labelled: bool,
}

/// What a coordinator does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Connect,
    Raise,
    End,
    Look,
    Settle,
    Arm,
    Replicate,
    AwaitSync,
    Hold,
    Offset,
    Promote,
    Renew,
    Intend,
    Commit,
    Forget,
    Copy,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Coordinator {
    pub(super) step: Step,
    pub(super) term: u8,
    /// Its connections are open, to the source and to the taker.
    pub(super) open: [bool; 2],
    pub(super) hold: u8,
    /// The data of the source after the fence.
    pub(super) wanted: u8,
    /// What it has seen of the taker when it looked.
    pub(super) saw_replica: bool,
    pub(super) saw_committed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) source: Source,
    /// What the source would have after a restart from its snapshot.
    pub(super) saved: Source,
    pub(super) taker: Taker,
    pub(super) coordinators: [Coordinator; 2],
    /// The last write that was acknowledged, and not lost by the restart of a server.
    pub(super) acknowledged: u8,
    pub(super) writes: u8,
    /// A commit was decided, in whatever way.
    pub(super) is_committed: bool,
    pub(super) has_restarted: bool,
    /// The operator's own keys were at the taker.
    pub(super) had_keys: bool,
}

pub(super) const WRITES: u8 = 1;
pub(super) const HOLDS: u8 = 2;

impl State {
    pub(super) fn first(had_keys: bool) -> Self {
        let source = Source {
            data: 0,
            term: 0,
            hold: 0,
            decision: Decision::Abort,
            mark_run: 0,
            run: 0,
            labels: false,
        };
        let coordinator = Coordinator {
            step: Step::Connect,
            term: 0,
            open: [false; 2],
            hold: 0,
            wanted: 0,
            saw_replica: false,
            saw_committed: false,
        };
        Self {
            source,
            saved: source,
            taker: Taker {
                data: 0,
                is_replica: false,
                is_synced: false,
                has_mark: false,
                is_own: false,
                term: 0,
                intent: None,
                knows_commit: false,
                is_labelled: false,
            },
            coordinators: [coordinator; 2],
            acknowledged: 0,
            writes: 0,
            is_committed: false,
            has_restarted: false,
            had_keys,
        }
    }

    /// The keys are given away: the taker must have all that the source has. It may have what that has lost.
    pub(super) fn commit(&mut self) -> Result<(), &'static str> {
        if !self.is_committed && (self.taker.is_replica || self.taker.data < self.acknowledged) {
            return Err("the taker lacks writes at the commit");
        }
        self.is_committed = true;
        Ok(())
    }

    /// As the coordinator sees it: from the mark of the source, or a copy.
    pub(super) fn knows_commit(&self) -> bool {
        self.source.decision == Decision::Commit
            || !self.taker.is_replica && self.taker.knows_commit
    }
}
