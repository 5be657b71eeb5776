use std::sync::LazyLock;

use super::*;
use crate::config::Config;
use crate::topology::Bucket;
use crate::topology::reshard::placement::tests::placement;

fn file(options: &str) -> Arc<PoolConfig> {
    let yaml = format!(
        "p: {{listen: 127.0.0.1:1, redis: true, hash: murmur, {options}, servers: ['127.0.0.1:6379:1 a']}}"
    );
    Arc::new(Config::parse(&yaml, "F").unwrap().pools.remove(0))
}

/// The server of this name, at the address of all in these tests.
fn at(server: &str) -> (&str, &'static ServerAddr) {
    static ADDRESS: LazyLock<ServerAddr> = LazyLock::new(|| "127.0.0.1:6379".parse().unwrap());
    (server, &ADDRESS)
}

fn set(numbers: &[u16]) -> BucketSet {
    numbers.iter().copied().filter_map(Bucket::new).collect()
}

fn mark(term: u64, hold: u64, decision: Decision) -> Mark {
    Mark {
        move_id: "m".to_owned(),
        state: State::Armed,
        term,
        before: Arc::new(placement(&[("a", 1)])),
        after: Arc::new(placement(&[("a", 1), ("b", 1)])),
        hold,
        buckets: set(&[1]),
        decision,
        run_id: "r".to_owned(),
        moved: BucketSet::EMPTY,
        moved_elsewhere: BTreeMap::new(),
        intents: BTreeMap::new(),
    }
}

fn seen(mark: Mark, run_id: &str) -> SeenMark {
    SeenMark {
        mark: Some(Arc::new(mark)),
        run_id: run_id.to_owned(),
    }
}

fn source(marks: &Marks) -> SourceState {
    let effective = marks.effective(&file("placement_guard: true"));
    effective.moving.unwrap().source("a")
}

#[test]
fn open_hold_is_held_and_a_decided_one_is_not() {
    let mut marks = Marks::default();
    let now = Instant::now();
    for (decision, held) in [
        (Decision::Open, set(&[1])),
        (Decision::Commit, BucketSet::EMPTY),
        (Decision::Abort, BucketSet::EMPTY),
    ] {
        assert!(marks.set(at("a"), seen(mark(1, 5, decision), "r"), now));
        assert!(!marks.set(at("a"), seen(mark(1, 5, decision), "r"), now));
        let source = source(&marks);
        assert_eq!((source.held, source.is_in_doubt), (held, false));
    }
}

#[test]
fn restarted_missing_or_lower_mark_is_doubt() {
    let now = Instant::now();
    let missing = SeenMark {
        mark: None,
        run_id: "r".to_owned(),
    };
    for doubtful in [
        seen(mark(1, 5, Decision::Abort), "other"),
        seen(mark(1, 4, Decision::Abort), "r"),
        missing,
    ] {
        let mut marks = Marks::default();
        marks.set(at("a"), seen(mark(1, 5, Decision::Abort), "r"), now);
        assert!(!source(&marks).is_in_doubt);
        marks.set(at("a"), doubtful, now);
        assert!(source(&marks).is_in_doubt);
        marks.set(at("a"), seen(mark(2, 6, Decision::Abort), "r"), now);
        assert!(!source(&marks).is_in_doubt);
    }
}

#[test]
fn mark_that_was_never_read_is_doubt() {
    let mut marks = Marks::default();
    marks.set(
        at("b"),
        seen(mark(1, 0, Decision::Abort), "r"),
        Instant::now(),
    );
    assert!(source(&marks).is_in_doubt);
}

#[test]
fn moved_buckets_are_never_forgotten() {
    let now = Instant::now();
    let mut marks = Marks::default();
    let copied = Mark {
        moved_elsewhere: BTreeMap::from([("a".to_owned(), set(&[7]))]),
        ..mark(1, 0, Decision::Abort)
    };
    marks.set(at("b"), seen(copied, "r"), now);
    let own = Mark {
        moved: set(&[8]),
        ..mark(1, 5, Decision::Commit)
    };
    marks.set(at("a"), seen(own, "r"), now);
    marks.set(at("a"), seen(mark(1, 3, Decision::Abort), "s"), now);
    assert_eq!(source(&marks).moved, set(&[7, 8]));
}

#[test]
fn ended_move_decides_about_the_placement_in_a_guarded_pool() {
    let now = Instant::now();
    for (state, servers) in [(State::Done, 2), (State::Aborted, 1)] {
        let mut marks = Marks::default();
        marks.set(at("b"), seen(mark(1, 0, Decision::Abort), "r"), now);
        let ended = Mark {
            state,
            ..mark(1, 5, Decision::Abort)
        };
        marks.set(at("a"), seen(ended, "r"), now);
        let guarded = marks.effective(&file("placement_guard: true"));
        assert_eq!(guarded.config.servers.len(), servers);
        assert!(guarded.moving.is_none() && guarded.marked.is_some());
        let unguarded = marks.effective(&file("placement_guard: false"));
        assert_eq!(unguarded.config.servers.len(), 1);
        assert!(unguarded.marked.is_none());
    }
}

#[test]
fn later_move_replaces_an_earlier_one() {
    let now = Instant::now();
    let mut marks = Marks::default();
    let done = Mark {
        state: State::Done,
        ..mark(1, 5, Decision::Abort)
    };
    marks.set(at("a"), seen(done.clone(), "r"), now);
    let next = Mark {
        move_id: "n".to_owned(),
        ..mark(2, 0, Decision::Abort)
    };
    marks.set(at("b"), seen(next, "r"), now);
    let effective = marks.effective(&file("placement_guard: true"));
    assert_eq!(effective.moving.as_ref().unwrap().id, "n");
    assert!(effective.moving.unwrap().source("a").is_in_doubt);
    marks.set(at("c"), seen(done, "r"), now);
    let effective = marks.effective(&file("placement_guard: true"));
    assert_eq!(effective.marked.unwrap().move_id, "n");
}

#[test]
fn server_that_takes_a_place_says_nothing_before_that() {
    let now = Instant::now();
    let mut after = placement(&[("a", 1)]);
    after.servers[0].address = "127.0.0.2:1".parse().unwrap();
    let replaces = |hold| Mark {
        after: Arc::new(after.clone()),
        decision: Decision::Commit,
        moved: set(&[1]),
        ..mark(1, hold, Decision::Open)
    };
    let taker = ("a", &after.servers[0].address);
    let mut marks = Marks::default();
    // It repeats what the other says, whose run id is another one.
    marks.set(taker, seen(replaces(9), "taker"), now);
    let source = |marks: &Marks, name: &str| {
        let effective = marks.effective(&file("placement_guard: true"));
        effective.moving.unwrap().source(name)
    };
    let called = "a@127.0.0.2:1";
    assert!(source(&marks, "a").is_in_doubt && source(&marks, "a").moved.is_empty());
    assert!(!source(&marks, called).is_in_doubt);
    marks.set(at("a"), seen(replaces(7), "r"), now);
    let known = source(&marks, "a");
    assert_eq!(
        (known.hold, known.is_in_doubt, known.moved),
        (7, false, set(&[1]))
    );
    let own = Mark {
        run_id: "taker".to_owned(),
        moved: BucketSet::EMPTY,
        ..replaces(12)
    };
    marks.set(taker, seen(own, "taker"), now);
    assert_eq!(
        (source(&marks, "a").hold, source(&marks, called).hold),
        (7, 12)
    );
    let config = marks.effective(&file("placement_guard: true")).config;
    let names: Vec<_> = config.servers.iter().map(|server| &*server.name).collect();
    assert_eq!(names, ["a", "a"]);
}

#[test]
fn removed_marks_leave_addresses_to_the_file() {
    let now = Instant::now();
    let done = Mark {
        state: State::Done,
        before: Arc::new(placement(&[("a", 2)])),
        after: Arc::new(placement(&[("a", 1)])),
        ..mark(1, 7, Decision::Commit)
    };
    let mut marks = Marks::default();
    marks.set(at("a"), seen(done.clone(), "r"), now);
    let elsewhere = |weight: u32| {
        let yaml = format!(
            "p: {{listen: 127.0.0.1:1, redis: true, hash: murmur, placement_guard: true, servers: ['127.0.0.9:6379:{weight} a']}}"
        );
        Arc::new(Config::parse(&yaml, "F").unwrap().pools.remove(0))
    };
    let address = |marks: &Marks, weight| {
        let config = marks.effective(&elsewhere(weight)).config;
        config.servers[0].address.to_string()
    };
    assert_eq!(address(&marks, 1), "127.0.0.1:6379");
    // It is not the file that all were to agree on.
    marks.forget_ended(&elsewhere(2));
    assert_eq!(address(&marks, 2), "127.0.0.1:6379");
    marks.forget_ended(&elsewhere(1));
    assert_eq!(address(&marks, 1), "127.0.0.9:6379");
    assert_eq!(address(&marks, 2), "127.0.0.9:6379");
    // That of another server, which is removed a moment later.
    marks.set(at("a"), seen(done, "r2"), now);
    assert_eq!(address(&marks, 1), "127.0.0.9:6379");
}

#[test]
fn mark_that_a_process_has_lost_unheard_was_removed() {
    let now = Instant::now();
    let none = |run_id: &str| SeenMark {
        mark: None,
        run_id: run_id.to_owned(),
    };
    for (state, lacks) in [(State::Done, true), (State::Armed, false)] {
        let mut marks = Marks::default();
        let known = Mark {
            state,
            ..mark(3, 3, Decision::Commit)
        };
        assert!(!marks.lacks_ended(at("a"), &none("r")));
        marks.set(at("a"), seen(known.clone(), "r"), now);
        assert_eq!(marks.lacks_ended(at("a"), &none("r")), lacks);
        // One that was restarted has lost it by that, and another may never have had it.
        assert!(!marks.lacks_ended(at("a"), &none("r2")));
        assert!(!marks.lacks_ended(at("b"), &none("r")));
        assert!(!marks.lacks_ended(at("a"), &seen(known, "r")));
    }
}
