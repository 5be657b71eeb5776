//! The steps of a hold, as its coordinator does them.

use super::coordinator::{Of, number};
use super::omission::Omission;
use super::search::Actions;
use super::state::{CONNECTIONS, Decision, Intent, Phase, Route, Set, State, WORKERS};

/// Lists what a coordinator can do that has settled all, and has a hold, or will have one.
pub(super) fn actions(it: &Of<'_>, out: &mut Actions) {
    match it.me().phase {
        Phase::Choosing => it.chooses(out),
        Phase::ListedFirst => it.marks(usize::from(it.me().bucket), out),
        Phase::Marked => it.lists(out),
        Phase::Listed => it.fences(out),
        Phase::Fenced => it.reads_for_a_copy(out),
        Phase::Restoring if !it.is_connected_to_the_destination() => it.gives_up(out),
        Phase::Restored => it.compares(out),
        Phase::Synced => it.writes_the_intent(out),
        Phase::Intended => it.decides(out),
        Phase::Refused => it.removes_the_intent(out),
        _ => {}
    }
}

impl Of<'_> {
    fn source(&self) -> usize {
        usize::from(self.me().source)
    }

    /// The connections to a source that are open.
    fn open_connections(&self, source: usize) -> Set {
        (0..CONNECTIONS)
            .filter(|index| {
                let connection = self.state.connections[*index];
                connection.alive && usize::from(connection.source) == source
            })
            .fold(Set(0), Set::with)
    }

    /// Goes on with the next bucket that has not moved, or cleans up if there is none.
    fn chooses(&self, out: &mut Actions) {
        let moved = self.me().moved;
        let Some(bucket) = (0..self.model.shape.buckets).find(|bucket| !moved.has(*bucket)) else {
            out.push("has moved all", self.to(Phase::Cleaning));
            return;
        };
        if self.state.faults.holds == 0 {
            out.push("has no hold left", self.to(Phase::Finished));
        } else if self.model.omits(Omission::MarkBeforeList) {
            let mut state = self.to(Phase::ListedFirst);
            let me = &mut state.coordinators[self.index];
            me.source = number(self.model.shape.source_of(bucket));
            me.bucket = number(bucket);
            me.listed = self.open_connections(self.model.shape.source_of(bucket));
            out.push("lists the connections", state);
        } else {
            self.marks(bucket, out);
        }
    }

    /// Step 1, *mark*: a script writes the next hold, for the run id that the server has and that the mark is of.
    fn marks(&self, bucket: usize, out: &mut Actions) {
        let index = self.model.shape.source_of(bucket);
        let source = self.state.sources[index];
        let is_right = source.mark.armed
            && (source.mark.run == source.run
                || self.model.omits(Omission::RunInDecision)
                || self.model.omits(Omission::Renewal));
        let heard = self.is_heard_by(index) || self.model.omits(Omission::Upwards);
        if !heard || !is_right {
            self.gives_up(out);
            return;
        }
        let hold = self.next_hold(index);
        let mut state = self.to(Phase::Marked);
        state.faults.holds = state.faults.holds.saturating_sub(1);
        let me = &mut state.coordinators[self.index];
        me.source = number(index);
        me.bucket = number(bucket);
        me.hold = hold;
        if self.model.omits(Omission::Sync) {
            me.copy = source.data[bucket];
        }
        let mark = &mut state.sources[index].mark;
        mark.hold = hold;
        mark.buckets = Set::one(bucket);
        mark.decision = Decision::Open;
        out.push_with("marks its source with hold", hold, state);
    }

    /// Step 3, *fence*, first half.
    fn lists(&self, out: &mut Actions) {
        if !self.is_heard_by(self.source()) {
            self.gives_up(out);
            return;
        }
        let mut state = self.to(Phase::Listed);
        if !self.model.omits(Omission::MarkBeforeList) {
            state.coordinators[self.index].listed = self.open_connections(self.source());
        }
        out.push("lists the connections", state);
    }

    /// Step 3, *fence*, second half: whoever is not vouched for, and does not know the hold, is killed, or the hold ends.
    fn fences(&self, out: &mut Actions) {
        let source = self.source();
        if !self.is_heard_by(source) {
            self.gives_up(out);
            return;
        }
        let stray: Vec<usize> = (0..CONNECTIONS)
            .filter(|index| self.me().listed.has(*index) && self.is_stray(*index, source))
            .collect();
        if stray.is_empty() || self.model.omits(Omission::Kill) {
            let mut state = self.to(Phase::Fenced);
            state.coordinators[self.index].listed = Set(0);
            out.push("finds no stray connection", state);
            return;
        }
        let mut state = self.to(Phase::Fenced);
        state.coordinators[self.index].listed = Set(0);
        for index in stray {
            state.kill(index);
        }
        out.push("kills the stray connections", state);
        let mut state = self.to(Phase::Refused);
        state.coordinators[self.index].listed = Set(0);
        self.abort(&mut state);
        out.push("aborts because of stray connections", state);
    }

    fn abort(&self, state: &mut State) {
        let mark = &mut state.sources[self.source()].mark;
        if mark.hold == self.me().hold && mark.decision == Decision::Open {
            mark.decision = Decision::Abort;
        }
    }

    fn is_stray(&self, index: usize, source: usize) -> bool {
        let connection = self.state.connections[index];
        let hold = self.me().hold;
        if !connection.alive || connection.name >= hold {
            return false;
        }
        let proxy = self.model.shape.colleagues(usize::from(connection.worker));
        let mut workers = (0..WORKERS).filter(|worker| proxy.has(*worker));
        let has_drained = |worker: usize| self.state.workers[worker].drained[source] >= hold;
        if self.model.omits(Omission::AllWorkers) {
            let is_owned =
                |worker: usize| usize::from(self.state.workers[worker].connection[source]) == index;
            let mut again = workers.clone();
            return !(workers.any(has_drained) && again.any(is_owned));
        }
        let is_known = |worker: usize| {
            self.model.omits(Omission::KillTimedOut)
                || usize::from(self.state.workers[worker].vouched[source]) == index
        };
        let mut all = workers.clone();
        !(all.all(has_drained) && workers.any(is_known))
    }

    /// Step 4, *sync*: reads the keys of the bucket, and sends them to the destination.
    fn reads_for_a_copy(&self, out: &mut Actions) {
        let source = self.source();
        let is_connected = self.me().at_source[source] || self.model.omits(Omission::RunInDecision);
        if !is_connected || !self.is_connected_to_the_destination() {
            self.gives_up(out);
            return;
        }
        let mut state = self.to(Phase::Restoring);
        let me = &mut state.coordinators[self.index];
        if !self.model.omits(Omission::Sync) {
            me.copy = self.state.sources[source].data[usize::from(me.bucket)];
        }
        me.at_destination = true;
        out.push("reads the keys", state);
    }

    /// Step 4, *sync*: the change feed and two PINGs tell that nothing has changed since it was copied.
    fn compares(&self, out: &mut Actions) {
        let source = self.source();
        let is_connected = self.me().at_source[source] || self.model.omits(Omission::RunInDecision);
        if !is_connected || !self.is_connected_to_the_destination() {
            self.gives_up(out);
            return;
        }
        let now = self.state.sources[source].data[usize::from(self.me().bucket)];
        let is_clean = now == self.me().copy || self.model.omits(Omission::Sync);
        let (what, phase) = if is_clean {
            ("finds it clean", Phase::Synced)
        } else {
            ("finds it dirty", Phase::Fenced)
        };
        let mut state = self.to(phase);
        state.coordinators[self.index].copy = Set(0);
        out.push(what, state);
    }

    /// Step 5, *intent*.
    fn writes_the_intent(&self, out: &mut Actions) {
        if self.model.omits(Omission::Intent) {
            out.push("writes no intent", self.to(Phase::Intended));
        } else if self.is_heard_by_the_destination() {
            let mut state = self.to(Phase::Intended);
            let source = self.source();
            state.destination.intents[source] = Intent {
                hold: self.me().hold,
                buckets: Set::one(usize::from(self.me().bucket)),
                run: self.state.sources[source].mark.run,
            };
            out.push_with("writes the intent of hold", self.me().hold, state);
        } else {
            self.gives_up(out);
        }
    }

    /// Step 6, *decide*: one script, so that the hold, the first proposal and the run id are compared in one step.
    fn decides(&self, out: &mut Actions) {
        let index = self.source();
        if !self.is_heard_by(index) {
            self.gives_up(out);
            return;
        }
        let source = &self.state.sources[index];
        let is_open = source.mark.decision == Decision::Open
            || (self.model.omits(Omission::FirstProposal)
                && source.mark.decision == Decision::Abort);
        let is_mine = source.mark.armed && source.mark.hold == self.me().hold;
        let is_same_run = source.mark.run == source.run
            || self.model.omits(Omission::RunInDecision)
            || self.model.omits(Omission::Renewal);
        if !(is_mine && is_open && is_same_run) {
            out.push("is told that it may not commit", self.to(Phase::Refused));
            return;
        }
        let what = "commits";
        if let Some(why) = self.violation_of_a_commit() {
            out.violate(what, why);
        }
        let bucket = usize::from(self.me().bucket);
        let mut state = self.to(Phase::Committed);
        let mark = &mut state.sources[index].mark;
        mark.decision = Decision::Commit;
        mark.moved = mark.moved.with(bucket);
        let me = &mut state.coordinators[self.index];
        me.moved = me.moved.with(bucket);
        (me.hold, me.source, me.bucket) = (0, 0, 0);
        state.truth.committed = state.truth.committed.with(bucket);
        if self.model.omits(Omission::CopyBeforeRemoval) {
            state.destination.intents[index] = Intent::default();
        }
        out.push_with(what, self.me().hold, state);
    }

    fn violation_of_a_commit(&self) -> Option<&'static str> {
        let bucket = usize::from(self.me().bucket);
        let source = self.state.sources[self.source()].data[bucket];
        let destination = self.state.destination.data[bucket];
        if source != destination && !self.state.truth.excused.has(bucket) {
            return Some("I4: at the commit, the destination differs from the source");
        }
        let lets_go = |worker: &super::state::Worker| {
            worker.known[self.source()] >= self.me().hold && worker.routes[bucket] == Route::Before
        };
        if self.state.workers.iter().any(lets_go) {
            return Some("I5: a proxy that has let go is met by a commit");
        }
        None
    }

    /// Removes the intent of a hold that was aborted, before the next hold.
    fn removes_the_intent(&self, out: &mut Actions) {
        if !self.is_heard_by_the_destination() {
            self.gives_up(out);
            return;
        }
        let mut state = self.to(Phase::Choosing);
        state.destination.intents[self.source()] = Intent::default();
        let me = &mut state.coordinators[self.index];
        (me.hold, me.source, me.bucket) = (0, 0, 0);
        out.push("removes its intent", state);
    }
}
