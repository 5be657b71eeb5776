//! What the marks say of moves that have ended, and of servers that are not in use any more. Pure.

use crate::config::ServerConfig;
use crate::reshard::knowledge::{Known, Marks, Told};
use crate::topology::{BucketSet, Mark, Placement, SeenMark, State};

/// The servers at which an earlier move than this one, which begins with the placement `before`, is still armed although
/// it has ended; with how it has ended. Another server says so, or this move has begun, or one between them has ended: none
/// would have before that. Keys that have moved are not taken back, so one that was taken back has moved none.
pub(super) fn outlived<'a>(
    marks: &'a Marks,
    id: &str,
    before: &Placement,
) -> Vec<(&'a str, &'a Mark, State)> {
    let all = || marks.values().filter_map(|seen| seen.mark.as_deref());
    let begun = all().filter(|mark| mark.move_id == id);
    let begun = begun.map(|mark| mark.term).max();
    let end = |armed: &Mark| {
        let mut told = all().filter(|mark| mark.move_id == armed.move_id);
        let told = told.find(|mark| mark.state != State::Armed);
        let is_earlier = begun.is_some_and(|term| armed.term < term);
        let has_moved = || {
            let mut told = all().filter(|mark| mark.move_id == armed.move_id);
            told.any(has_moved)
        };
        // A later one has even ended.
        let is_past = all().any(|mark| {
            mark.state != State::Armed && mark.move_id != armed.move_id && mark.term > armed.term
        });
        let state = if armed.after.is_alike(before) || (is_past && has_moved()) {
            Some(State::Done)
        } else {
            Some(State::Aborted).filter(|_| !has_moved())
        };
        told.map(|mark| mark.state)
            .or_else(|| state.filter(|_| is_earlier || is_past))
    };
    let armed = marks.iter().filter_map(|(server, seen)| {
        let mark = seen.mark.as_deref()?;
        let is_other = mark.state == State::Armed && mark.move_id != id;
        Some((server.as_str(), mark)).filter(|_| is_other)
    });
    armed
        .filter_map(|(server, mark)| Some((server, mark, end(mark)?)))
        .collect()
}

/// Returns true if a mark tells of keys that have moved, or may have.
fn has_moved(mark: &Mark) -> bool {
    let mut copies = mark.moved_elsewhere.values();
    !mark.moved.is_empty() || copies.any(|copy| !copy.is_empty()) || !mark.intents.is_empty()
}

/// The first server at which another move than this one is under way, with its id. Nothing of this one may begin before that
/// has ended: not even a mark at a server that has lost the other's.
pub(super) fn under_way<'a>(marks: &'a Marks, id: &str) -> Option<(&'a str, &'a str)> {
    marks.iter().find_map(|(server, seen)| {
        let mark = seen.mark.as_deref()?;
        let is_other = mark.state == State::Armed && mark.move_id != id;
        is_other.then_some((server.as_str(), mark.move_id.as_str()))
    })
}

/// Returns true if a move can neither go on nor end without a server, of those that [`Placement::servers_in_move`] tells.
/// Two kinds may be gone for good: one that is not in use since the move has ended, whoever has not heard of that; and one
/// whose place another has taken, as soon as the mark of any other server says so. ADR 17 has the reasons.
pub(super) fn is_needed(
    marks: &Marks,
    id: &str,
    (before, after): (&Placement, &Placement),
    server: &ServerConfig,
) -> bool {
    let mut used = match state(marks, id) {
        State::Done => after.servers.iter(),
        State::Aborted => before.servers.iter(),
        State::Armed => {
            let is_old =
                |old: &ServerConfig| old.name == server.name && old.address == server.address;
            let is_replaced = before.replaced(after).any(|(old, _)| is_old(old));
            return !is_replaced || Known::of(marks, id, &server.name).moved != BucketSet::ALL;
        }
    };
    used.any(|used| used.address == server.address)
}

/// The first server of a placement whose own mark says that another has taken its place: its keys are old. With that mark.
pub(super) fn replaced<'a>(
    marks: &'a Marks,
    placement: &'a Placement,
) -> Option<(&'a ServerConfig, &'a Mark)> {
    let of_server = |server: &'a ServerConfig| {
        let mark = marks.get(&server.name)?.mark.as_deref()?;
        let is_over = mark.state == State::Done || mark.moved == BucketSet::ALL;
        let mut pairs = mark.before.replaced(&mark.after);
        let is_it = pairs.any(|(old, _)| old.name == server.name && old.address == server.address);
        (is_over && is_it).then_some((server, mark))
    };
    placement.servers.iter().find_map(of_server)
}

/// The servers that have not heard that a move has ended: to their marks it is still under way.
pub(super) fn unheard<'m>(marks: &'m Marks, last: &Told) -> impl Iterator<Item = &'m str> {
    let is_unheard = |seen: &SeenMark| {
        let mark = seen.mark.as_deref();
        mark.is_some_and(|mark| mark.move_id == last.id && mark.state == State::Armed)
    };
    let servers = marks.iter().filter(|_| last.state != State::Armed);
    servers
        .filter(move |(_, seen)| is_unheard(seen))
        .map(|(server, _)| server.as_str())
}

/// Where a move stands: it ends once, so one server that says so is enough.
fn state(marks: &Marks, id: &str) -> State {
    let marks = marks.values().filter_map(|seen| seen.mark.as_deref());
    let mut ended = marks.filter(|mark| mark.move_id == id && mark.state != State::Armed);
    ended.next().map_or(State::Armed, |mark| mark.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reshard::knowledge::tests::{mark, seen};
    use crate::topology::{Bucket, Decision};

    #[test]
    fn ended_move_is_outlived_where_it_is_armed_yet() {
        use State::{Aborted, Armed, Done};
        let of = |id: &str, term, state| {
            let mut mark = mark(1, Decision::Abort, "r");
            (mark.move_id, mark.term, mark.state) = (id.to_owned(), term, state);
            Some(mark)
        };
        let found = |marks: [Option<Mark>; 3]| -> Vec<(String, State)> {
            let named = ["a", "b", "c"].map(str::to_owned).into_iter().zip(marks);
            let marks: Marks = named.map(|(name, mark)| (name, seen(mark, "r"))).collect();
            let before = mark(1, Decision::Abort, "r").before;
            let found = outlived(&marks, "new", &before).into_iter();
            found
                .map(|(server, _, state)| (server.to_owned(), state))
                .collect()
        };
        for state in [Done, Aborted] {
            let marks = [of("old", 3, state), of("old", 3, Armed), None];
            assert_eq!(found(marks), [("b".to_owned(), state)]);
        }
        let begun = || of("new", 4, Armed);
        let marks = [begun(), of("old", 3, Armed), begun()];
        assert_eq!(found(marks), [("b".to_owned(), Done)]);
        let under_way = [None, of("old", 3, Armed), of("older", 2, Done)];
        let later = [begun(), of("later", 5, Armed), None];
        for marks in [under_way, later, [begun(), begun(), begun()]] {
            assert_eq!(found(marks), []);
        }
    }

    #[test]
    fn move_that_has_moved_keys_is_never_taken_back() {
        use State::{Aborted, Armed, Done};
        let of = |id: &str, term, state| {
            let mut mark = mark(1, Decision::Abort, "r");
            (mark.move_id, mark.term, mark.state) = (id.to_owned(), term, state);
            mark.moved = BucketSet::EMPTY;
            mark
        };
        let some: BucketSet = Bucket::new(7).into_iter().collect();
        let mut own = of("old", 3, Armed);
        own.moved = some;
        let mut copy = of("old", 3, Armed);
        copy.moved_elsewhere = [("b".to_owned(), some)].into();
        let nothing = of("old", 3, Armed);
        let found = |told: &Mark, before: &Placement| {
            let marks = [of("new", 4, Armed), of("old", 3, Armed), told.clone()];
            let named = ["a", "b", "c"].map(str::to_owned).into_iter().zip(marks);
            let marks: Marks = named
                .map(|(name, mark)| (name, seen(Some(mark), "r")))
                .collect();
            let found = outlived(&marks, "new", before).into_iter();
            found.map(|(_, _, state)| state).collect::<Vec<_>>()
        };
        // It ended otherwise than with the placement that the new move begins with, or not at all.
        let other = placement(&["a1", "b2"]);
        assert_eq!(found(&nothing, &other), [Aborted, Aborted]);
        for told in [&own, &copy] {
            assert_eq!(found(told, &other), []);
            assert_eq!(found(told, &nothing.after), [Done, Done]);
        }
        // Of another one that came between them.
        let between = |told: &Mark| {
            let marks = [of("between", 4, Done), told.clone()];
            let named = ["a", "b"].map(str::to_owned).into_iter().zip(marks);
            let marks: Marks = named
                .map(|(name, mark)| (name, seen(Some(mark), "r")))
                .collect();
            let found = outlived(&marks, "new", &other).into_iter();
            found.map(|(_, _, state)| state).collect::<Vec<_>>()
        };
        assert_eq!(between(&own), [Done]);
        assert_eq!(between(&nothing), [Aborted]);
    }

    #[test]
    fn other_move_under_way_is_found_at_any_server() {
        let of = |id: &str, state| {
            let mut mark = mark(1, Decision::Abort, "r");
            (mark.move_id, mark.state) = (id.to_owned(), state);
            Some(mark)
        };
        let found = |marks: [Option<Mark>; 3]| {
            let named = ["a", "b", "c"].map(str::to_owned).into_iter().zip(marks);
            let marks: Marks = named.map(|(name, mark)| (name, seen(mark, "r"))).collect();
            under_way(&marks, "new").map(|(server, id)| format!("{server} {id}"))
        };
        let armed = || of("old", State::Armed);
        assert_eq!(found([None, None, armed()]).as_deref(), Some("c old"));
        assert_eq!(found([None, of("new", State::Armed), None]), None);
        assert_eq!(found([of("old", State::Done), None, None]), None);
    }

    /// A placement of servers such as `a1`: the name, and the last digit of the address.
    fn placement(servers: &[&str]) -> Placement {
        let server = |text: &&str| ServerConfig {
            name: text[..1].to_owned(),
            address: format!("10.0.0.{}:1", &text[1..]).parse().unwrap(),
            weight: 1,
        };
        let mut placement = Placement::clone(&mark(1, Decision::Abort, "r").before);
        placement.servers = servers.iter().map(server).collect();
        placement
    }

    #[test]
    fn server_is_needed_until_its_place_is_taken_or_the_end() {
        use State::{Aborted, Armed, Done};
        let needed = |before: &Placement, after: &Placement, state, copy: Option<BucketSet>| {
            let mut told = mark(1, Decision::Abort, "r");
            told.state = state;
            told.moved_elsewhere
                .extend(copy.map(|moved| ("a".to_owned(), moved)));
            let marks = Marks::from([("b".to_owned(), seen(Some(told), "r"))]);
            let configs = before.servers_in_move(after).into_iter();
            let needed = configs.filter(|config| is_needed(&marks, "m", (before, after), config));
            let names: Vec<_> = needed.map(|config| config.name).collect();
            names.join(" ")
        };
        let (old, new) = (placement(&["a1", "b2"]), placement(&["a3", "b2"]));
        let some: BucketSet = Bucket::new(7).into_iter().collect();
        let all = "a a@10.0.0.3:1 b";
        assert_eq!(needed(&old, &new, Armed, None), all);
        assert_eq!(needed(&old, &new, Armed, Some(some)), all);
        let taken = "a@10.0.0.3:1 b";
        assert_eq!(needed(&old, &new, Armed, Some(BucketSet::ALL)), taken);
        assert_eq!(needed(&old, &new, Done, None), taken);
        assert_eq!(needed(&old, &new, Aborted, None), "a b");
        // Of one that is removed the keys are to be unlinked.
        let small = placement(&["b2"]);
        assert_eq!(needed(&old, &small, Armed, Some(BucketSet::ALL)), "a b");
        assert_eq!(needed(&old, &small, Done, None), "b");
    }
}
