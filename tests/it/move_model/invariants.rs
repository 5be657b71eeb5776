//! The invariants that can be checked in a state. Those of one action are checked where the action is:
//! I1 and I3 in `server`, I2 in `proxy`, I4 and I5 in `coordinator`.

use super::shape::Model;
use super::state::{Decision, Phase, Route, Set, Source, State};

/// What is wrong with an end where something still waits.
pub(super) const STUCK: &str = "a bucket is held for ever";

/// What is wrong with a state, if anything; `is_end` if nothing can happen any more.
pub(super) fn violation(model: &Model, state: &State, is_end: bool) -> Option<&'static str> {
    if loses_a_write(model, state) {
        return Some("I8: an acknowledged write is not where it is looked for");
    }
    if is_end && is_stuck(model, state) {
        return Some(STUCK);
    }
    None
}

/// Whether an acknowledged write is missing at the owner of its bucket, although no server lost it by itself.
fn loses_a_write(model: &Model, state: &State) -> bool {
    (0..model.shape.buckets).any(|bucket| {
        let owner = if state.truth.committed.has(bucket) {
            &state.destination.data
        } else {
            &state.sources[model.shape.source_of(bucket)].data
        };
        let expected = state.truth.acknowledged[bucket];
        !expected.minus(owner[bucket]).is_empty()
    })
}

/// Whether a bucket waits for a decision, or a source for its mark, although a coordinator has ended well.
///
/// All that could happen has happened, so each worker has read the mark as it is.
fn is_stuck(model: &Model, state: &State) -> bool {
    let has_ended_well = state
        .coordinators
        .iter()
        .any(|coordinator| coordinator.phase == Phase::Finished);
    let is_open = |source: &Source| {
        !source.mark.armed
            || source.mark.run != source.run
            || source.mark.decision == Decision::Open
    };
    let waits = |worker: &super::state::Worker| {
        worker.routes[..model.shape.buckets].contains(&Route::Held)
            || (0..model.shape.sources)
                .any(|source| worker.known[source] > state.sources[source].mark.hold)
    };
    has_ended_well && (state.sources.iter().any(is_open) || state.workers.iter().any(waits))
}

/// Whether the move is over: all is committed, cleaned, and served at the destination by each worker that takes part.
pub(super) fn has_arrived(model: &Model, state: &State) -> bool {
    let all = (0..model.shape.buckets).fold(Set(0), Set::with);
    state.truth.committed == all
        && state
            .coordinators
            .iter()
            .any(|c| c.phase == Phase::Finished)
        && state
            .workers
            .iter()
            .zip(&model.shape.workers)
            .all(|(worker, budget)| {
                budget.connects == 0
                    || worker.routes[..model.shape.buckets]
                        .iter()
                        .all(|r| *r == Route::After)
            })
}
