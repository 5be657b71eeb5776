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
        if self.last.is_none() && self.forgotten.as_ref() == Some(&mark.move_id) {
            // Its mark is removed here too.
            return;
        }
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

    /// Forgets what the last move has left at servers, whose marks an operator removes; and the move, if the file may decide
    /// from now on.
    pub(in crate::topology) fn forget_ended(&mut self, file: &PoolConfig) {
        let Some(last) = &self.last else {
            return;
        };
        self.forgotten = Some(last.id.clone());
        if self.leaves_it_to(file, last) {
            self.last = None;
        }
    }

    /// Returns true if a server has no longer the mark of the last move, which has ended, although it is the same process that
    /// had it when it was read last.
    pub(in crate::topology) fn lacks_ended(
        &self,
        (server, address): (&str, &ServerAddr),
        seen: &SeenMark,
    ) -> bool {
        let known = self.seen_at(server, address);
        let known = known.filter(|known| known.run_id == seen.run_id);
        let mark = known.and_then(|known| known.mark.as_deref());
        let last = self.last.as_ref();
        let last = last.filter(|last| last.state != State::Armed);
        let is_last = mark
            .zip(last)
            .is_some_and(|(mark, last)| mark.move_id == last.id);
        seen.mark.is_none() && is_last
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
        let last = self.last.as_ref().filter(|_| file.placement_guard);
        let Some(last) = last.filter(|last| !self.leaves_it_to(file, last)) else {
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

    /// Returns true if the file decides after all: an operator has removed the marks, and it says what they did, but for
    /// addresses.
    fn leaves_it_to(&self, file: &PoolConfig, last: &LastMove) -> bool {
        let in_force = match last.state {
            State::Armed => return false,
            State::Done => &last.after,
            State::Aborted => &last.before,
        };
        let of_file = Placement::of(file);
        let mut replaced = last.before.replaced(&last.after);
        let is_old = replaced.any(|(before, after)| {
            let other = if last.state == State::Done {
                before
            } else {
                after
            };
            of_file.has(&other.name, &other.address)
        });
        self.forgotten.as_ref() == Some(&last.id) && in_force.is_alike(&of_file) && !is_old
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
mod tests;
