//! `finish`: what is left of a move whose buckets have all moved, and in the end, if wanted, its marks.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::console::Console;
use crate::protocol::redis::mark::{Change, Outcome};
use crate::reshard::clients::Fence;
use crate::reshard::error::ReshardError;
use crate::reshard::find::{marks_of_file, open_move};
use crate::reshard::job::Job;
use crate::reshard::knowledge::{Known, Marks, Told, highest_term, last_move, next_term};
use crate::reshard::reach::read_marks;
use crate::reshard::routes::Routes;
use crate::reshard::server::{Names, Server};
use crate::reshard::status::{SILENT, coordinators, watched};
use crate::reshard::worker::BUCKETS_EACH;
use crate::topology::{Placement, SeenMark, State};

/// What there is to be finished.
pub(super) enum Left {
    /// All buckets have moved; the copies are to be saved, the originals to be unlinked, the end to be told.
    Ending,
    /// Nothing.
    Nothing(Told),
}

/// Looks what is left; fails if buckets are to be moved yet.
pub(super) fn left(job: &Job<'_>) -> Result<Left, ReshardError> {
    let pool = job.pool;
    let last = last_move(&marks_of_file(pool)?);
    let last = last.ok_or_else(|| ReshardError::NoMove(pool.name.clone()))?;
    let names = Names::of(pool);
    let servers = open_move(pool, &names, &last)?;
    let marks = read_marks(&servers, &names)?;
    let is_armed = |seen: &SeenMark| {
        let mark = seen.mark.as_deref();
        mark.is_some_and(|mark| mark.move_id == last.id && mark.state == State::Armed)
    };
    if !marks.values().any(is_armed) {
        return Ok(Left::Nothing(last));
    }
    let last = last_move(&marks).unwrap_or(last);
    let routes = Routes::of(&last.before, &last.after);
    let of_source = |name| BUCKETS_EACH - Known::of(&marks, &last.id, name).moved.len();
    let buckets: usize = routes.sources().map(of_source).sum();
    if last.state == State::Armed && buckets > 0 {
        return Err(ReshardError::Unfinished { buckets });
    }
    Ok(Left::Ending)
}

/// Removes the marks of a move that has ended, if nothing speaks against it and the operator agrees. Returns true if they are
/// gone.
pub(super) fn forget(
    job: &Job<'_>,
    last: &Told,
    console: &mut Console<'_>,
) -> Result<bool, ReshardError> {
    let (pool, names) = (job.pool, Names::of(job.pool));
    let servers = open_move(pool, &names, last)?;
    let marks = read_marks(&servers, &names)?;
    let mut reasons = Vec::new();
    if !last.is_in_force(&Placement::of(pool)) {
        reasons.push(
            "the file places keys otherwise than what is in force since the move: give the file that all proxies have now"
                .to_owned(),
        );
    }
    reasons.extend(connected(job, &names, &servers)?);
    reasons.extend(too_early(&marks));
    if !reasons.is_empty() {
        return Err(ReshardError::NotForgotten(reasons));
    }
    if !job.limits.is_confirmed {
        let confirm = console.confirm.as_mut().ok_or(ReshardError::Unconfirmed)?;
        let question = format!(
            "Does the file of every proxy of pool '{}' have its servers and placement as this file has them, also of those that \
             do not run now? One that starts from an old file after this looks for keys on the wrong servers. [y/N] ",
            pool.name
        );
        if !confirm(&question)? {
            return Ok(false);
        }
    }
    for server in &servers {
        match server.change(&names, &Change::Forget(&last.id))? {
            // It has none any more, or that of a move that nobody knows.
            Outcome::Done | Outcome::Lost => {}
            outcome => return Err(server.refusal(outcome)),
        }
        server.call(&["UNLINK", &names.notes])?;
    }
    Ok(true)
}

/// Who is connected that may not know of the move.
fn connected(
    job: &Job<'_>,
    names: &Names,
    servers: &[Server],
) -> Result<Vec<String>, ReshardError> {
    let mut reasons = Vec::new();
    let mut proxies = BTreeMap::new();
    let fence = Fence {
        pool: &names.connections,
        allowed: job.limits.allowed,
        ..Fence::default()
    };
    for server in servers {
        let clients = server.clients()?;
        watched(&clients, names, &mut proxies);
        if !coordinators(&clients, names).is_empty() {
            reasons.push(format!("{}: a coordinator is connected", server.at));
        }
        if let Some(stranger) = fence.judge(&clients).stranger {
            reasons.push(format!(
                "{}: {stranger} is no connection of a guarded proxy of this pool, and may be one of a proxy with an old file: \
                 end it, or add --allow with its address",
                server.at
            ));
        }
    }
    let silent = proxies.iter().filter(|(_, proxy)| proxy.silent >= SILENT);
    reasons.extend(silent.map(|(id, proxy)| {
        let seconds = proxy.silent.as_secs();
        format!(
            "proxy {id} has not been heard of for {seconds} s, and may not know of the move: end it"
        )
    }));
    Ok(reasons)
}

/// A later move needs a higher term than this one, also if nobody tells it which one that was.
fn too_early(marks: &Marks) -> Option<String> {
    let next = next_term(&Marks::new(), SystemTime::now());
    (highest_term(marks) >= next).then(|| {
        "several moves have just ended: proxies would take the next one for an earlier one; try again in a minute".to_owned()
    })
}
