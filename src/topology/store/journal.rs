//! The events of a pool that its store sees happen.

use std::net::SocketAddr;

use super::TopologyStore;
use crate::journal::{EventKind, PoolJournal};
use crate::topology::{HealthChange, MoveState, PoolServer, State, Topology, Transition};

impl TopologyStore {
    /// The same store, whose events are recorded in this journal.
    #[must_use]
    pub fn recording(mut self, journal: PoolJournal) -> Self {
        self.journal = journal;
        self
    }

    /// The journal for events of the pool.
    pub fn journal(&self) -> &PoolJournal {
        &self.journal
    }

    pub(super) fn record_transition(&self, transition: Transition) {
        let topology = self.topology.load();
        let index = topology.index_of(transition.server);
        if let Some(server) = index.and_then(|index| topology.server(index)) {
            let kind = match transition.change {
                HealthChange::Ejected { .. } => EventKind::ServerEjected,
                HealthChange::Returned => EventKind::ServerReturned,
            };
            let text = transition.change.to_string();
            self.journal.record_of(kind, &server.name, text);
        }
    }

    pub(super) fn record_drain(&self, server: &PoolServer, is_drained: bool) {
        let (kind, text) = if is_drained {
            (EventKind::ServerDrained, "drained by an operator")
        } else {
            (EventKind::ServerAdmitted, "admitted by an operator")
        };
        self.journal.record_of(kind, &server.name, text);
    }

    pub(super) fn record_address(&self, server: &PoolServer, address: SocketAddr) {
        let old = server.in_use();
        let old = old.map_or_else(|| server.address.to_string(), |old| old.to_string());
        let text = format!("its name stands for {address} now, was {old}");
        let kind = EventKind::AddressChanged;
        self.journal.record_of(kind, &server.name, text);
    }

    pub(super) fn record_primary(&self, server: &str, old: SocketAddr, new: SocketAddr, by: &str) {
        let text = format!("primary is {new} now, was {old}: {by} says so");
        let kind = EventKind::PrimaryChanged;
        self.journal.record_of(kind, server, text);
    }

    /// Records the beginning and the end of moves of keys, between two topologies.
    pub(super) fn record_move(&self, old: &Topology, new: &Topology) {
        let id = |topology: &Topology| topology.moving.as_ref().map(|moving| moving.id.clone());
        let (before, now) = (id(old), id(new));
        if before == now {
            return;
        }
        if let Some(ended) = before {
            let marked = new.marked.as_ref();
            let state = marked
                .filter(|marked| marked.move_id == ended)
                .map(|marked| marked.state);
            match state {
                Some(State::Done) => {
                    let text = format!("move {ended} is done: all keys have moved");
                    self.journal.record(EventKind::MoveDone, text);
                }
                Some(State::Aborted) => {
                    let text = format!("move {ended} was aborted: no key has moved");
                    self.journal.record(EventKind::MoveAborted, text);
                }
                Some(State::Armed) | None => {}
            }
        }
        if let Some(moving) = &new.moving {
            self.journal.record(EventKind::MoveBegun, begun(moving));
        }
    }
}

fn begun(moving: &MoveState) -> String {
    let (before, after) = (moving.before.servers.len(), moving.after.servers.len());
    let servers = if before == 1 { "server" } else { "servers" };
    format!(
        "move {} has begun: from {before} {servers} to {after}",
        moving.id
    )
}
