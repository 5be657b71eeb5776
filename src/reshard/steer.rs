//! `pause` and `resume`: what the running coordinator, wherever it is, reads in the notes at the servers.

use std::thread;
use std::time::{Duration, Instant};

use crate::config::PoolConfig;
use crate::protocol::redis::mark::Outcome;
use crate::reshard::coordinator::Goal;
use crate::reshard::error::ReshardError;
use crate::reshard::find::known_goal;
use crate::reshard::notes::Note;
use crate::reshard::reach::reach;
use crate::reshard::server::{Names, Server};
use crate::reshard::status::{SILENT, coordinators};

/// The longest wait for the coordinator to say that it has heard.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Has the coordinator of the move under way pause, or go on. Returns what to tell the operator.
pub(super) fn run(pool: &PoolConfig, pauses: bool) -> Result<String, ReshardError> {
    let goal = known_goal(pool)?;
    let names = Names::of(pool);
    let placements = (&*goal.routes.before, &*goal.routes.after);
    let servers = reach(pool, &names, &goal.move_id, placements)?.servers;
    let mut is_told = false;
    for server in &servers {
        if server.is_replica()? {
            // It takes no writes, and repeats what its primary has.
            continue;
        }
        let note = if pauses {
            Note::Pause(&goal.move_id)
        } else {
            Note::Resume(&goal.move_id)
        };
        match server.note(&names, &note)? {
            Outcome::Done => is_told = true,
            // It has no mark of the move (any more).
            Outcome::Lost => {}
            outcome => return Err(server.refusal(outcome)),
        }
    }
    if !is_told {
        return Err(ReshardError::NoMove(pool.name.clone()));
    }
    let name = &pool.name;
    let next = if pauses {
        "until 'ringroad reshard resume' no hold begins and nothing is copied"
    } else {
        "the move goes on"
    };
    if !has_coordinator(&servers, &names)? {
        let run = if pauses {
            ", nor does 'ringroad reshard run' begin"
        } else {
            " with 'ringroad reshard run'"
        };
        return Ok(format!(
            "pool '{name}': no coordinator is at work; {next}{run}"
        ));
    }
    let until = Instant::now() + HEARD_WITHIN;
    while !has_heard(&servers, &names, &goal, pauses)? {
        if Instant::now() > until {
            return Ok(format!(
                "pool '{name}': told, but the coordinator has not confirmed it within {} s ('ringroad reshard status')",
                HEARD_WITHIN.as_secs()
            ));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(format!("pool '{name}': {next}"))
}

/// Returns true if a server of the move says that it is paused.
pub(super) fn is_paused(pool: &PoolConfig, goal: &Goal) -> bool {
    let names = Names::of(pool);
    let configs = goal.routes.before.servers_in_move(&goal.routes.after);
    // One that does not answer fails the coordinator, which says so.
    let opened = Server::open_each(pool, &names, &configs);
    opened.into_iter().flatten().any(|server| {
        let notes = server.read_notes(&names, &goal.move_id);
        notes.is_ok_and(|notes| notes.is_paused)
    })
}

fn has_coordinator(servers: &[Server], names: &Names) -> Result<bool, ReshardError> {
    for server in servers {
        if !coordinators(&server.clients()?, names).is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns true if a coordinator has said lately of all sources that it pauses there, or that it does not.
fn has_heard(
    servers: &[Server],
    names: &Names,
    goal: &Goal,
    pauses: bool,
) -> Result<bool, ReshardError> {
    let mut heard = Vec::new();
    let is_source = |server: &&Server| goal.routes.sources().any(|name| name == server.name);
    for server in servers.iter().filter(is_source) {
        let notes = server.read_notes(names, &goal.move_id)?;
        let said = notes.published.filter(|(_, age)| *age < SILENT);
        heard.extend(said.map(|(said, _)| said.is_paused == pauses));
    }
    if !heard.is_empty() && heard.iter().all(|is_so| *is_so) {
        return Ok(true);
    }
    // It may have ended in between.
    Ok(!has_coordinator(servers, names)?)
}
