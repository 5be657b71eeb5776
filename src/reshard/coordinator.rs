//! A whole move: term after term until all has moved, then the end.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::PoolConfig;
use crate::mover;
use crate::mover::{Clean, clean_if};
use crate::reshard::board::{Board, Phase};
use crate::reshard::error::ReshardError;
use crate::reshard::job::Limits;
use crate::reshard::knowledge::last_move;
use crate::reshard::lead::Lead;
use crate::reshard::publish::while_published;
use crate::reshard::replace::Replacer;
use crate::reshard::routes::Routes;
use crate::reshard::saved::await_saved;
use crate::reshard::worker::{Worker, databases};
use crate::topology::{BucketSet, State};

/// The wait before a new term.
const RETRY: Duration = Duration::from_secs(1);
/// The time for which new terms are tried, since the last one that took the lead.
const ANEW_FOR: Duration = Duration::from_secs(60);
/// The time for which a new term waits for a server that it can do without: with it, also that one learns of the end.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// Terms in a row that may fail without any progress.
const ANEW_TIMES: u32 = 5;

/// A move that is to be made, or gone on with.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    pub(super) move_id: String,
    pub(super) routes: Arc<Routes>,
    /// Where it stands, as far as is known: of one that has ended, servers are yet to be told.
    pub(super) state: State,
}

/// Moves all keys; returns false if it was told to end before.
pub(super) fn run(
    pool: &PoolConfig,
    goal: &Goal,
    limits: Limits<'_>,
    board: &Board,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<bool, ReshardError> {
    let mut last_term = None;
    let mut led_at = Instant::now();
    let (mut progresses, mut terms) = (0, 0);
    loop {
        board.begin();
        let led_before = led_at;
        let error = match lead(pool, goal, limits, board, &mut last_term, &mut led_at) {
            Ok(is_done) => return Ok(is_done),
            Err(error) => error,
        };
        let now = board.progresses();
        if now > progresses {
            terms = 0;
        }
        progresses = now;
        terms += u32::from(led_at != led_before);
        let is_over = terms > ANEW_TIMES || led_at.elapsed() > ANEW_FOR;
        if last_term.is_none() || is_over || !error.may_begin_anew() {
            return Err(error);
        }
        board.note(format!("beginning anew: {error}"));
        board.set_phase(Phase::Taking);
        let until = Instant::now() + RETRY;
        while Instant::now() < until {
            if is_stopped() {
                return Ok(false);
            }
            thread::sleep(RETRY / 20);
        }
    }
}

/// One term.
fn lead(
    pool: &PoolConfig,
    goal: &Goal,
    limits: Limits<'_>,
    board: &Board,
    last_term: &mut Option<u64>,
    led_at: &mut Instant,
) -> Result<bool, ReshardError> {
    board.set_phase(Phase::Taking);
    let lead = Lead::connect(pool, &goal.move_id, &goal.routes, *last_term)?;
    if last_term.is_some() && led_at.elapsed() < GONE_AFTER && !lead.without.is_empty() {
        return Err(ReshardError::Servers(lead.without));
    }
    for fault in &lead.without {
        board.note(format!(
            "{fault}; the move ends without it, since it is not used any more"
        ));
    }
    let is_replacement = goal.routes.is_replacement();
    let mut replacers = Vec::new();
    let mut workers = Vec::new();
    if is_replacement {
        if limits.per_second.is_some() {
            board.note("--rate limits copies, and replication makes none".to_owned());
        }
        replacers = Replacer::open_all(&lead, limits, board)?;
    } else {
        for source in goal.routes.sources().filter_map(|name| lead.server(name)) {
            workers.push(Worker::open(&lead, source, pool, limits, board)?);
        }
    }
    *last_term = Some(lead.term);
    let known = lead.take()?;
    *led_at = Instant::now();
    let ended = last_move(&lead.read_marks()?).map_or(State::Armed, |last| last.state);
    match ended {
        State::Armed => {}
        State::Done => {
            // It was ending; what is left is to tell all.
            lead.finish(State::Done, &[])?;
            return Ok(true);
        }
        State::Aborted => {
            return Err(ReshardError::HalfAborted(pool.name.clone()));
        }
    }
    let replacing = replacers.iter_mut().flat_map(Replacer::holders);
    let moving = workers.iter_mut().map(|worker| &mut worker.holder);
    for holder in replacing.chain(moving) {
        if let Some(known) = known.get(&holder.source.name) {
            holder.set_known(known.moved, known.hold());
        }
    }
    // One of them does it for all; where keys have moved, it was done before. Those of a server that is replaced come with its keys.
    let is_begun = workers
        .iter()
        .any(|worker| !worker.holder.moved().is_empty());
    match workers.first_mut() {
        Some(first) if !is_begun => first.gives_functions = true,
        _ => board.set_functions(),
    }
    let move_all = || -> Result<bool, ReshardError> {
        board.set_phase(Phase::Moving);
        for replacer in &mut replacers {
            if !replacer.run()? {
                return Ok(false);
            }
        }
        Ok(run_all(workers, board)? && clean_up(&lead, pool, limits, board)?)
    };
    if !while_published(pool, &lead, board, move_all)? {
        return Ok(false);
    }
    lead.finish(State::Done, &[])?;
    Ok(true)
}

/// Waits until the copies are saved, and unlinks the originals; returns false if it was told to end before.
fn clean_up(
    lead: &Lead,
    pool: &PoolConfig,
    limits: Limits<'_>,
    board: &Board,
) -> Result<bool, ReshardError> {
    board.set_phase(Phase::Saving);
    for name in lead.routes.all_destinations() {
        board.await_resume();
        // The keys of a server whose place was taken stay there: what saves nothing loses none of them by that.
        let accepts_nothing = limits.is_confirmed || lead.routes.is_replacement();
        if let Some(server) = lead.server(name)
            && !await_saved(server, board, accepts_nothing)?
        {
            return Ok(false);
        }
    }
    if lead.routes.is_replacement() {
        return Ok(!board.is_ending());
    }
    board.set_phase(Phase::Cleaning);
    for name in lead.routes.sources() {
        if let Some(server) = lead.server(name) {
            let goes = |key: &[u8]| !board.is_ending() && lead.routes.leaves(name, key);
            clean_server(lead, &server.at, pool, limits, board, &goes)?;
        }
    }
    Ok(!board.is_ending())
}

/// Runs all workers to their ends; returns true if all have moved all.
fn run_all(workers: Vec<Worker<'_>>, board: &Board) -> Result<bool, ReshardError> {
    let run = |mut worker: Worker<'_>| {
        let source = worker.holder.source.name.clone();
        match worker.run() {
            Ok(has_moved_all) => {
                debug_assert!(
                    !has_moved_all || worker.holder.moved() == BucketSet::ALL,
                    "{source}"
                );
                has_moved_all
            }
            Err(error) => {
                board.fail(error);
                false
            }
        }
    };
    let have_moved_all = thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(move || run(worker)))
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| {
                board.fail(ReshardError::Thread);
                false
            })
        });
        // All of them, whatever the first says.
        joined.fold(true, |all, one| all & one)
    });
    board.take_error().map_or(Ok(have_moved_all), Err)
}

/// Unlinks keys of a server, as long as this coordinator leads.
pub(super) fn clean_server(
    lead: &Lead,
    at: &mover::Endpoint,
    pool: &PoolConfig,
    limits: Limits<'_>,
    board: &Board,
    goes: &dyn Fn(&[u8]) -> bool,
) -> Result<u64, ReshardError> {
    let databases: Vec<_> = databases(pool).iter().map(|pair| pair.source).collect();
    let job = Clean {
        at,
        databases: &databases,
        goes,
        client_name: &lead.client_name(),
        limits: mover::Limits {
            keys: limits.per_second.map(u64::from),
            bytes: None,
        },
    };
    let mut may_begin = true;
    let unlinked = clean_if(
        &job,
        &mut |connection| {
            may_begin = lead.still_leads(connection)?;
            Ok(may_begin)
        },
        &mut |_, _| board.await_resume(),
    )?;
    if may_begin {
        return Ok(unlinked);
    }
    Err(ReshardError::Lost {
        server: at.to_string(),
    })
}
