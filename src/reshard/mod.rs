//! `ringroad reshard`: the keys of a pool moved to another placement while clients use them.
//!
//! ```text
//!   main thread:    checks (plan), asks; draws the progress, hears signals, reports
//!   coordinator:    term after term: take the lead (lead), then a worker for each source, then save, clean, end
//!   worker:         one Mover (`mover`) and the holds of one source: copy, follow, give away bucket after bucket (hold)
//!        \-- Board: what each is at, and the word to end
//! ```
//!
//! It follows [ADR 17](../../docs/adr/0017-moves-decided-at-the-source.md) and has no state of its own: what is known is in
//! the marks at the servers. It may be killed at any time; `run`, anywhere, goes on. `main` calls it.
//!
//! Invariants: every connection that can write carries the term in its name before the term is raised, or checks it first;
//! none is opened again after an error: a new term begins with all of them; what is decided from replies is decided in
//! pure functions (`knowledge`, `clients`, `group`, `routes`).

mod abort;
mod board;
mod clients;
mod coordinator;
mod ended;
mod error;
mod find;
mod finish;
mod functions;
mod group;
mod hold;
mod job;
mod knowledge;
mod lead;
mod notes;
mod plan;
mod progress;
mod publish;
mod pursue;
mod reach;
mod replace;
mod routes;
mod saved;
mod server;
mod status;
mod steer;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::config::PoolConfig;
use crate::console::{Console, Report as _};
use crate::reshard::board::Board;
use crate::reshard::coordinator::Goal;
use crate::reshard::find::known_goal;
use crate::reshard::finish::Left;
use crate::reshard::plan::Plan;
use crate::reshard::progress::Progress;
use crate::topology::State;

pub use error::ReshardError;
pub use job::{Action, Job, Limits};
pub use status::Status;

/// How often the workers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Does what is wanted; `stops` counts the signals. Returns true if it is done: the plan has no obstacles, all has moved,
/// the move is taken back.
pub fn run(
    job: &Job<'_>,
    stops: &AtomicU32,
    console: &mut Console<'_>,
) -> Result<bool, ReshardError> {
    match job.action {
        Action::Plan(to) => {
            let plan = Plan::of(job, to)?;
            plan.print(job.json, console.out)?;
            Ok(plan.can_start())
        }
        Action::Start(to) => start(job, to, stops, console),
        Action::Run => {
            let goal = known_goal(job.pool)?;
            go_on(job, &goal, stops, console)
        }
        Action::Pause | Action::Resume => {
            let pauses = matches!(job.action, Action::Pause);
            let text = steer::run(job.pool, pauses)?;
            say(
                job,
                console,
                if pauses { "paused" } else { "resumed" },
                &text,
            )?;
            Ok(true)
        }
        Action::Finish { forget } => finish(job, forget, stops, console),
        Action::Status { watch } => status::run(job, watch, stops, console),
        Action::Abort => {
            let goal = known_goal(job.pool)?;
            abort(job, &goal, console)
        }
    }
}

fn start(
    job: &Job<'_>,
    to: &PoolConfig,
    stops: &AtomicU32,
    console: &mut Console<'_>,
) -> Result<bool, ReshardError> {
    if !job.limits.is_confirmed && console.confirm.is_none() {
        return Err(ReshardError::Unconfirmed);
    }
    let plan = Plan::of(job, to)?;
    if !plan.can_start() {
        plan.print(job.json, console.out)?;
        return Ok(false);
    }
    if !job.json {
        write!(console.out, "{}", plan.body())?;
        console.out.flush()?;
    }
    if !job.limits.is_confirmed {
        let question = format!("Move the keys of pool '{}' now? [y/N] ", job.pool.name);
        let confirm = console.confirm.as_mut().ok_or(ReshardError::Unconfirmed)?;
        if !confirm(&question)? {
            return Ok(false);
        }
    }
    let goal = Goal {
        move_id: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
        routes: Arc::clone(&plan.routes),
        state: State::Armed,
    };
    coordinate(job, &goal, stops, console)
}

/// Goes on with a move that was begun: also with one that is being taken back.
fn go_on(
    job: &Job<'_>,
    goal: &Goal,
    stops: &AtomicU32,
    console: &mut Console<'_>,
) -> Result<bool, ReshardError> {
    if goal.state == State::Aborted {
        return abort(job, goal, console);
    }
    coordinate(job, goal, stops, console)
}

fn abort(job: &Job<'_>, goal: &Goal, console: &mut Console<'_>) -> Result<bool, ReshardError> {
    let unlinked = abort::run(job.pool, goal, job.limits)?;
    let rest = if goal.routes.is_replacement() {
        "the new servers are empty again, and replicate nothing".to_owned()
    } else {
        format!("{unlinked} copies were unlinked")
    };
    let text = format!("the move is taken back: all keys are where they were, and {rest}");
    say(job, console, "aborted", &text)?;
    Ok(true)
}

fn finish(
    job: &Job<'_>,
    forget: bool,
    stops: &AtomicU32,
    console: &mut Console<'_>,
) -> Result<bool, ReshardError> {
    let mut left = finish::left(job)?;
    if let Left::Ending = left {
        let goal = known_goal(job.pool)?;
        if !go_on(job, &goal, stops, console)? {
            return Ok(false);
        }
        left = finish::left(job)?;
    }
    let Left::Nothing(last) = left else {
        return Ok(false);
    };
    if !forget {
        let text =
            "the last move has ended, and nothing is left of it but its marks ('finish --forget')";
        say(job, console, "finished", text)?;
        return Ok(true);
    }
    let is_forgotten = finish::forget(job, &last, console)?;
    if is_forgotten {
        let text = "the marks are removed: from now on the files alone say where the keys are";
        say(job, console, "forgotten", text)?;
    }
    Ok(is_forgotten)
}

/// Runs the coordinator, and shows how far it is.
fn coordinate(
    job: &Job<'_>,
    goal: &Goal,
    stops: &AtomicU32,
    console: &mut Console<'_>,
) -> Result<bool, ReshardError> {
    if steer::is_paused(job.pool, goal) {
        let text = format!(
            "pool '{}': the move is paused; 'ringroad reshard resume' lifts that, then 'ringroad reshard run' goes on",
            job.pool.name
        );
        say(job, console, "stopped", &text)?;
        return Ok(false);
    }
    let board = Board::default();
    let started = Instant::now();
    let is_stopped = || stops.load(Ordering::SeqCst) > 0;
    let is_done = thread::scope(|scope| {
        let work = || coordinator::run(job.pool, goal, job.limits, &board, &is_stopped);
        let coordinator = scope.spawn(work);
        let mut progress = Progress::new(goal.routes.sources().count());
        while !coordinator.is_finished() {
            if is_stopped() {
                board.end();
            }
            for note in board.take_notes() {
                progress.clear(console.terminal.as_deref_mut());
                say(job, console, "note", &note)?;
            }
            if job.json {
                progress.print_json(&board, console.out)?;
            } else if let Some(terminal) = console.terminal.as_deref_mut() {
                progress.draw(&board, terminal);
            }
            thread::sleep(LOOK_EVERY);
        }
        progress.clear(console.terminal.as_deref_mut());
        for note in board.take_notes() {
            say(job, console, "note", &note)?;
        }
        coordinator.join().unwrap_or(Err(ReshardError::Thread))
    })?;
    let pool = &job.pool.name;
    let (event, text) = if is_done {
        let seconds = started.elapsed().as_secs_f64();
        (
            "done",
            format!(
                "pool '{pool}': all keys are where the new file looks for them ({seconds:.1} s); start proxies with it from \
                 now on"
            ),
        )
    } else {
        (
            "stopped",
            format!("pool '{pool}': stopped before all has moved; 'ringroad reshard run' goes on"),
        )
    };
    say(job, console, event, &text)?;
    Ok(is_done)
}

/// Prints one event.
fn say(
    job: &Job<'_>,
    console: &mut Console<'_>,
    event: &str,
    text: &str,
) -> Result<(), ReshardError> {
    if job.json {
        writeln!(console.out, "{}", json!({ "event": event, "text": text }))?;
    } else {
        let prefix = if event == "note" { "note: " } else { "" };
        writeln!(console.out, "{prefix}{text}")?;
    }
    console.out.flush()?;
    Ok(())
}
