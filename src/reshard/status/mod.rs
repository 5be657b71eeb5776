//! How far a move is, read from the marks, the notes and the connections at all servers: from any machine.

mod show;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::PoolConfig;
use crate::console::{Console, Report as _};
use crate::reshard::clients::{Client, Owner};
use crate::reshard::ended::{is_needed, unheard};
use crate::reshard::error::ReshardError;
use crate::reshard::find::marks_and_faults;
use crate::reshard::group::ALARMING;
use crate::reshard::job::Job;
use crate::reshard::knowledge::{Known, Marks, Told, highest_term, last_move};
use crate::reshard::notes::{Notes, Published};
use crate::reshard::routes::Routes;
use crate::reshard::server::{Names, Patience, Server};
use crate::reshard::worker::BUCKETS_EACH;
use crate::topology::{BucketSet, State};

use watched::Proxy;
pub(super) use watched::{SILENT, watched};

const WATCH_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Reports it, once or until a signal. Returns true if no move is under way.
pub(super) fn run(
    job: &Job<'_>,
    watch: bool,
    stops: &AtomicU32,
    console: &mut Console<'_>,
) -> Result<bool, ReshardError> {
    loop {
        let status = Status::read(job.pool)?;
        status.print(job.json, console.out)?;
        let is_over = status.is_over();
        let until = Instant::now() + WATCH_EVERY;
        while watch && Instant::now() < until && stops.load(Ordering::SeqCst) == 0 {
            thread::sleep(LOOK_EVERY);
        }
        if !watch || is_over || stops.load(Ordering::SeqCst) > 0 {
            return Ok(is_over);
        }
    }
}

/// What is known of the last move of a pool.
#[derive(Debug)]
pub struct Status {
    pool: String,
    /// None if there was never one.
    last: Option<Told>,
    term: u64,
    is_paused: bool,
    sources: Vec<Source>,
    /// By id.
    proxies: BTreeMap<String, Proxy>,
    /// The terms of the coordinators that are connected.
    coordinators: BTreeSet<u64>,
    /// Servers that do not answer.
    faults: Vec<String>,
    /// The number of those that are in use: what they know may be newer.
    missing: usize,
    /// The servers that have not heard that the move has ended.
    unheard: Vec<String>,
}

#[derive(Debug)]
struct Source {
    name: String,
    moved: BucketSet,
    held: BucketSet,
    hold: u64,
    /// A hold that was about to be committed.
    has_intent: bool,
    /// The mark is missing, or the server was restarted since.
    is_in_doubt: bool,
    /// What the last coordinator that worked there has done, and how long ago it said so.
    published: Option<(Published, Duration)>,
}

/// What was read at one server.
struct Looked {
    clients: Vec<Client>,
    seen: crate::topology::SeenMark,
    notes: Notes,
}

impl Status {
    /// Asks all servers that the marks at those of the pool tell of.
    pub fn read(pool: &PoolConfig) -> Result<Self, ReshardError> {
        let names = Names::of(pool);
        let (marks, faults) = marks_and_faults(pool, Patience::Brief)?;
        let mut status = Self {
            pool: pool.name.clone(),
            last: last_move(&marks),
            term: highest_term(&marks),
            is_paused: false,
            sources: Vec::new(),
            proxies: BTreeMap::new(),
            coordinators: BTreeSet::new(),
            faults: Vec::new(),
            missing: 0,
            unheard: Vec::new(),
        };
        let Some(last) = status.last.clone() else {
            (status.missing, status.faults) = (faults.len(), faults);
            return Ok(status);
        };
        let configs = last.before.servers_in_move(&last.after);
        let mut marks = Marks::new();
        let mut notes = BTreeMap::new();
        let mut silent = Vec::new();
        let look = |server: &Server| look(server, &names, &last);
        let looks = Server::ask_each(pool, &names, &configs, Patience::Brief, look);
        for (config, looked) in configs.iter().zip(looks) {
            match looked {
                Ok((name, looked)) => {
                    status.is_paused |= looked.notes.is_paused && last.state == State::Armed;
                    watched(&looked.clients, &names, &mut status.proxies);
                    status
                        .coordinators
                        .extend(coordinators(&looked.clients, &names));
                    marks.insert(name.clone(), looked.seen);
                    notes.insert(name, looked.notes);
                }
                Err(error) => silent.push((config, error.to_string())),
            }
        }
        status.term = highest_term(&marks).max(status.term);
        status.last = last_move(&marks).or(Some(last));
        let Some(last) = &status.last else {
            return Ok(status);
        };
        let placements = (&*last.before, &*last.after);
        for (config, fault) in silent {
            let is_needed = is_needed(&marks, &last.id, placements, config);
            status.missing += usize::from(is_needed);
            let rest = if is_needed {
                ""
            } else {
                " (it is not in use any more)"
            };
            status.faults.push(fault + rest);
        }
        status.unheard = unheard(&marks, last).map(str::to_owned).collect();
        let source = |name: &str| {
            let notes = notes.remove(name).unwrap_or_default();
            source(name, &Known::of(&marks, &last.id, name), notes)
        };
        let routes = Routes::of(&last.before, &last.after);
        status.sources = routes.sources().map(source).collect();
        Ok(status)
    }

    /// Returns true if no move is under way, for sure: all servers that are in use say so.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_armed() && self.missing == 0 && self.unheard.is_empty()
    }

    fn is_armed(&self) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|last| last.state == State::Armed)
    }

    fn has_coordinator(&self) -> bool {
        self.coordinators.contains(&self.term)
    }

    /// What should not be, for people.
    fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        if !self.is_armed() {
            return alarms;
        }
        for source in &self.sources {
            source.alarms(&mut alarms);
        }
        for (id, proxy) in &self.proxies {
            if proxy.silent >= SILENT {
                alarms.push(format!(
                    "proxy {id} has not been heard of for {} s: it delays holds until its connections are ended",
                    proxy.silent.as_secs()
                ));
            }
        }
        let said = self
            .sources
            .iter()
            .filter_map(|source| source.published.as_ref());
        let age = said.map(|(_, age)| *age).min();
        if let Some(age) = age.filter(|age| self.has_coordinator() && *age >= SILENT) {
            alarms.push(format!(
                "the coordinator is connected, and has said nothing for {} s: 'ringroad reshard run' takes over",
                age.as_secs()
            ));
        }
        alarms
    }

    /// What to type next, and how far what is said can be relied on.
    fn next(&self) -> String {
        let next = self.next_of_known();
        match self.missing {
            0 => next,
            1 => next + "; 1 server does not answer, and may know of more: look again when it does",
            count => format!(
                "{next}; {count} servers do not answer, and may know of more: look again when they do"
            ),
        }
    }

    fn next_of_known(&self) -> String {
        let Some(last) = &self.last else {
            return "no keys have been moved; 'ringroad reshard plan' shows what a move would do"
                .to_owned();
        };
        match (last.state, self.is_paused, self.has_coordinator()) {
            (State::Done, _, _) if self.unheard.is_empty() => {
                "the move is done: give the new file to all proxies".to_owned()
            }
            (State::Aborted, _, _) if self.is_over() => {
                "the move was taken back: all keys are where they were".to_owned()
            }
            (State::Done | State::Aborted, _, true) | (State::Armed, false, true) => {
                "a coordinator is at work".to_owned()
            }
            (State::Done, _, false) => format!(
                "the move is done, but {} has not heard of that: 'ringroad reshard finish' tells it",
                self.unheard.join(", ")
            ),
            (State::Aborted, _, false) => {
                "the move is being taken back, and not all servers say that they have heard of it: 'ringroad reshard abort' once \
                 more, when all answer, tells them"
                    .to_owned()
            }
            (State::Armed, true, true) => {
                "the move is paused: 'ringroad reshard resume' goes on".to_owned()
            }
            (State::Armed, true, false) => "the move is paused, and no coordinator is at work: 'ringroad reshard resume', then \
                                            'ringroad reshard run' go on"
                .to_owned(),
            (State::Armed, false, false) => {
                let has_moved = self.sources.iter().any(|source| !source.moved.is_empty());
                let are_all = self.sources.iter().all(|source| source.left() == 0);
                match (has_moved, are_all) {
                    (_, true) => "all buckets have moved, and no coordinator is at work: 'ringroad reshard finish' cleans up",
                    (true, _) => "no coordinator is at work: 'ringroad reshard run' goes on",
                    (false, _) => "no coordinator is at work: 'ringroad reshard run' goes on, 'ringroad reshard abort' takes it back",
                }
                .to_owned()
            }
        }
    }
}

impl Source {
    /// Buckets that have not moved.
    fn left(&self) -> usize {
        BUCKETS_EACH - self.moved.len()
    }

    fn alarms(&self, alarms: &mut Vec<String>) {
        let name = &self.name;
        if self.is_in_doubt {
            alarms.push(format!(
                "server '{name}' was restarted, or has lost its mark: requests for its keys that move wait until a coordinator \
                 has looked at it"
            ));
        }
        let Some((said, _)) = &self.published else {
            return;
        };
        let holds = &said.holds;
        if holds.aborted_in_a_row >= u64::from(ALARMING) {
            alarms.push(format!(
                "server '{name}': {} holds in a row were aborted, the last one since {}",
                holds.aborted_in_a_row,
                holds.last_abort.as_deref().unwrap_or_default()
            ));
        }
        if said.foreign > 0 {
            alarms.push(format!(
                "server '{name}': {} of its copies were evicted at their destinations, or changed there by others; they were \
                 made again",
                said.foreign
            ));
        }
        if said.stale > 0 {
            alarms.push(format!(
                "server '{name}': {} keys were written there after they had moved, such as {}: by no guarded proxy; nobody \
                 looks for them there",
                said.stale,
                said.stale_key.as_deref().unwrap_or_default()
            ));
        }
    }

    /// The keys that move to each destination, as far as the scan has found them, and those of them that have not moved: as
    /// many as the share of the buckets that are left.
    fn keys(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let found = self.published.iter().flat_map(|(said, _)| &said.found);
        let left = |keys: u64| keys * self.left() as u64 / BUCKETS_EACH as u64;
        found.map(move |(to, keys)| (to.as_str(), *keys, left(*keys)))
    }
}

fn look(server: &Server, names: &Names, last: &Told) -> Result<Looked, ReshardError> {
    Ok(Looked {
        seen: server.read_mark(names)?,
        clients: server.clients()?,
        notes: server.read_notes(names, &last.id)?,
    })
}

/// The terms of the coordinators among these connections.
pub(super) fn coordinators(clients: &[Client], names: &Names) -> BTreeSet<u64> {
    let owners = clients
        .iter()
        .map(|client| client.owner(&names.connections));
    let terms = owners.filter_map(|owner| match owner {
        Owner::Coordinator { term } => Some(term),
        _ => None,
    });
    terms.collect()
}

fn source(name: &str, known: &Known, notes: Notes) -> Source {
    let mark = known.mark.as_deref();
    Source {
        name: name.to_owned(),
        moved: known.moved,
        held: mark.map_or(BucketSet::EMPTY, crate::topology::Mark::held),
        hold: known.hold(),
        has_intent: known.intent.is_some(),
        // Where all has moved, nobody waits for it.
        is_in_doubt: known.moved != BucketSet::ALL
            && mark.is_none_or(|mark| mark.run_id != known.run_id),
        published: notes.published,
    }
}
