//! What the marks of all servers say together, and what a new coordinator makes of what an earlier one left open. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::topology::{BucketSet, Decision, Intent, Mark, Placement, SeenMark, State};

/// What was read, by server.
pub(super) type Marks = BTreeMap<String, SeenMark>;

/// A move, as the marks tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) before: Arc<Placement>,
    pub(super) after: Arc<Placement>,
    /// A move ends once: if one server says so, the others have not heard of it.
    pub(super) state: State,
}

impl Told {
    /// The placement that is in force since it has ended; none while it is under way.
    pub(super) fn in_force(&self) -> Option<&Placement> {
        match self.state {
            State::Armed => None,
            State::Done => Some(&self.after),
            State::Aborted => Some(&self.before),
        }
    }

    /// Returns true if another move may begin from this placement. Where a server has taken the place of another, or was to,
    /// the address counts: all others have old keys, or none. Other addresses may have changed since.
    pub(super) fn leaves(&self, placement: &Placement) -> bool {
        let mut replaced = self.before.replaced(&self.after);
        let is_done = self.state == State::Done;
        self.is_in_force(placement)
            && replaced.all(|(old, new)| {
                let right = if is_done { new } else { old };
                placement.has(&right.name, &right.address)
            })
    }

    /// Returns true if this placement is what is in force since the move has ended, but for addresses; a server whose place
    /// was taken is not.
    pub(super) fn is_in_force(&self, placement: &Placement) -> bool {
        let mut replaced = self.before.replaced(&self.after);
        let is_stale = self.state == State::Done
            && replaced.any(|(server, _)| placement.has(&server.name, &server.address));
        let in_force = self.in_force();
        in_force.is_some_and(|in_force| in_force.is_alike(placement)) && !is_stale
    }
}

/// The highest term of a coordinator of any move; 0 if there was none.
pub(super) fn highest_term(marks: &Marks) -> u64 {
    let marks = marks.values().filter_map(|seen| seen.mark.as_ref());
    marks.map(|mark| mark.term).max().unwrap_or_default()
}

/// The term of a new coordinator: above all that are known, and not below what the clock says. If all servers have lost their
/// marks (FLUSHALL), proxies that still run know higher terms than 1, and would take a move of a lower one for an old one.
///
/// In steps of eight seconds since 2026: so the numbers of holds stay below 2^53 for a hundred years.
pub(super) fn next_term(marks: &Marks, now: SystemTime) -> u64 {
    const YEAR_2026: Duration = Duration::from_secs(1_767_225_600);
    const STEP_SECONDS: u64 = 8;
    let since = now.duration_since(UNIX_EPOCH + YEAR_2026);
    let by_clock = since.unwrap_or_default().as_secs() / STEP_SECONDS;
    (highest_term(marks) + 1).max(by_clock)
}

/// The last move.
pub(super) fn last_move(marks: &Marks) -> Option<Told> {
    let all = marks.values().filter_map(|seen| seen.mark.as_ref());
    let last = all.clone().max_by_key(|mark| mark.term)?;
    let mut ended = all
        .filter(|mark| mark.move_id == last.move_id && mark.state != State::Armed)
        .map(|mark| mark.state);
    Some(Told {
        id: last.move_id.clone(),
        before: Arc::clone(&last.before),
        after: Arc::clone(&last.after),
        state: ended.next().unwrap_or(State::Armed),
    })
}

/// What is known of one server in a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its mark, if it is of this move.
    pub(super) mark: Option<Arc<Mark>>,
    /// The run id that it has.
    pub(super) run_id: String,
    /// All buckets of it that are known to be committed, by its mark or by a copy.
    pub(super) moved: BucketSet,
    /// The last intent for it, at any other server.
    pub(super) intent: Option<Intent>,
}

/// What a new coordinator does first about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settling {
    /// Nothing is open.
    Settled,
    /// Propose to abort this hold: the source decides itself.
    Abort(u64),
    /// Write the decision: the source was restarted, and the coordinator decides for it.
    Renew(Renewal),
    /// Write the mark, which is not there.
    Write(Renewal),
    /// Nobody can tell what a hold of that many buckets has become.
    Undecidable(usize),
}

/// A mark as it is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Renewal {
    /// The least number of its hold.
    pub(super) hold: u64,
    /// Its outcome.
    pub(super) decision: Decision,
    /// All that has moved.
    pub(super) moved: BucketSet,
}

impl Known {
    /// Puts together what the marks say of a server in a move.
    pub(super) fn of(marks: &Marks, id: &str, server: &str) -> Self {
        let of_move = |seen: &SeenMark| seen.mark.clone().filter(|mark| mark.move_id == id);
        let own = marks.get(server);
        let mark = own.and_then(of_move);
        let mut moved = mark.as_ref().map_or(BucketSet::EMPTY, |mark| mark.moved);
        let mut intent: Option<Intent> = None;
        for other in marks.values().filter_map(of_move) {
            if let Some(copy) = other.moved_elsewhere.get(server) {
                moved = moved.union(copy);
            }
            let found = other.intents.get(server);
            if found.map(|found| found.hold) > intent.as_ref().map(|intent| intent.hold) {
                intent = found.cloned();
            }
        }
        Self {
            mark,
            run_id: own.map(|seen| seen.run_id.clone()).unwrap_or_default(),
            moved,
            intent,
        }
    }

    /// What is to be done about it.
    pub(super) fn settling(&self) -> Settling {
        let intent = self.undecided_intent();
        let Some(mark) = &self.mark else {
            return match intent {
                Some(intent) if intent.run_id == self.run_id => {
                    Settling::Undecidable(intent.buckets.len())
                }
                intent => Settling::Write(self.renewal(intent)),
            };
        };
        if mark.run_id != self.run_id {
            return Settling::Renew(self.renewal(intent));
        }
        match mark.decision {
            Decision::Open => Settling::Abort(mark.hold),
            Decision::Commit | Decision::Abort => Settling::Settled,
        }
    }

    /// The intent whose outcome the mark does not tell.
    fn undecided_intent(&self) -> Option<&Intent> {
        self.intent.as_ref().filter(|intent| {
            self.mark.as_ref().is_none_or(|mark| {
                intent.hold > mark.hold
                    || (intent.hold == mark.hold && mark.decision == Decision::Open)
            })
        })
    }

    fn renewal(&self, intent: Option<&Intent>) -> Renewal {
        match intent {
            // The copies were equal then, and what was written here since, the source has lost.
            Some(intent) => Renewal {
                hold: intent.hold,
                decision: Decision::Commit,
                moved: self.moved.union(&intent.buckets),
            },
            None => Renewal {
                hold: 0,
                decision: Decision::Abort,
                moved: self.moved,
            },
        }
    }

    /// The number of its last hold.
    pub(super) fn hold(&self) -> u64 {
        self.mark.as_ref().map_or(0, |mark| mark.hold)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Distribution, ServerConfig};
    use crate::hash::HashKind;
    use crate::topology::{Bucket, hold_number};

    pub(in crate::reshard) fn set(numbers: &[u16]) -> BucketSet {
        numbers.iter().copied().filter_map(Bucket::new).collect()
    }

    pub(in crate::reshard) fn mark(hold: u64, decision: Decision, run_id: &str) -> Mark {
        let placement = Arc::new(Placement {
            hash: HashKind::Murmur,
            hash_tag: None,
            distribution: Distribution::Ketama,
            servers: Vec::new(),
        });
        Mark {
            move_id: "m".to_owned(),
            state: State::Armed,
            term: 1,
            before: Arc::clone(&placement),
            after: placement,
            hold,
            buckets: set(&[7]),
            decision,
            run_id: run_id.to_owned(),
            moved: set(&[1]),
            moved_elsewhere: BTreeMap::new(),
            intents: BTreeMap::new(),
        }
    }

    pub(in crate::reshard) fn seen(mark: Option<Mark>, run_id: &str) -> SeenMark {
        SeenMark {
            mark: mark.map(Arc::new),
            run_id: run_id.to_owned(),
        }
    }

    /// The settling of a source of run id `now` with this mark, and an intent of this hold and run id at its destination.
    fn settling(mark_there: Option<Mark>, now: &str, intent: Option<(u64, &str)>) -> Settling {
        let mut there = mark(3, Decision::Abort, "d");
        there.moved_elsewhere.insert("s".to_owned(), set(&[2]));
        if let Some((hold, run_id)) = intent {
            let intent = Intent {
                hold,
                buckets: set(&[7, 8]),
                run_id: run_id.to_owned(),
            };
            there.intents.insert("s".to_owned(), intent);
        }
        let marks = BTreeMap::from([
            ("s".to_owned(), seen(mark_there, now)),
            ("d".to_owned(), seen(Some(there), "d")),
        ]);
        Known::of(&marks, "m", "s").settling()
    }

    fn renewal(hold: u64, decision: Decision, moved: &[u16]) -> Renewal {
        Renewal {
            hold,
            decision,
            moved: set(moved),
        }
    }

    #[test]
    fn source_that_has_kept_its_run_id_decides_itself() {
        for intent in [None, Some((5, "r")), Some((4, "r"))] {
            let mark = |decision| Some(mark(5, decision, "r"));
            assert_eq!(
                settling(mark(Decision::Open), "r", intent),
                Settling::Abort(5)
            );
            for decision in [Decision::Commit, Decision::Abort] {
                assert_eq!(settling(mark(decision), "r", intent), Settling::Settled);
            }
        }
    }

    #[test]
    fn restarted_source_commits_an_intent_without_a_decision() {
        use Decision::{Abort, Commit, Open};
        for (decision, intent, expected) in [
            (Open, None, renewal(0, Abort, &[1, 2])),
            (Open, Some((5, "r")), renewal(5, Commit, &[1, 2, 7, 8])),
            (Abort, Some((6, "r")), renewal(6, Commit, &[1, 2, 7, 8])),
            // It was aborted, or is of an earlier hold.
            (Abort, Some((5, "r")), renewal(0, Abort, &[1, 2])),
            (Open, Some((4, "r")), renewal(0, Abort, &[1, 2])),
        ] {
            let settling = settling(Some(mark(5, decision, "r")), "r2", intent);
            assert_eq!(settling, Settling::Renew(expected));
        }
    }

    #[test]
    fn lost_mark_is_written_anew_from_copies_and_intents() {
        use Decision::{Abort, Commit};
        assert_eq!(
            settling(None, "r2", None),
            Settling::Write(renewal(0, Abort, &[2]))
        );
        assert_eq!(
            settling(None, "r2", Some((5, "r"))),
            Settling::Write(renewal(5, Commit, &[2, 7, 8]))
        );
        let mut other = mark(9, Decision::Open, "r");
        other.move_id = "another".to_owned();
        assert_eq!(
            settling(Some(other), "r", None),
            Settling::Write(renewal(0, Abort, &[2]))
        );
    }

    #[test]
    fn mark_that_was_deleted_beside_an_intent_is_undecidable() {
        assert_eq!(
            settling(None, "r", Some((5, "r"))),
            Settling::Undecidable(2)
        );
    }

    #[test]
    fn term_is_above_all_known_ones_and_those_that_were_lost() {
        let day = |days: u64| UNIX_EPOCH + Duration::from_secs(1_767_225_600 + days * 86_400);
        let mut known = mark(1, Decision::Abort, "r");
        known.term = 10_801;
        let marks = Marks::from([("s".to_owned(), seen(Some(known), "r"))]);
        assert_eq!(next_term(&marks, day(1)), 10_802);
        assert_eq!(next_term(&Marks::new(), day(1)), 10_800);
        assert_eq!(next_term(&Marks::new(), UNIX_EPOCH), 1);
        assert!(hold_number(next_term(&Marks::new(), day(36_500)), 0) < 1 << 53);
    }

    #[test]
    fn move_begins_where_the_last_one_has_ended() {
        let placement = |addresses: &[&str]| {
            let server = |address: &&str| ServerConfig {
                name: address[..1].to_owned(),
                address: format!("10.0.0.{}:1", &address[1..]).parse().unwrap(),
                weight: 1,
            };
            let mut placement = Placement::clone(&mark(1, Decision::Abort, "r").before);
            placement.servers = addresses.iter().map(server).collect();
            placement
        };
        let told = |before: &[&str], after: &[&str], state| Told {
            id: "m".to_owned(),
            before: Arc::new(placement(before)),
            after: Arc::new(placement(after)),
            state,
        };
        let grows = |state| told(&["a1"], &["a1", "b2"], state);
        let replaces = |state| told(&["a1", "b2"], &["a1", "b3"], state);
        for (last, from, expected) in [
            (grows(State::Done), vec!["a1", "b2"], true),
            (grows(State::Done), vec!["a1", "b9"], true),
            (grows(State::Done), vec!["a1"], false),
            (grows(State::Aborted), vec!["a1"], true),
            (grows(State::Aborted), vec!["a1", "b2"], false),
            (grows(State::Armed), vec!["a1"], false),
            (replaces(State::Done), vec!["a1", "b3"], true),
            (replaces(State::Done), vec!["a1", "b2"], false),
            (replaces(State::Done), vec!["a1", "b9"], false),
            (replaces(State::Aborted), vec!["a1", "b2"], true),
            (replaces(State::Aborted), vec!["a1", "b3"], false),
        ] {
            assert_eq!(
                last.leaves(&placement(&from)),
                expected,
                "{last:?} {from:?}"
            );
        }
    }

    #[test]
    fn last_move_is_that_of_the_highest_term_and_ends_once() {
        let mut old = mark(1, Decision::Abort, "r");
        old.move_id = "old".to_owned();
        old.state = State::Done;
        let mut new = mark(1, Decision::Abort, "r");
        new.term = 4;
        let mut ended = new.clone();
        ended.term = 3;
        ended.state = State::Aborted;
        let marks = |list: &[&Mark]| -> Marks {
            let named = list.iter().enumerate();
            named
                .map(|(nth, mark)| (nth.to_string(), seen(Some((*mark).clone()), "r")))
                .collect()
        };
        let told = last_move(&marks(&[&old, &new])).unwrap();
        assert_eq!((told.id.as_str(), told.state), ("m", State::Armed));
        let all = marks(&[&new, &ended, &old]);
        assert_eq!(last_move(&all).unwrap().state, State::Aborted);
        assert_eq!(highest_term(&all), 4);
        assert_eq!(last_move(&BTreeMap::new()), None);
    }
}
