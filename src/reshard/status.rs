//! How far a move is, read from the marks and the connections of all servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::console::{Console, Report};
use crate::reshard::clients::Owner;
use crate::reshard::error::ReshardError;
use crate::reshard::find::marks_of_file;
use crate::reshard::job::Job;
use crate::reshard::knowledge::{Known, Marks, Told, highest_term, last_move};
use crate::reshard::routes::Routes;
use crate::reshard::server::{Names, Server};
use crate::reshard::worker::BUCKETS_EACH;
use crate::text::{Align, table};
use crate::topology::State;

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
        let status = Status::read(job)?;
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

/// What is known of a move.
struct Status {
    pool: String,
    /// None if there was never one.
    last: Option<Told>,
    term: u64,
    sources: Vec<Source>,
    /// The highest hold that each proxy knew at its sources when it opened its oldest connection there.
    proxies: BTreeMap<String, u64>,
    /// The terms of the coordinators that are connected.
    coordinators: BTreeSet<u64>,
    /// Servers that do not answer.
    faults: Vec<String>,
}

struct Source {
    name: String,
    moved: usize,
    held: usize,
    hold: u64,
    /// A hold that was about to be committed.
    has_intent: bool,
    /// The mark is missing, or the server was restarted since.
    is_in_doubt: bool,
}

impl Status {
    fn read(job: &Job<'_>) -> Result<Self, ReshardError> {
        let names = Names::of(job.pool);
        let marks = marks_of_file(job.pool)?;
        let mut status = Self {
            pool: job.pool.name.clone(),
            last: last_move(&marks),
            term: highest_term(&marks),
            sources: Vec::new(),
            proxies: BTreeMap::new(),
            coordinators: BTreeSet::new(),
            faults: Vec::new(),
        };
        let Some(last) = status.last.clone() else {
            return Ok(status);
        };
        let servers = last.before.servers_with(&last.after);
        let mut marks = Marks::new();
        for opened in Server::open_each(job.pool, &names, &servers) {
            let read = opened.and_then(|server| {
                let seen = server.read_mark(&names)?;
                Ok((server.clients()?, seen, server.name))
            });
            match read {
                Ok((clients, seen, name)) => {
                    marks.insert(name, seen);
                    for client in &clients {
                        status.count(client.owner(&names.connections));
                    }
                }
                Err(error) => status.faults.push(error.to_string()),
            }
        }
        status.term = highest_term(&marks).max(status.term);
        status.last = last_move(&marks).or(Some(last));
        let Some(last) = &status.last else {
            return Ok(status);
        };
        let routes = Routes::of(&last.before, &last.after);
        status.sources = routes
            .sources()
            .map(|name| source(name, &Known::of(&marks, &last.id, name)))
            .collect();
        Ok(status)
    }

    fn count(&mut self, owner: Owner<'_>) {
        match owner {
            Owner::Proxy { id, hold } => {
                let known = self.proxies.entry(id.to_owned()).or_insert(hold);
                *known = (*known).max(hold);
            }
            Owner::Coordinator { term } => {
                self.coordinators.insert(term);
            }
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.last
            .as_ref()
            .is_none_or(|last| last.state != State::Armed)
    }

    /// What to type next.
    fn next(&self) -> String {
        let Some(last) = &self.last else {
            return "no keys have been moved; 'ringroad reshard plan' shows what a move would do"
                .to_owned();
        };
        match last.state {
            State::Done => "the move is done: give the new file to all proxies".to_owned(),
            State::Aborted => "the move was taken back: all keys are where they were".to_owned(),
            State::Armed if self.coordinators.contains(&self.term) => {
                "a coordinator is at work".to_owned()
            }
            State::Armed => {
                let moved = self.sources.iter().any(|source| source.moved > 0);
                let abort = if moved {
                    ""
                } else {
                    ", 'ringroad reshard abort' takes it back"
                };
                format!("no coordinator is at work: 'ringroad reshard run' goes on{abort}")
            }
        }
    }

    fn rows(&self) -> String {
        let heading = ["source", "moved", "held", "left", "hold", ""].map(str::to_owned);
        let row = |source: &Source| {
            [
                source.name.clone(),
                source.moved.to_string(),
                source.held.to_string(),
                (BUCKETS_EACH - source.moved).to_string(),
                short(source.hold),
                source.note().to_owned(),
            ]
        };
        let rows: Vec<_> = [heading]
            .into_iter()
            .chain(self.sources.iter().map(row))
            .collect();
        let (left, right) = (Align::Left, Align::Right);
        table([left, right, right, right, right, left], &rows)
    }
}

impl Report for Status {
    fn text(&self) -> String {
        let head = match &self.last {
            None => format!("pool '{}': no move\n", self.pool),
            Some(last) => format!(
                "pool '{}': move {} is {}, term {}\n{}",
                self.pool,
                last.id,
                last.state.name(),
                self.term,
                self.rows()
            ),
        };
        let proxies = self
            .proxies
            .iter()
            .map(|(proxy, hold)| format!("proxy {proxy}: knows of hold {}\n", short(*hold)));
        let faults = self.faults.iter().map(|fault| format!("{fault}\n"));
        let lines = [head].into_iter().chain(proxies).chain(faults);
        lines.chain([self.next() + "\n"]).collect()
    }

    fn json(&self) -> Value {
        let source = |source: &Source| {
            json!({
                "name": source.name,
                "moved": source.moved,
                "held": source.held,
                "left": BUCKETS_EACH - source.moved,
                "hold": source.hold,
                "intent": source.has_intent,
                "in_doubt": source.is_in_doubt,
            })
        };
        json!({
            "pool": self.pool,
            "move": self.last.as_ref().map(|last| &last.id),
            "state": self.last.as_ref().map(|last| last.state.name()),
            "term": self.term,
            "sources": self.sources.iter().map(source).collect::<Vec<_>>(),
            "proxies": self.proxies,
            "coordinators": self.coordinators,
            "faults": self.faults,
            "next": self.next(),
        })
    }
}

fn source(name: &str, known: &Known) -> Source {
    let mark = known.mark.as_deref();
    Source {
        name: name.to_owned(),
        moved: known.moved.len(),
        held: mark.map_or(0, |mark| mark.held().len()),
        hold: known.hold(),
        has_intent: known.intent.is_some(),
        is_in_doubt: mark.is_none_or(|mark| mark.run_id != known.run_id),
    }
}

impl Source {
    fn note(&self) -> &'static str {
        match (self.is_in_doubt, self.has_intent) {
            (true, _) => "in doubt: requests for its keys that move wait",
            (false, true) => "about to be committed",
            (false, false) => "",
        }
    }
}

/// The number of a hold as its term and its count.
fn short(hold: u64) -> String {
    format!("{}.{}", hold >> 24, hold & 0xff_ffff)
}
