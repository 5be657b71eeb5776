//! Publishes what the coordinator does in the notes at the sources, and hears there whether it is to pause. A thread of its own,
//! with connections of its own: those of the lead must stay in step.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::PoolConfig;
use crate::console::ProgressLine;
use crate::reshard::board::{Board, PAUSED, Phase, Status};
use crate::reshard::lead::Lead;
use crate::reshard::notes::{Holds, Note, Published};
use crate::reshard::server::Server;
use crate::reshard::worker::BUCKETS_EACH;

const EVERY: Duration = Duration::from_secs(1);
/// How often the end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Publishes once a second while `work` is being done, and once after it.
pub(super) fn while_published<T>(
    pool: &PoolConfig,
    lead: &Lead,
    board: &Board,
    work: impl FnOnce() -> T,
) -> T {
    let is_done = AtomicBool::new(false);
    let mut publisher = Publisher {
        pool,
        lead,
        board,
        servers: BTreeMap::new(),
        rates: BTreeMap::new(),
    };
    // Before any work: it may be paused.
    publisher.hear();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                publisher.hear();
                publisher.publish();
                let until = Instant::now() + EVERY;
                while Instant::now() < until && !is_done.load(Ordering::SeqCst) {
                    thread::sleep(LOOK_EVERY);
                }
            }
            publisher.publish();
        });
        let _done = Done(&is_done);
        work()
    })
}

/// Ends the thread, also if the work panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Publisher<'a> {
    pool: &'a PoolConfig,
    lead: &'a Lead,
    board: &'a Board,
    /// Those that answer.
    servers: BTreeMap<String, Server>,
    rates: BTreeMap<String, ProgressLine>,
}

impl Publisher<'_> {
    /// Looks at all servers whether the move is paused. One that does not answer is no reason to go on, nor to pause: the
    /// workers find out.
    fn hear(&mut self) {
        let lead = self.lead;
        let configs = lead.routes.before.servers_in_move(&lead.routes.after);
        let missing: Vec<_> = configs
            .into_iter()
            .filter(|config| !self.servers.contains_key(&config.name))
            .filter(|config| lead.server(&config.name).is_some())
            .collect();
        for server in Server::open_each(self.pool, &lead.names, &missing)
            .into_iter()
            .flatten()
        {
            self.servers.insert(server.name.clone(), server);
        }
        let (mut is_paused, mut are_all_heard) = (false, true);
        self.servers.retain(|name, server| {
            let notes = server.read_notes(&lead.names, &lead.move_id);
            is_paused |= notes.as_ref().is_ok_and(|notes| notes.is_paused);
            // Another one may load what it replicates.
            are_all_heard &= notes.is_ok() || !lead.routes.sources().any(|source| source == name);
            notes.is_ok()
        });
        if is_paused || are_all_heard {
            self.board.set_paused(is_paused);
        }
    }

    fn publish(&mut self) {
        let (phase, pauses) = (self.board.phase(), self.board.is_paused());
        for (name, status) in self.board.sources() {
            // One that replicates takes no writes.
            let is_source = self.lead.routes.sources().any(|source| *source == name);
            let Some(server) = self.servers.get(&name).filter(|_| is_source) else {
                continue;
            };
            let copies = status.state.tally.copied + status.state.tally.deleted;
            let rate = self.rates.entry(name.clone()).or_default();
            // What a worker has begun it ends first.
            let is_idle = phase != Phase::Moving
                || status.moved == BUCKETS_EACH
                || status.pause.as_deref() == Some(PAUSED);
            let published = Published {
                phase: phase.name().to_owned(),
                is_paused: pauses && is_idle,
                per_second: rate.rate(copies, Instant::now()),
                ..published(status)
            };
            let note = Note::Progress(self.lead.by(), &published);
            if server.note(&self.lead.names, &note).is_err() {
                self.servers.remove(&name);
            }
        }
    }
}

fn published(status: Status) -> Published {
    let (state, tally) = (status.state, status.state.tally);
    Published {
        waiting: status.pause,
        scanned: state.scanned,
        is_scanned: state.is_scanned,
        found: status.found,
        copies: tally.copied + tally.deleted,
        bytes: tally.bytes,
        backlog: state.backlog as u64,
        untold: state.untold as u64,
        is_slowed: state.is_slowed,
        foreign: tally.foreign,
        stale: state.stale,
        stale_key: status.stale_key,
        holds: Holds {
            aborted: status.aborted,
            aborted_in_a_row: status.aborted_in_a_row,
            last_abort: status.last_abort,
            ..Holds::of(&status.holds)
        },
        ..Published::default()
    }
}
