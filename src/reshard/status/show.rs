//! The two forms of a status.

use serde_json::{Value, json};

use crate::console::Report;
use crate::reshard::notes::Published;
use crate::reshard::status::watched::Proxy;
use crate::reshard::status::{Source, Status};
use crate::text::{Align, Printable, table};
use crate::topology::State;

const LEFT: Align = Align::Left;
const RIGHT: Align = Align::Right;

impl Report for Status {
    fn text(&self) -> String {
        let head = match &self.last {
            None if self.missing > 0 => {
                format!("pool '{}': no move at the servers that answer\n", self.pool)
            }
            None => format!("pool '{}': no move\n", self.pool),
            Some(last) => format!(
                "pool '{}': move {} is {}{}, term {}\n{}{}",
                self.pool,
                last.id,
                self.stands(last.state),
                if self.is_paused { " and paused" } else { "" },
                self.term,
                self.buckets(),
                self.keys(),
            ),
        };
        let is_armed = self.is_armed();
        let said = self.sources.iter();
        let said = said.filter_map(|source| said_of(source, is_armed));
        let proxies = self.proxies.iter().filter(|_| is_armed).map(|(id, proxy)| {
            format!(
                "proxy {id}: {} connections, knows of hold {}, heard of {} s ago\n",
                proxy.connections,
                short(proxy.hold),
                proxy.silent.as_secs()
            )
        });
        let faults = self.faults.iter().map(|fault| format!("{fault}\n"));
        let alarms = self.alarms();
        let alarms = alarms
            .iter()
            .map(|alarm| format!("alarm: {}\n", Printable(alarm)));
        let lines = [head].into_iter().chain(said).chain(proxies);
        let lines = lines.chain(faults).chain(alarms);
        lines.chain([self.next() + "\n"]).collect()
    }

    fn json(&self) -> Value {
        let last = self.last.as_ref();
        let proxies = self.proxies.iter().map(|(id, proxy)| proxy_json(id, proxy));
        json!({
            "pool": self.pool,
            "move": last.map(|last| &last.id),
            "state": last.map(|last| last.state.name()),
            "paused": self.is_paused,
            "term": self.term,
            "sources": self.sources.iter().map(source_json).collect::<Vec<_>>(),
            "proxies": proxies.collect::<Vec<_>>(),
            "coordinators": self.coordinators,
            "faults": self.faults,
            "missing": self.missing,
            "unheard": self.unheard,
            "over": self.is_over(),
            "alarms": self.alarms(),
            "next": self.next(),
        })
    }
}

impl Status {
    /// Where the move stands, in words.
    fn stands(&self, state: State) -> &'static str {
        match state {
            State::Aborted if !self.is_over() => "being taken back",
            State::Aborted => "taken back",
            state => state.name(),
        }
    }

    fn buckets(&self) -> String {
        let heading = ["source", "moved", "held", "left", "hold", ""].map(str::to_owned);
        let row = |source: &Source| {
            [
                source.name.clone(),
                source.moved.len().to_string(),
                source.held.len().to_string(),
                source.left().to_string(),
                short(source.hold),
                source.note().to_owned(),
            ]
        };
        let rows = self.sources.iter().map(row);
        let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
        table([LEFT, RIGHT, RIGHT, RIGHT, RIGHT, LEFT], &rows)
    }

    /// The keys from each source to each destination; nothing before a coordinator has said anything.
    fn keys(&self) -> String {
        let rows = self.sources.iter().flat_map(|source| {
            let row = |(to, keys, left): (&str, u64, u64)| {
                [
                    source.name.clone(),
                    to.to_owned(),
                    keys.to_string(),
                    left.to_string(),
                ]
            };
            source.keys().map(row).collect::<Vec<_>>()
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        let heading = ["from", "to", "keys", "left"].map(str::to_owned);
        let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
        table([LEFT, LEFT, RIGHT, RIGHT], &rows)
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

/// `s0: copying, 100 copies, 50 per second, 3 changed keys to copy; 25 holds, p50 8.0 ms, p99 18.2 ms, max 18.9 ms, 0 aborted`.
/// It waits for nothing after the end.
fn said_of(source: &Source, is_armed: bool) -> Option<String> {
    let (said, age) = source.published.as_ref()?;
    let holds = &said.holds;
    let [p50, p99, max] = [holds.p50_us, holds.p99_us, holds.max_us].map(milliseconds);
    let times = match holds.committed {
        0 => String::new(),
        _ => format!(", p50 {p50} ms, p99 {p99} ms, max {max} ms"),
    };
    let phase = phase(said);
    let slowed = if said.is_slowed {
        ", slowed down for its sake"
    } else {
        ""
    };
    let waiting = said.waiting.as_ref().filter(|_| is_armed);
    let waiting = waiting.map(|text| format!("; waiting: {}", Printable(text)));
    Some(format!(
        "{}: {phase}, {} copies, {} per second, {} changed keys to copy{slowed}; {} {}{times}, {} aborted{}; \
         {} s ago\n",
        source.name,
        said.copies,
        said.per_second,
        said.backlog,
        holds.committed,
        if holds.committed == 1 {
            "hold"
        } else {
            "holds"
        },
        holds.aborted,
        waiting.unwrap_or_default(),
        age.as_secs(),
    ))
}

fn phase(said: &Published) -> &str {
    match said.phase.as_str() {
        "moving" if !said.is_scanned => "copying",
        phase => phase,
    }
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{}", micros / 1000, micros % 1000 / 100)
}

fn source_json(source: &Source) -> Value {
    let keys = source
        .keys()
        .map(|(to, keys, left)| json!({ "to": to, "keys": keys, "left": left }));
    let said = source.published.as_ref().map(|(said, age)| {
        json!({
            "age_seconds": age.as_secs(),
            "phase": phase(said),
            "paused": said.is_paused,
            "waiting": said.waiting,
            "scanned": said.scanned,
            "is_scanned": said.is_scanned,
            "copies": said.copies,
            "bytes": said.bytes,
            "per_second": said.per_second,
            "backlog": said.backlog,
            "untold": said.untold,
            "slowed": said.is_slowed,
            "foreign": said.foreign,
            "stale": said.stale,
            "holds": said.holds,
        })
    });
    json!({
        "name": source.name,
        "moved": source.moved.len(),
        "held": source.held.len(),
        "left": source.left(),
        "moved_buckets": source.moved.to_string(),
        "held_buckets": source.held.to_string(),
        "hold": source.hold,
        "intent": source.has_intent,
        "in_doubt": source.is_in_doubt,
        "keys": keys.collect::<Vec<_>>(),
        "coordinator": said,
    })
}

fn proxy_json(id: &str, proxy: &Proxy) -> Value {
    json!({
        "id": id,
        "connections": proxy.connections,
        "hold": proxy.hold,
        "silent_seconds": proxy.silent.as_secs(),
    })
}

/// The number of a hold as its term and its count.
fn short(hold: u64) -> String {
    format!("{}.{}", hold >> 24, hold & 0xff_ffff)
}
