//! What follows from the file and the marks: the configuration in force, and the move under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{PoolConfig, ServerConfig};
use crate::net::ServerAddr;
use crate::topology::reshard::{BucketSet, Decision, Mark, Placement, SourceState, State};

/// What a proxy has read at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMark {
    /// The mark; none if the server has none.
    pub mark: Option<Arc<Mark>>,
    /// The run id of the server.
    pub run_id: String,
}

/// What was read of the marks of a pool so far.
#[derive(Debug, Clone, Default)]
pub(in crate::topology) struct Marks {
    /// By name, then by address: in a move by replication a name has two.
    seen: BTreeMap<String, Vec<Seen>>,
    /// The last move that was heard of.
    last: Option<LastMove>,
    /// The move whose marks an operator has removed.
    forgotten: Option<String>,
}

/// What was read at one address, and when it was first read so.
#[derive(Debug, Clone)]
struct Seen {
    address: ServerAddr,
    said: (SeenMark, Instant),
}

/// What is known of a move, whatever servers forget.
#[derive(Debug, Clone)]
struct LastMove {
    id: String,
    term: u64,
    before: Arc<Placement>,
    after: Arc<Placement>,
    state: State,
    /// By what a source is called in the move: the last hold, and all buckets that have moved.
    sources: BTreeMap<String, (u64, BucketSet)>,
}

/// The move under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveState {
    /// Its id.
    pub id: String,
    /// The coordinator's term.
    pub term: u64,
    /// The placement before it.
    pub before: Arc<Placement>,
    /// The placement after it.
    pub after: Arc<Placement>,
    /// What is known of the keys that move away from each server of either placement, by what it is called in the move.
    pub sources: BTreeMap<String, SourceState>,
}

/// The configuration in force and the move under way.
#[derive(Debug, Clone)]
pub struct Effective {
    /// That of the file, with the placement that the marks say.
    pub config: Arc<PoolConfig>,
    /// None if no keys are being moved.
    pub moving: Option<Arc<MoveState>>,
    /// The last move that the marks tell of; then they, and not the file, decide about the placement.
    pub marked: Option<Marked>,
}

/// The last move of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Its id.
    pub move_id: String,
    /// The term of its coordinator.
    pub term: u64,
    /// Where it stands.
    pub state: State,
}

impl Marks {
    /// Takes what was read at a server. Returns true if it is news.
    pub(in crate::topology) fn set(
        &mut self,
        (server, address): (&str, &ServerAddr),
        seen: SeenMark,
        now: Instant,
    ) -> bool {
        if self.seen_at(server, address) == Some(&seen) {
            return false;
        }
        if let Some(mark) = &seen.mark {
            // Until it stands for itself it repeats what the server says whose place it takes.
            let called = mark.before.called(&mark.after, server, address);
            let is_own = called == server || mark.run_id == seen.run_id;
            self.learn(is_own.then_some(called.as_str()), mark);
        }
        let at = self.seen.entry(server.to_owned()).or_default();
        at.retain(|known| known.address != *address);
        at.push(Seen {
            address: address.clone(),
            said: (seen, now),
        });
        true
    }

    fn seen_at(&self, server: &str, address: &ServerAddr) -> Option<&SeenMark> {
        let mut known = self.seen.get(server)?.iter();
        let known = known.find(|known| known.address == *address);
        known.map(|known| &known.said.0)
    }

    fn learn(&mut self, server: Option<&str>, mark: &Mark) {
        let is_known = |last: &LastMove| last.id == mark.move_id;
        if self
            .last
            .as_ref()
            .is_some_and(|last| !is_known(last) && last.term >= mark.term)
        {
            // An earlier move, of which this server still tells.
            return;
        }
        let last = self.last.take().filter(is_known);
        let mut last = last.unwrap_or_else(|| LastMove {
            id: mark.move_id.clone(),
            term: mark.term,
            before: Arc::clone(&mark.before),
            after: Arc::clone(&mark.after),
            state: mark.state,
            sources: BTreeMap::new(),
        });
        last.term = last.term.max(mark.term);
        // A move ends once; a server that has not heard of it changes nothing.
        if last.state == State::Armed {
            last.state = mark.state;
        }
        let copies = mark.moved_elsewhere.iter();
        let copies = copies.map(|(server, moved)| (server.as_str(), 0, moved));
        let own = server.map(|server| (server, mark.hold, &mark.moved));
        for (server, hold, moved) in copies.chain(own) {
            let known = last.sources.entry(server.to_owned()).or_default();
            *known = (known.0.max(hold), known.1.union(moved));
        }
        self.last = Some(last);
    }

    /// Forgets what the last move has left at servers, whose marks an operator removes.
    pub(in crate::topology) fn forget_ended(&mut self) {
        self.forgotten = self.last.as_ref().map(|last| last.id.clone());
    }

    /// The mark that the last move has left at a server, if it has ended, and is not forgotten.
    pub(in crate::topology) fn ended(&self, server: &str) -> Option<Mark> {
        let last = self.last.as_ref();
        let is_kept = |last: &&LastMove| self.forgotten.as_ref() != Some(&last.id);
        let last = last
            .filter(|last| last.state != State::Armed)
            .filter(is_kept)?;
        let (hold, moved) = last.sources.get(server).copied().unwrap_or_default();
        Some(Mark {
            move_id: last.id.clone(),
            state: last.state,
            term: last.term,
            before: Arc::clone(&last.before),
            after: Arc::clone(&last.after),
            hold,
            buckets: BucketSet::EMPTY,
            decision: Decision::Abort,
            run_id: String::new(),
            moved,
            moved_elsewhere: BTreeMap::new(),
            intents: BTreeMap::new(),
        })
    }

    /// What was read, and when it was first read so, by server.
    pub(in crate::topology) fn seen(&self) -> impl Iterator<Item = (&str, &SeenMark, &Instant)> {
        self.seen.iter().flat_map(|(name, known)| {
            let said = known.iter().map(|known| &known.said);
            said.map(move |(seen, read)| (name.as_str(), seen, read))
        })
    }

    /// What follows from the marks and the file.
    pub(in crate::topology) fn effective(&self, file: &Arc<PoolConfig>) -> Effective {
        let Some(last) = self.last.as_ref().filter(|_| file.placement_guard) else {
            return Effective {
                config: Arc::clone(file),
                moving: None,
                marked: None,
            };
        };
        let with = |placement: &Placement| {
            if Placement::of(file) == *placement {
                Arc::clone(file)
            } else {
                Arc::new(placement.in_place_of(file))
            }
        };
        let (config, moving) = match last.state {
            State::Done => (with(&last.after), None),
            State::Aborted => (with(&last.before), None),
            State::Armed => {
                let union = Placement {
                    servers: last.before.servers_with(&last.after),
                    ..Placement::clone(&last.before)
                };
                // An ejection would be a second change of the ring.
                let config = PoolConfig {
                    auto_eject_hosts: false,
                    ..union.in_place_of(file)
                };
                (Arc::new(config), Some(Arc::new(self.moving(last))))
            }
        };
        Effective {
            config,
            moving,
            marked: Some(Marked {
                move_id: last.id.clone(),
                term: last.term,
                state: last.state,
            }),
        }
    }

    fn moving(&self, last: &LastMove) -> MoveState {
        let source = |name: &str, server: &ServerConfig| {
            let (hold, moved) = last.sources.get(name).copied().unwrap_or_default();
            let seen = self.seen_at(&server.name, &server.address);
            let mark = seen.and_then(|seen| seen.mark.as_deref());
            let mark = mark.filter(|mark| mark.move_id == last.id && mark.hold >= hold);
            let is_renewed = seen
                .zip(mark)
                .is_some_and(|(seen, mark)| seen.run_id == mark.run_id);
            // It does not stand for itself before it takes the place of another.
            let is_standby = name != server.name
                && last
                    .sources
                    .get(&server.name)
                    .is_none_or(|(_, moved)| moved.is_empty());
            SourceState {
                hold,
                moved,
                held: mark.map_or(BucketSet::EMPTY, Mark::held),
                is_in_doubt: !is_renewed && !is_standby,
            }
        };
        let called = |server: &ServerConfig| {
            last.before
                .called(&last.after, &server.name, &server.address)
        };
        let sources = last.before.servers_with(&last.after).into_iter();
        MoveState {
            id: last.id.clone(),
            term: last.term,
            before: Arc::clone(&last.before),
            after: Arc::clone(&last.after),
            sources: sources
                .map(|server| {
                    let name = called(&server);
                    let source = source(&name, &server);
                    (name, source)
                })
                .collect(),
        }
    }
}

impl MoveState {
    /// What is known of a server, by what it is called in the move.
    #[must_use]
    pub fn source(&self, name: &str) -> SourceState {
        self.sources.get(name).cloned().unwrap_or_default()
    }

    /// What a server is called in the move.
    #[must_use]
    pub fn called(&self, name: &str, address: &ServerAddr) -> String {
        self.before.called(&self.after, name, address)
    }
}

#[cfg(test)]
mod tests {
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
    fn server_that_takes_a_place_says_nothing_before_it_stands_for_itself() {
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
}
