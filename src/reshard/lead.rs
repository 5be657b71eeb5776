//! The lead: the coordinator of one term, from its connections to marks that are settled.
//!
//! ```text
//! connect -> read the marks -> name all connections after the next term     (Lead::connect; the movers are opened here)
//!         -> raise the term where the move is known, end earlier coordinators
//!         -> write the marks that are not there, settle what was open, copy the commits      (Lead::take)
//! ```
//!
//! Invariants: no connection that can write is unnamed when the term is raised, or it reads the term before it writes
//! ([`Lead::still_leads`]); nothing is decided about a source before earlier coordinators are ended everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::PoolConfig;
use crate::protocol::redis::mark::{By, Change, Outcome};
use crate::redis_client::{Connection, ServerError};
use crate::reshard::clients::Owner;
use crate::reshard::ended::{outlived, replaced, under_way};
use crate::reshard::error::ReshardError;
use crate::reshard::knowledge::{
    Known, Marks, Renewal, Settling, highest_term, last_move, next_term,
};
use crate::reshard::reach::{Reached, reach, read_marks};
use crate::reshard::routes::Routes;
use crate::reshard::server::{Names, Server, read_mark};
use crate::topology::{BucketSet, Decision, State, hold_number};

/// A move, and the coordinator of one term.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) names: Names,
    pub(super) move_id: String,
    pub(super) term: u64,
    pub(super) routes: Arc<Routes>,
    /// Those of both placements that answer.
    pub(super) servers: Vec<Server>,
    /// The others, which are not needed any more: each with its error.
    pub(super) without: Vec<String>,
    /// There were marks of this move before.
    pub(super) is_taken_over: bool,
}

impl Lead {
    /// Connects to all servers that are needed, and takes the next term. `last_term` is that of this process, if it has led before: a
    /// higher one is another's.
    pub(super) fn connect(
        pool: &PoolConfig,
        move_id: &str,
        routes: &Arc<Routes>,
        last_term: Option<u64>,
    ) -> Result<Self, ReshardError> {
        let names = Names::of(pool);
        let placements = (&*routes.before, &*routes.after);
        let Reached { servers, without } = reach(pool, &names, move_id, placements)?;
        let mut lead = Self {
            servers,
            without,
            names,
            move_id: move_id.to_owned(),
            term: 0,
            routes: Arc::clone(routes),
            is_taken_over: false,
        };
        let marks = lead.read_marks()?;
        let known = highest_term(&marks);
        if let Some(last) = last_term.filter(|last| known > *last) {
            let server = lead
                .servers
                .iter()
                .find(|server| {
                    let mark = marks
                        .get(&server.name)
                        .and_then(|seen| seen.mark.as_deref());
                    mark.is_some_and(|mark| mark.term > last)
                })
                .map(|server| server.at.to_string());
            return Err(ReshardError::Superseded {
                server: server.unwrap_or_default(),
                term: known,
            });
        }
        // A move that was made since this one was planned. One that begins from now on has a higher term, and is met by that.
        let last = last_move(&marks);
        let ended = last.filter(|last| last.id != move_id && last.state != State::Armed);
        if let Some(other) = ended.filter(|other| !other.leaves(&routes.before)) {
            return Err(ReshardError::Outdated { id: other.id });
        }
        let replaced = replaced(&marks, &routes.before);
        if let Some((_, mark)) = replaced.filter(|(_, mark)| mark.move_id != move_id) {
            let id = mark.move_id.clone();
            return Err(ReshardError::Outdated { id });
        }
        // Above all terms in names, too: servers may have lost the marks that told of a coordinator, and it may be frozen.
        lead.term = next_term(&marks, SystemTime::now()).max(lead.named_term()? + 1);
        lead.is_taken_over = last_move(&marks).is_some_and(|last| last.id == move_id);
        let name = lead.client_name();
        for server in &lead.servers {
            server.call(&["CLIENT", "SETNAME", &name])?;
        }
        Ok(lead)
    }

    /// The highest term in the name of a connection; 0 if there is none.
    fn named_term(&self) -> Result<u64, ReshardError> {
        let mut highest = 0;
        for server in &self.servers {
            for client in server.clients()? {
                if let Owner::Coordinator { term } = client.owner(&self.names.connections) {
                    highest = highest.max(term);
                }
            }
        }
        Ok(highest)
    }

    /// The name of all its connections.
    pub(super) fn client_name(&self) -> String {
        self.names.coordinator(self.term)
    }

    pub(super) fn by(&self) -> By<'_> {
        By {
            move_id: &self.move_id,
            term: self.term,
        }
    }

    pub(super) fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Reads the marks of all servers.
    pub(super) fn read_marks(&self) -> Result<Marks, ReshardError> {
        read_marks(&self.servers, &self.names)
    }

    /// Takes the lead at all servers, and settles what was left open. Returns what is known of each server then, also of those
    /// that do not answer any more. Keys may be copied and unlinked only after that.
    pub(super) fn take(&self) -> Result<BTreeMap<String, Known>, ReshardError> {
        self.end_outlived()?;
        let marks = self.read_marks()?;
        self.expect_no_other(&marks)?;
        for server in self.in_order() {
            if Known::of(&marks, &self.move_id, &server.name)
                .mark
                .is_some()
            {
                self.arm(server, 0, &BucketSet::EMPTY)?;
            }
        }
        self.end_earlier()?;
        // No earlier coordinator writes any more where the term was raised; and none where there is no mark. Nor does any make
        // a replica of a server, or a primary: what they are now is what they are until this one changes it.
        let replicas = self.replicas()?;
        let is_replica = |server: &&Server| replicas.contains(&server.name.as_str());
        let marks = self.read_marks()?;
        for server in self.in_order().filter(|server| !is_replica(server)) {
            match self.known(&marks, server).settling() {
                Settling::Undecidable(buckets) => {
                    return Err(ReshardError::Undecidable {
                        server: server.at.to_string(),
                        buckets,
                    });
                }
                Settling::Write(Renewal { hold, moved, .. }) => {
                    let place = self.routes.place_of(&server.name);
                    let is_waiting = place.is_some_and(|source| {
                        let moved = Known::of(&marks, &self.move_id, source).moved;
                        moved.is_empty()
                    });
                    if is_waiting {
                        server.expect_empty(&self.names)?;
                    }
                    self.arm(server, hold, &moved)?;
                }
                _ => {}
            }
        }
        self.end_earlier()?;
        let marks = self.read_marks()?;
        for server in self.servers.iter().filter(|server| !is_replica(server)) {
            self.settle(server, &self.known(&marks, server).settling())?;
        }
        let marks = self.read_marks()?;
        self.copy_commits(&marks, &replicas)?;
        let all = self.routes.before.servers_in_move(&self.routes.after);
        let known = all.into_iter().map(|server| {
            let known = Known::of(&marks, &self.move_id, &server.name);
            (server.name, known)
        });
        Ok(known.collect())
    }

    /// The first server of the placement before the move comes first: of two that start a move at once, one is refused
    /// there before it has changed anything.
    fn in_order(&self) -> impl Iterator<Item = &Server> {
        let first = self.routes.before.servers.first();
        let is_first = move |server: &&Server| first.is_some_and(|first| first.name == server.name);
        let firsts = self.servers.iter().filter(is_first);
        firsts.chain(self.servers.iter().filter(move |server| !is_first(server)))
    }

    /// The servers that are to take the places of others, and are replicas yet.
    fn replicas(&self) -> Result<Vec<&str>, ReshardError> {
        let mut replicas = Vec::new();
        for server in &self.servers {
            if server.is_replica()? {
                replicas.push(server.name.as_str());
            }
        }
        Ok(replicas)
    }

    /// Ends moves at servers that have not heard of their ends, or have lost it in a failover.
    fn end_outlived(&self) -> Result<(), ReshardError> {
        let marks = self.read_marks()?;
        for (name, mark, state) in outlived(&marks, &self.move_id, &self.routes.before) {
            let by = By {
                move_id: &mark.move_id,
                term: mark.term,
            };
            if let Some(server) = self.server(name) {
                server.change_surely(&self.names, &Change::Finish(by, state))?;
            }
        }
        Ok(())
    }

    /// Fails if another move is under way at any server: one that was begun since this one was planned. It would be met at the
    /// first server, too, but for one that has lost its mark.
    fn expect_no_other(&self, marks: &Marks) -> Result<(), ReshardError> {
        let Some((name, id)) = under_way(marks, &self.move_id) else {
            return Ok(());
        };
        let server = self.server(name);
        Err(ReshardError::Busy {
            server: server.map_or_else(|| name.to_owned(), |server| server.at.to_string()),
            id: id.to_owned(),
        })
    }

    fn known(&self, marks: &Marks, server: &Server) -> Known {
        Known::of(marks, &self.move_id, &server.name)
    }

    fn arm(&self, server: &Server, hold: u64, moved: &BucketSet) -> Result<(), ReshardError> {
        let change = Change::Arm {
            move_id: &self.move_id,
            term: self.term,
            before: &self.routes.before,
            after: &self.routes.after,
            hold: hold.max(hold_number(self.term, 0)),
            moved,
        };
        server.change_surely(&self.names, &change)
    }

    /// Ends the connections of coordinators of lower terms.
    fn end_earlier(&self) -> Result<(), ReshardError> {
        for server in &self.servers {
            for client in server.clients()? {
                let owner = client.owner(&self.names.connections);
                if matches!(owner, Owner::Coordinator { term } if term < self.term) {
                    server.end_client(&client.id)?;
                }
            }
        }
        Ok(())
    }

    fn settle(&self, server: &Server, settling: &Settling) -> Result<(), ReshardError> {
        match settling {
            Settling::Settled => Ok(()),
            Settling::Abort(hold) => {
                let change = Change::Abort {
                    move_id: &self.move_id,
                    hold: *hold,
                };
                match server.change(&self.names, &change)? {
                    Outcome::Decided(Decision::Abort | Decision::Commit) => Ok(()),
                    outcome => Err(server.refusal(outcome)),
                }
            }
            Settling::Renew(renewal) => {
                let change = Change::Settle {
                    by: self.by(),
                    hold: renewal.hold.max(hold_number(self.term, 1)),
                    decision: renewal.decision,
                    moved: &renewal.moved,
                };
                server.change_surely(&self.names, &change)
            }
            // It has changed since a moment ago.
            Settling::Write(_) | Settling::Undecidable(_) => Err(server.refusal(Outcome::Lost)),
        }
    }

    /// Copies what has moved from each source to all others, and removes the intents: they are settled.
    fn copy_commits(&self, marks: &Marks, replicas: &[&str]) -> Result<(), ReshardError> {
        // Also those that do not answer any more.
        for source in self.routes.before.servers_in_move(&self.routes.after) {
            let moved = Known::of(marks, &self.move_id, &source.name).moved;
            for other in self.others(&source.name) {
                if replicas.contains(&other.name.as_str()) {
                    continue;
                }
                let mark = marks.get(&other.name).and_then(|seen| seen.mark.as_deref());
                let has_copy = mark.is_some_and(|mark| {
                    let copy = mark.moved_elsewhere.get(&source.name);
                    copy.map_or(BucketSet::EMPTY, |copy| *copy) == moved
                        && !mark.intents.contains_key(&source.name)
                });
                if !has_copy {
                    let change = Change::CopyMoved(self.by(), &source.name, &moved);
                    other.change_surely(&self.names, &change)?;
                }
            }
        }
        Ok(())
    }

    /// All servers but this one; its destinations first.
    pub(super) fn others(&self, source: &str) -> impl Iterator<Item = &Server> {
        let destinations = self.routes.destinations(source);
        let is_destination = move |server: &&Server| destinations.contains(&server.name);
        let firsts = self.servers.iter().filter(is_destination);
        let rest = self
            .servers
            .iter()
            .filter(move |server| !is_destination(server));
        firsts
            .chain(rest)
            .filter(move |server| server.name != source)
    }

    /// Asks a server over a connection that was opened after the term was raised whether it is still this coordinator's: if
    /// so, the next one ends it by its name.
    pub(super) fn still_leads(&self, connection: &mut Connection) -> Result<bool, ServerError> {
        let seen = read_mark(connection, &self.names)?;
        let mark = seen.ok().and_then(|seen| seen.mark);
        Ok(mark.is_some_and(|mark| mark.move_id == self.move_id && mark.term == self.term))
    }

    /// Ends the move at all servers but these, those with keys that have arrived first.
    pub(super) fn finish(&self, state: State, without: &[&str]) -> Result<(), ReshardError> {
        let is_destination = |server: &&Server| {
            self.routes
                .all_destinations()
                .any(|name| name == server.name)
        };
        let firsts = self.servers.iter().filter(is_destination);
        let rest = self.servers.iter().filter(|server| !is_destination(server));
        for server in firsts.chain(rest) {
            if without.contains(&server.name.as_str()) {
                continue;
            }
            server.change_surely(&self.names, &Change::Finish(self.by(), state))?;
        }
        Ok(())
    }
}
