//! What clients and proxies do, and what the servers do by themselves.

use super::Next;
use super::state::{Decision, Source, State, Taker, WRITES};

/// Clients write where their proxies look; proxies take holds back.
pub(super) fn clients(state: &State, next: &mut Next) {
    let mut after = *state;
    if !state.is_committed
        && state.source.decision == Decision::Abort
        && state.source.mark_run == state.source.run
        && state.writes < WRITES
    {
        after.writes += 1;
        after.source.data = after.writes;
        after.acknowledged = after.writes;
        next.push(("a client writes at the source".to_owned(), Ok(after)));
    }
    if state.source.decision == Decision::Open && state.source.mark_run == state.source.run {
        let mut after = *state;
        after.source.decision = Decision::Abort;
        next.push(("a proxy takes the hold back".to_owned(), Ok(after)));
    }
    if state.is_committed && state.writes <= WRITES {
        let mut after = *state;
        after.writes += 1;
        after.taker.data = after.writes;
        after.acknowledged = after.writes;
        next.push(("a client writes at the taker".to_owned(), Ok(after)));
    }
}

/// Replication, snapshots and restarts.
pub(super) fn servers(state: &State, next: &mut Next) {
    let taker = state.taker;
    if taker.is_replica
        && !(taker.is_synced && taker.data == state.source.data && taker.term == state.source.term)
    {
        let mut after = *state;
        after.taker = Taker {
            data: state.source.data,
            is_synced: true,
            has_mark: true,
            is_own: false,
            term: state.source.term,
            intent: None,
            knows_commit: false,
            is_labelled: state.source.labels,
            ..taker
        };
        next.push(("the replica gets all".to_owned(), Ok(after)));
    }
    if state.saved != state.source && !state.has_restarted {
        let mut after = *state;
        after.saved = state.source;
        next.push(("the source saves".to_owned(), Ok(after)));
    }
    if !state.has_restarted {
        let mut after = *state;
        after.has_restarted = true;
        // The term is raised again by whoever leads next.
        after.source = Source {
            run: state.source.run + 1,
            ..state.saved
        };
        if !state.is_committed {
            after.acknowledged = after.source.data;
        }
        for coordinator in &mut after.coordinators {
            coordinator.open[0] = false;
        }
        if after.taker.is_replica {
            after.taker.is_synced = false;
        }
        next.push((
            "the source restarts from its snapshot".to_owned(),
            Ok(after),
        ));
    }
    if !state.has_restarted && !state.is_committed && taker.intent.is_none() {
        let mut after = *state;
        after.has_restarted = true;
        after.taker = State::first(false).taker;
        for coordinator in &mut after.coordinators {
            coordinator.open[1] = false;
        }
        next.push(("the taker restarts empty".to_owned(), Ok(after)));
    }
}
