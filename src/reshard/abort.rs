//! Takes a move back that has not moved anything yet.

use crate::config::PoolConfig;
use crate::reshard::board::Board;
use crate::reshard::coordinator::{Goal, clean_server};
use crate::reshard::error::ReshardError;
use crate::reshard::job::Limits;
use crate::reshard::knowledge::last_move;
use crate::reshard::lead::Lead;
use crate::reshard::replace::take_back;
use crate::topology::State;

/// Takes the lead, unlinks the copies, and ends the move as aborted. Returns their number.
pub(super) fn run(pool: &PoolConfig, goal: &Goal, limits: Limits<'_>) -> Result<u64, ReshardError> {
    let lead = Lead::connect(pool, &goal.move_id, &goal.routes, None)?;
    let known = lead.take()?;
    let state = last_move(&lead.read_marks()?).map(|last| last.state);
    let moved: usize = known.values().map(|known| known.moved.len()).sum();
    // One that is done has moved all, also if the sources did not know how many buckets that is.
    if moved > 0 || state == Some(State::Done) {
        return Err(ReshardError::Committed { moved });
    }
    if goal.routes.is_replacement() {
        let emptied = take_back(&lead)?;
        lead.finish(State::Aborted, &emptied)?;
        return Ok(0);
    }
    // Before the end is told anywhere: whoever stops in between, and aborts once more, unlinks the rest.
    let mut unlinked = 0;
    for name in lead.routes.all_destinations() {
        if let Some(server) = lead.server(name) {
            let goes = |key: &[u8]| lead.routes.arrives(name, key);
            unlinked += clean_server(&lead, &server.at, pool, limits, &Board::default(), &goes)?;
        }
    }
    lead.finish(State::Aborted, &[])?;
    Ok(unlinked)
}
