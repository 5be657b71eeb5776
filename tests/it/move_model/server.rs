//! The actions of the servers: what they execute, in the order of each connection.

use super::search::Actions;
use super::state::{BUCKETS, CONNECTIONS, COORDINATORS, Handshake, Phase, State};

/// Lists what the servers can execute.
pub(super) fn actions(state: &State, out: &mut Actions) {
    for connection in 0..CONNECTIONS {
        if !state.connections[connection].alive {
            continue;
        }
        out.of("source", usize::from(state.connections[connection].source));
        answers_a_handshake(state, connection, out);
        for bucket in 0..BUCKETS {
            executes_a_write(state, connection, bucket, out);
        }
    }
    for coordinator in 0..COORDINATORS {
        out.of("destination", 0);
        executes_a_copy(state, coordinator, out);
    }
}

fn answers_a_handshake(state: &State, index: usize, out: &mut Actions) {
    let connection = state.connections[index];
    if connection.handshake != Handshake::Asked {
        return;
    }
    let mut next = *state;
    let view = state.view(usize::from(connection.source));
    next.connections[index].handshake = Handshake::Answered(view);
    out.push_with("answers the handshake of connection", id(index), next);
}

fn executes_a_write(state: &State, index: usize, bucket: usize, out: &mut Actions) {
    let connection = state.connections[index];
    if connection.writes[bucket].is_empty() {
        return;
    }
    let what = "executes a write of connection";
    if state.truth.committed.has(bucket) {
        out.violate(
            what,
            "I1: a request is executed at the source after the commit",
        );
    }
    let write = connection.writes[bucket].first();
    let mut next = *state;
    let writes = &mut next.connections[index].writes[bucket];
    writes.0 &= writes.0 - 1;
    let source = usize::from(connection.source);
    let data = &mut next.sources[source].data[bucket];
    *data = data.with(write);
    let worker = &state.workers[usize::from(connection.worker)];
    if usize::from(worker.connection[source]) == index {
        let acknowledged = &mut next.truth.acknowledged[bucket];
        *acknowledged = acknowledged.with(write);
    } else if next.connections[index].is_idle() {
        // The proxy has closed it already, and the server sees that now.
        next.kill(index);
    }
    out.push_with(what, id(index), next);
}

/// Step 4, *sync*: a RESTORE is no script, so it knows no term; it is executed if its connection is open.
fn executes_a_copy(state: &State, index: usize, out: &mut Actions) {
    let coordinator = state.coordinators[index];
    if coordinator.phase != Phase::Restoring || !coordinator.at_destination {
        return;
    }
    let what = "executes a copy";
    let bucket = usize::from(coordinator.bucket);
    if state.truth.committed.has(bucket) {
        out.violate(
            what,
            "I3: a copy is executed at the destination after the commit",
        );
    }
    let mut next = *state;
    next.destination.data[bucket] = coordinator.copy;
    next.coordinators[index].phase = Phase::Restored;
    out.push(what, next);
}

fn id(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}
