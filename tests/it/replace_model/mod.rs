//! A model of the move by replication of [ADR 17](../../../docs/adr/0017-moves-decided-at-the-source.md), and the search through
//! all its states: two coordinators, of which each may freeze anywhere and wake later, a server and the one that takes its
//! place, proxies that take holds back, and a restart of either server.
//!
//! That holds are fenced is the other model's (`move_model`): here no client writes at the source while a hold is open, or after
//! a commit. What is searched is what `REPLICAOF` may wipe, and whether the two servers are equal at the commit.

mod coordinator;
mod servers;
mod state;

use std::collections::HashSet;

use coordinator::coordinate;
use servers::{clients, servers};
use state::State;

/// A rule that is left out, to show that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Omission {
    /// Earlier coordinators' connections to the taker are not ended.
    EndNone,
    /// An intent is not settled: the taker becomes a replica again at once.
    IgnoreIntent,
    /// The offsets need not be equal before the promotion.
    PromoteAtOnce,
    /// A taker with keys that it has not from the source becomes a replica.
    WipeAnything,
    /// The term need not be above those in the names of connections.
    ReadNoNames,
}

/// What may come next: the action in words, and the state after it, or what it violates.
type Next = Vec<(String, Result<State, &'static str>)>;

fn actions(state: &State, omission: Option<Omission>) -> Next {
    let mut next = Vec::new();
    for index in 0..2 {
        let mut after = *state;
        let step = state.coordinators[index].step;
        if let Some(result) = coordinate(&mut after, index, omission) {
            next.push((
                format!("coordinator {index}: {step:?}"),
                result.map(|()| after),
            ));
        }
    }
    clients(state, &mut next);
    servers(state, &mut next);
    next
}

#[derive(Debug, Default)]
struct Found {
    states: usize,
    commits: usize,
    why: Option<&'static str>,
    path: Vec<String>,
}

/// Searches all states, breadth first.
fn search(first: State, omission: Option<Omission>) -> Found {
    let mut seen = HashSet::from([first]);
    let mut states = vec![(first, usize::MAX, String::new())];
    let mut found = Found::default();
    let mut at = 0;
    while at < states.len() {
        let state = states[at].0;
        found.commits += usize::from(state.is_committed);
        for (what, after) in actions(&state, omission) {
            match after {
                Ok(after) if seen.insert(after) => states.push((after, at, what)),
                Ok(_) => {}
                Err(why) => {
                    found.why = Some(why);
                    found.path.push(what);
                    let mut place = at;
                    while place != usize::MAX {
                        let (_, before, what) = &states[place];
                        found.path.push(what.clone());
                        place = *before;
                    }
                    found.path.reverse();
                    found.states = states.len();
                    return found;
                }
            }
        }
        at += 1;
    }
    found.states = states.len();
    found
}

#[test]
fn replication_wipes_nothing_that_was_committed() {
    for had_keys in [false, true] {
        let found = search(State::first(had_keys), None);
        println!(
            "{} states, {} of them committed",
            found.states, found.commits
        );
        assert_eq!(found.why, None, "{:#?}", found.path);
        assert!(found.states > if had_keys { 1000 } else { 100_000 });
        assert_eq!(found.commits > 0, !had_keys);
    }
}

#[test]
fn each_rule_of_a_replacement_is_needed() {
    for (omission, why) in [
        (Omission::EndNone, "the taker lacks writes at the commit"),
        (
            Omission::ReadNoNames,
            "the taker lacks writes at the commit",
        ),
        (Omission::IgnoreIntent, "REPLICAOF after a commit"),
        (
            Omission::PromoteAtOnce,
            "the taker lacks writes at the commit",
        ),
        (
            Omission::WipeAnything,
            "REPLICAOF wipes keys that are no copies",
        ),
    ] {
        let had_keys = omission == Omission::WipeAnything;
        let found = search(State::first(had_keys), Some(omission));
        println!(
            "without {omission:?}, {} states: {:#?}",
            found.states, found.path
        );
        assert_eq!(found.why, Some(why), "{omission:?}");
    }
}
