//! The actions of the coordinators: from the term to the end. `hold` has the steps of a hold.

use super::hold;
use super::omission::Omission;
use super::search::Actions;
use super::shape::Model;
use super::state::{
    COORDINATORS, Coordinator, Decision, Intent, Phase, SOURCES, Set, Source, State,
};

/// How many holds have numbers of one term: the number of a hold begins with the term of its coordinator.
const HOLDS_PER_TERM: u8 = 8;

/// The destination among the servers that get the term and the commits; the sources have their own numbers.
const DESTINATION: usize = SOURCES;

/// Lists what each coordinator can do.
pub(super) fn actions(model: &Model, state: &State, out: &mut Actions) {
    for index in 0..COORDINATORS {
        let it = Of {
            model,
            state,
            index,
        };
        out.of("coordinator", index);
        match it.me().phase {
            Phase::Absent => it.starts(out),
            Phase::Started => it.reads_the_terms(out),
            Phase::Raising(raised) => it.raises_the_term(raised, out),
            Phase::Settling(source) => it.settles(usize::from(source), out),
            Phase::Committed => it.copies_to_the_destination(out),
            Phase::Copied => it.copies_to_the_sources(out),
            Phase::Cleaning => it.cleans(out),
            Phase::Finished => it.watches(out),
            Phase::Asking | Phase::Gone => {}
            _ => hold::actions(&it, out),
        }
    }
}

/// One coordinator in one state.
#[derive(Debug)]
pub(super) struct Of<'a> {
    pub(super) model: &'a Model,
    pub(super) state: &'a State,
    pub(super) index: usize,
}

impl Of<'_> {
    pub(super) fn me(&self) -> &Coordinator {
        &self.state.coordinators[self.index]
    }

    /// A copy of the state, in which the coordinator is in another phase.
    pub(super) fn to(&self, phase: Phase) -> State {
        let mut state = *self.state;
        state.coordinators[self.index].phase = phase;
        state
    }

    /// Whether a script of this coordinator is executed by a source: its connection is open, and no later term is known.
    pub(super) fn is_heard_by(&self, source: usize) -> bool {
        let is_connected = self.me().at_source[source] || self.model.omits(Omission::RunInDecision);
        is_connected && self.has_the_term(self.state.sources[source].mark.term)
    }

    pub(super) fn is_heard_by_the_destination(&self) -> bool {
        self.is_connected_to_the_destination() && self.has_the_term(self.state.destination.term)
    }

    pub(super) fn is_connected_to_the_destination(&self) -> bool {
        self.me().at_destination || self.model.omits(Omission::NeverReconnect)
    }

    fn has_the_term(&self, term: u8) -> bool {
        term <= self.me().term || self.is_without_terms()
    }

    /// A second coordinator starts, whether the first is dead, frozen, or at work.
    fn starts(&self, out: &mut Actions) {
        if self.state.faults.begins > 0 {
            let mut state = self.to(Phase::Started);
            state.faults.begins -= 1;
            out.push("starts", state);
        }
    }

    /// Begins anew after an error, or ends.
    pub(super) fn gives_up(&self, out: &mut Actions) {
        if self.state.faults.begins > 0 {
            let mut state = self.to(Phase::Started);
            state.coordinators[self.index] = Coordinator::in_phase(Phase::Started);
            state.faults.begins -= 1;
            out.push("begins anew", state);
        } else {
            let mut state = *self.state;
            state.coordinators[self.index] = Coordinator::in_phase(Phase::Gone);
            out.push("ends", state);
        }
    }

    /// Reads the terms of all servers, takes the next one, and opens all its connections with it in their names.
    fn reads_the_terms(&self, out: &mut Actions) {
        let terms = self.state.sources.iter().map(|source| source.mark.term);
        let term = terms.fold(self.state.destination.term, u8::max) + 1;
        let mut state = *self.state;
        state.coordinators[self.index] = Coordinator::connected(term, Phase::Raising(Set(0)));
        out.push_with("opens its connections with term", term, state);
    }

    /// Raises the term at one server, unless that has one as high, and kills the connections of lower ones there.
    ///
    /// A server from which nothing moves is one with the destination here.
    fn raises_the_term(&self, raised: Set, out: &mut Actions) {
        let sources = self.model.shape.sources;
        let servers = (0..sources).chain([DESTINATION]);
        if servers.clone().all(|server| raised.has(server)) {
            out.push("settles", self.to(Phase::Settling(0)));
            return;
        }
        for server in servers.filter(|server| !raised.has(*server)) {
            let me = self.me();
            let (known, is_connected) = match self.state.sources.get(server) {
                Some(source) => (source.mark.term, me.at_source[server]),
                None => (self.state.destination.term, me.at_destination),
            };
            let is_taken = known == me.term && !self.model.omits(Omission::TermOnce);
            if !is_connected || !self.has_the_term(known) || is_taken && !self.is_without_terms() {
                self.gives_up(out);
                continue;
            }
            let mut state = self.to(Phase::Raising(raised.with(server)));
            if let Some(source) = state.sources.get_mut(server) {
                source.mark.term = me.term;
            } else {
                state.destination.term = me.term;
                for source in &mut state.sources[sources..] {
                    source.mark.term = me.term;
                }
            }
            self.kills_earlier_ones(server, &mut state);
            out.push(RAISES[server], state);
        }
    }

    fn kills_earlier_ones(&self, server: usize, state: &mut State) {
        if self.is_without_terms() || self.model.omits(Omission::KillCoordinators) {
            return;
        }
        let term = self.me().term;
        for other in state.coordinators.iter_mut().filter(|it| it.term < term) {
            match other.at_source.get_mut(server) {
                Some(connection) => *connection = false,
                None => other.at_destination = false,
            }
        }
    }

    fn is_without_terms(&self) -> bool {
        self.model.omits(Omission::Term)
    }

    /// Settles what was left open at a source, and renews its mark if it is in doubt.
    fn settles(&self, index: usize, out: &mut Actions) {
        if index == self.model.shape.sources {
            out.push("has settled all", self.to(Phase::Committed));
            return;
        }
        if !self.is_heard_by(index) {
            self.gives_up(out);
            return;
        }
        let source = self.state.sources[index];
        let mark = source.mark;
        let intent = self.live_intent(index);
        if mark.armed && (mark.run == source.run || self.model.omits(Omission::Renewal)) {
            if mark.decision != Decision::Open {
                out.push_with(
                    "finds settled source",
                    number(index),
                    self.settled(index, None),
                );
                return;
            }
            if intent.is_some() || self.model.omits(Omission::IntentOnly) {
                self.commits(index, mark.buckets, out);
            }
            let mut state = self.settled(index, None);
            state.sources[index].mark.decision = Decision::Abort;
            out.push_with("aborts what was open at source", number(index), state);
            return;
        }
        let is_lost_alone = !mark.armed && intent.is_some_and(|it| it.run == source.run);
        match intent {
            Some(_) if is_lost_alone && !self.model.omits(Omission::Ask) => {
                out.push_with(
                    "asks what to do with source",
                    number(index),
                    self.to(Phase::Asking),
                );
            }
            Some(intent) if !self.model.omits(Omission::IntentCommits) => {
                let buckets = if self.model.omits(Omission::IntentBuckets) {
                    mark.buckets
                } else {
                    intent.buckets
                };
                self.commits(index, buckets, out);
            }
            None if self.model.omits(Omission::IntentOnly)
                && mark.armed
                && mark.decision == Decision::Open =>
            {
                self.commits(index, mark.buckets, out);
            }
            _ => out.push_with(
                "renews source",
                number(index),
                self.settled(index, Some(Set(0))),
            ),
        }
    }

    /// The intent whose decision the mark does not tell.
    fn live_intent(&self, source: usize) -> Option<Intent> {
        let intent = self.state.destination.intents[source];
        let mark = self.state.sources[source].mark;
        let is_unknown = !mark.armed
            || intent.hold > mark.hold
            || (intent.hold == mark.hold && mark.decision == Decision::Open);
        (intent.hold > 0 && is_unknown).then_some(intent)
    }

    fn commits(&self, index: usize, buckets: Set, out: &mut Actions) {
        let state = self.settled(index, Some(buckets));
        out.push_with("commits what was open at source", number(index), state);
    }

    /// Goes on to the next source. With `commits`, the mark is written anew, with these buckets besides the known ones.
    fn settled(&self, index: usize, commits: Option<Set>) -> State {
        let mut state = self.to(Phase::Settling(number(index + 1)));
        let Source { run, mark, .. } = self.state.sources[index];
        let mut moved = if mark.armed { mark.moved } else { Set(0) };
        if !self.model.omits(Omission::Copies) {
            let copies = self.state.sources.iter().map(|source| source.mark.copies);
            let known = copies.fold(self.state.destination.copies, Set::union);
            let of_source = self.model.shape.buckets_of(index).fold(Set(0), Set::with);
            moved = moved.union(Set(known.0 & of_source.0));
        }
        if let Some(buckets) = commits {
            moved = moved.union(buckets);
            let renewed = &mut state.sources[index].mark;
            renewed.armed = true;
            renewed.run = run;
            renewed.hold = self.next_hold(index).max(self.destination_hold(index));
            renewed.buckets = buckets;
            renewed.decision = if buckets.is_empty() {
                Decision::Abort
            } else {
                Decision::Commit
            };
            renewed.moved = moved;
            state.truth.committed = state.truth.committed.union(buckets);
        }
        let me = &mut state.coordinators[self.index];
        me.moved = me.moved.union(moved);
        state
    }

    fn destination_hold(&self, source: usize) -> u8 {
        self.state.destination.intents[source].hold
    }

    /// The number of the next hold at a source. It grows whatever the source has lost, as the term does.
    pub(super) fn next_hold(&self, source: usize) -> u8 {
        let last = self.state.sources[source].mark.hold;
        if self.model.omits(Omission::Upwards) && last / HOLDS_PER_TERM > self.me().term {
            return self.me().term * HOLDS_PER_TERM;
        }
        let next = last + 1;
        if self.model.omits(Omission::NumberFromTerm) {
            return next;
        }
        next.max(self.me().term * HOLDS_PER_TERM)
    }

    /// Step 7, *copy*: the destination gets the commits, and forgets the intents in the same script.
    fn copies_to_the_destination(&self, out: &mut Actions) {
        if !self.is_heard_by_the_destination() {
            return self.gives_up(out);
        }
        let mut state = self.to(Phase::Copied);
        state.destination.copies = state.destination.copies.union(self.me().moved);
        state.destination.intents = Default::default();
        out.push("copies its commits to the destination", state);
    }

    /// Step 7, *copy*: each source gets the commits of the others.
    fn copies_to_the_sources(&self, out: &mut Actions) {
        let mut state = self.to(Phase::Choosing);
        for index in 0..SOURCES {
            if !self.is_heard_by(index) {
                return self.gives_up(out);
            }
            let own = self.model.shape.buckets_of(index).fold(Set(0), Set::with);
            let copies = &mut state.sources[index].mark.copies;
            *copies = copies.union(self.me().moved.minus(own));
        }
        out.push("copies its commits to the sources", state);
    }

    /// *Clean*: the keys that have moved are unlinked at the sources.
    fn cleans(&self, out: &mut Actions) {
        let mut state = self.to(Phase::Finished);
        for bucket in 0..self.model.shape.buckets {
            let source = self.model.shape.source_of(bucket);
            if !self.is_heard_by(source) {
                return self.gives_up(out);
            }
            if self.me().moved.has(bucket) {
                state.sources[source].data[bucket] = Set(0);
            }
        }
        out.push("cleans the sources", state);
    }

    /// Sees that a source has restarted, or has lost its mark, after all was done.
    fn watches(&self, out: &mut Actions) {
        let has_lost = |index: usize| {
            !self.me().at_source[index] || self.state.sources[index].mark.term != self.me().term
        };
        if (0..SOURCES).any(has_lost) {
            self.gives_up(out);
        }
    }
}

const RAISES: [&str; 3] = [
    "raises the term at source 0",
    "raises the term at source 1",
    "raises the term at the destination",
];

/// A small index as the number that the state has room for.
pub(super) fn number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}
