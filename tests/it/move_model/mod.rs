//! A model of the protocol of [ADR 17](../../../docs/adr/0017-moves-decided-at-the-source.md), and the search through
//! all its states.
//!
//! It can be read as a specification: `state` has what each process knows and what really happened, `proxy`, `server`,
//! `coordinator` and `hold` have one function for each action, `faults` has what befalls servers, `invariants` what
//! must be true. A shape limits how often each fault happens; within it, every order of the actions is tried. A frozen
//! process is one that takes no step for a while, and a dead one takes none any more.
//!
//! `cargo test` searches these shapes (`shapes` says what each is), and none has a counter-example:
//!
//! | shape | states | steps |
//! |---|--:|--:|
//! | pair | 132856 | 29 |
//! | alone | 130196 | 40 |
//! | colleagues | 77676 | 26 |
//! | zombie | 233397 | 45 |
//! | twice | 217284 | 50 |
//! | restart | 165632 | 35 |
//! | rollback | 635177 | 37 |
//! | old file | 394149 | 38 |
//! | flush | 235124 | 36 |
//! | wipe | 163585 | 34 |
//! | buckets | 188494 | 43 |
//! | buckets, rollback | 422982 | 44 |
//! | sources | 151571 | 36 |
//! | again | 9142 | 34 |
//!
//! `make model` searches larger ones, likewise without a counter-example:
//!
//! | shape | states | steps |
//! |---|--:|--:|
//! | pair | 1546843 | 35 |
//! | colleagues | 1444270 | 34 |
//! | zombie | 2032078 | 55 |
//! | twice | 6925612 | 66 |
//! | restart | 8234760 | 56 |
//! | rollback | 4335207 | 47 |
//! | two restarts | 6374298 | 45 |
//! | old file | 3821889 | 44 |
//! | flush | 2009226 | 48 |
//! | wipe | 896730 | 44 |
//! | buckets | 1760112 | 47 |
//! | buckets, rollback | 8028337 | 48 |
//! | sources | 4715904 | 49 |
//!
//! Each of the rules in `omission` is needed: without it, the search finds a counter-example, in 2 to 27 actions, most
//! of them in 10 to 20. `cargo test --test it move_model -- --nocapture` prints them.
//!
//! What the model leaves out: a demoted primary that goes on serving next to the promoted one (what is written
//! there is lost by the failover); several destinations of one source, each of which would need the others' intents if
//! it lost its own; loss of data at the source and at the destination at once; a bulk copy before the hold (all keys
//! are copied in it); clients that wait in blocking commands; replicas; and whoever writes without the guard. A move
//! back is searched from its start, with what the first move has left: hold numbers, and copies of its commits.

mod coordinator;
mod faults;
mod hold;
mod invariants;
mod omission;
mod proxy;
mod search;
mod server;
mod shape;
mod shapes;
mod state;

use omission::Omission;
use search::{Found, search};
use shape::{Model, Shape};

#[test]
fn slow_proxies_lose_nothing() {
    shapes::SLOW_PROXIES.into_iter().for_each(assert_safe);
}

#[test]
fn several_coordinators_lose_nothing() {
    shapes::SEVERAL_COORDINATORS
        .into_iter()
        .for_each(assert_safe);
}

#[test]
fn restarted_sources_lose_nothing_else() {
    shapes::RESTARTED_SOURCES.into_iter().for_each(assert_safe);
}

#[test]
fn lost_marks_and_copies_lose_nothing_else() {
    shapes::LOST_MARKS.into_iter().for_each(assert_safe);
}

#[test]
fn several_buckets_lose_nothing() {
    shapes::SEVERAL_BUCKETS.into_iter().for_each(assert_safe);
}

/// Takes minutes: `make model` runs it.
#[test]
#[ignore = "takes minutes; make model runs it"]
fn larger_shapes_lose_nothing() {
    shapes::THOROUGH.into_iter().for_each(assert_safe);
}

#[test]
fn each_omission_has_a_counter_example() {
    for (omission, shape, why) in shapes::OMISSIONS {
        let judges_ends = why == invariants::STUCK;
        let found = run(shape, Some(omission), judges_ends);
        let example = found.counter_example.map(|example| example.why);
        assert!(
            example.is_some_and(|found| found.starts_with(why)),
            "without {omission:?}: {example:?} instead of {why}"
        );
    }
}

/// Checks that the protocol as it is violates nothing in any state, that moves end, and that the table above is true.
fn assert_safe(shape: Shape) {
    let found = run(shape, None, true);
    if let Some(example) = found.counter_example {
        panic!("{}: {example}", shape.name);
    }
    assert!(found.arrived > 0, "{}: no move ends", shape.name);
    let row = format!("| {} | {} | {} |", shape.name, found.states, found.steps);
    let is_in_the_table = include_str!("mod.rs").contains(&row);
    assert!(
        is_in_the_table,
        "the table at the top of this file lacks {row}"
    );
}

/// Searches, and prints what was found.
fn run(shape: Shape, omission: Option<Omission>, judges_ends: bool) -> Found {
    let model = Model {
        shape,
        omission,
        judges_ends,
    };
    let found = search(&model);
    let without = omission.map_or(String::new(), |it| format!(" without {it:?}"));
    let (name, states, steps) = (shape.name, found.states, found.steps);
    println!("{name}{without}: {states} states, {steps} steps");
    if let Some(example) = &found.counter_example {
        println!("{example}");
    }
    found
}
