//! What the marks at the servers say of the file: during a move, and after it with the other file, keys are in use where
//! the file does not look for them.

use std::sync::Arc;

use bytes::BytesMut;

use crate::config::PoolConfig;
use crate::protocol::redis::mark;
use crate::topology::{Mark, Placement, SeenMark, State};
use crate::verify::servers::Server;

/// Why strays may be in use.
pub(super) enum Danger {
    /// Keys are being moved.
    Moving,
    /// The file is not what is in force since the last move.
    Outdated,
    /// The mark of this server cannot be read.
    Unreadable(String),
}

/// Reads the marks of a pool; returns what they say against unlinking what the file takes for strays.
pub(super) fn danger(pool: &PoolConfig, servers: &[Server]) -> Option<Danger> {
    let key = Mark::key(&pool.name, pool.redis_db);
    let mut marks = Vec::new();
    // Where one does not tell its run id, nothing is unlinked anyway.
    for server in servers.iter().filter(|server| server.is_identified) {
        let Some(seen) = read(server, &key) else {
            return Some(Danger::Unreadable(server.name.clone()));
        };
        marks.extend(seen.mark);
    }
    judge(&marks, &Placement::of(pool))
}

/// A server that fails here fails in the scan, which says why.
fn read(server: &Server, key: &str) -> Option<SeenMark> {
    let replies = server.ask(0, |connection| {
        let mut requests = BytesMut::new();
        mark::write_read(key, &mut requests);
        connection.queue_written(&requests, 2);
        connection.finish()
    });
    match replies.ok()?.as_slice() {
        [fields, info] => mark::read(fields, info).ok(),
        _ => None,
    }
}

fn judge(marks: &[Arc<Mark>], file: &Placement) -> Option<Danger> {
    let last = marks.iter().max_by_key(|mark| mark.term)?;
    let mut told = marks.iter().filter(|mark| mark.move_id == last.move_id);
    // A move ends once: if one server says so, the others have not heard of it.
    let Some(ended) = told.find(|mark| mark.state != State::Armed) else {
        return Some(Danger::Moving);
    };
    let is_done = ended.state == State::Done;
    let in_force = if is_done { &last.after } else { &last.before };
    let mut replaced = last.before.replaced(&last.after);
    let is_stale = replaced.any(|(old, new)| {
        let wrong = if is_done { old } else { new };
        file.has(&wrong.name, &wrong.address)
    });
    (is_stale || !in_force.is_alike(file)).then_some(Danger::Outdated)
}
