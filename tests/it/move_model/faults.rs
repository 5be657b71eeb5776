//! The faults of servers. Those of processes need no actions: whoever takes no step is frozen, or dead.
//!
//! One server at a time loses data: if the source and the destination of a bucket lose theirs, it is lost.

use super::search::Actions;
use super::state::{BUCKETS, CONNECTIONS, Decision, Destination, NONE, Saved, Source, State};

/// The source that has the faults.
const FAULTY: usize = 0;

/// Lists what can befall the servers.
pub(super) fn actions(state: &State, out: &mut Actions) {
    out.of("source", FAULTY);
    saves(state, out);
    restarts_with_all(state, out);
    restarts_with_what_was_saved(state, out);
    is_flushed(state, out);
    out.of("destination", 0);
    restarts_with_nothing(state, out);
}

/// Has a snapshot, or a replica, with what it has now. At first, it is from the time before the move.
fn saves(state: &State, out: &mut Actions) {
    let Source { mark, data, .. } = state.sources[FAULTY];
    let saved = Saved { mark, data };
    let is_of_use = state.faults.saves > 0 && state.faults.rollbacks > 0;
    if is_of_use && state.sources[FAULTY].saved != saved {
        let mut next = *state;
        next.faults.saves -= 1;
        next.sources[FAULTY].saved = saved;
        out.push("saves", next);
    }
}

fn restarts_with_all(state: &State, out: &mut Actions) {
    if state.faults.restarts > 0 {
        let mut next = *state;
        next.faults.restarts -= 1;
        restart(&mut next);
        out.push("restarts with all it had", next);
    }
}

/// A restart from a snapshot, or the failover to a replica that was behind.
fn restarts_with_what_was_saved(state: &State, out: &mut Actions) {
    if state.faults.rollbacks > 0 {
        let mut next = *state;
        next.faults.rollbacks -= 1;
        restart(&mut next);
        let saved = state.sources[FAULTY].saved;
        replace(&mut next, saved);
        next.sources[FAULTY].saved = Saved::OLD;
        out.push("restarts with what was saved", next);
    }
}

/// A FLUSHALL, which neither ends connections nor changes the run id.
fn is_flushed(state: &State, out: &mut Actions) {
    if state.faults.flushes > 0 {
        let mut next = *state;
        next.faults.flushes -= 1;
        replace(&mut next, Saved::OLD);
        out.push("is flushed", next);
    }
}

/// A destination without persistence restarts.
///
/// From the commit on that is its own loss. The source cannot know of it in the step in which it commits, so the
/// time from the intent on counts as after the commit; the keys are not unlinked until they are safe.
fn restarts_with_nothing(state: &State, out: &mut Actions) {
    if state.faults.wipes == 0 {
        return;
    }
    let mut next = *state;
    next.faults.wipes -= 1;
    for coordinator in &mut next.coordinators {
        coordinator.at_destination = false;
    }
    let intents = state.destination.intents.iter().zip(&state.sources);
    let open = intents.filter(|(intent, source)| {
        intent.hold == source.mark.hold && source.mark.decision == Decision::Open
    });
    let promised = open.fold(state.truth.committed, |set, (intent, _)| {
        set.union(intent.buckets)
    });
    for bucket in (0..BUCKETS).filter(|bucket| promised.has(*bucket)) {
        let acknowledged = &mut next.truth.acknowledged[bucket];
        *acknowledged = acknowledged.minus(state.destination.data[bucket]);
        next.truth.excused = next.truth.excused.with(bucket);
    }
    next.destination = Destination::default();
    out.push("restarts with nothing", next);
}

/// Ends all connections to the source, and gives it a new run id.
fn restart(state: &mut State) {
    state.sources[FAULTY].run += 1;
    for index in 0..CONNECTIONS {
        if usize::from(state.connections[index].source) == FAULTY {
            state.kill(index);
        }
    }
    for coordinator in &mut state.coordinators {
        coordinator.at_source[FAULTY] = false;
    }
    assert!(state.sources[FAULTY].run < NONE);
}

/// Replaces what the source has. What it alone had is lost by the server, not by the move.
fn replace(state: &mut State, saved: Saved) {
    for bucket in 0..BUCKETS {
        if !state.truth.committed.has(bucket) {
            let lost = state.sources[FAULTY].data[bucket].minus(saved.data[bucket]);
            let acknowledged = &mut state.truth.acknowledged[bucket];
            *acknowledged = acknowledged.minus(lost);
        }
    }
    state.sources[FAULTY].mark = saved.mark;
    state.sources[FAULTY].data = saved.data;
}
