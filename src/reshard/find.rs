//! Finds the move that is under way: any server of the file tells of it.

use std::sync::Arc;

use crate::config::PoolConfig;
use crate::reshard::coordinator::Goal;
use crate::reshard::error::ReshardError;
use crate::reshard::knowledge::{Marks, Told, last_move};
use crate::reshard::reach::{reach, read_marks};
use crate::reshard::routes::Routes;
use crate::reshard::server::{Names, Patience, Server};
use crate::topology::{Placement, State};

/// The move that the marks at the servers of the file tell of. One server that answers is enough.
pub(super) fn known_goal(pool: &PoolConfig) -> Result<Goal, ReshardError> {
    let last = last_move(&marks_of_file(pool)?);
    let last = last.ok_or_else(|| ReshardError::NoMove(pool.name.clone()))?;
    // One that ends is armed at some of the servers yet.
    let goal = Goal {
        move_id: last.id.clone(),
        routes: Arc::new(Routes::of(&last.before, &last.after)),
        state: last.state,
    };
    let names = Names::of(pool);
    let servers = open_move(pool, &names, &last)?;
    let marks = read_marks(&servers, &names)?;
    let state = last_move(&marks).map_or(last.state, |last| last.state);
    let mut all = marks.values().filter_map(|seen| seen.mark.as_ref());
    if all.any(|mark| mark.move_id == goal.move_id && mark.state == State::Armed) {
        Ok(Goal { state, ..goal })
    } else {
        Err(ReshardError::Ended {
            pool: pool.name.clone(),
            is_done: state == State::Done,
        })
    }
}

/// Connects to the servers of a move that are needed.
pub(super) fn open_move(
    pool: &PoolConfig,
    names: &Names,
    last: &Told,
) -> Result<Vec<Server>, ReshardError> {
    let reached = reach(pool, names, &last.id, (&last.before, &last.after))?;
    Ok(reached.servers)
}

/// The marks of the servers of the file that answer; fails if none does.
pub(super) fn marks_of_file(pool: &PoolConfig) -> Result<Marks, ReshardError> {
    marks_and_faults(pool, Patience::Long).map(|(marks, _)| marks)
}

/// The same, with the errors of those that do not answer.
pub(super) fn marks_and_faults(
    pool: &PoolConfig,
    patience: Patience,
) -> Result<(Marks, Vec<String>), ReshardError> {
    let names = Names::of(pool);
    let mut marks = Marks::new();
    let mut faults = Vec::new();
    let servers = Placement::of(pool).servers;
    let read = |server: &Server| server.read_mark(&names);
    for read in Server::ask_each(pool, &names, &servers, patience, read) {
        match read {
            Ok((name, seen)) => {
                marks.insert(name, seen);
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    if marks.is_empty() {
        return Err(ReshardError::Servers(faults));
    }
    Ok((marks, faults))
}
