//! What a move would do, and all that prevents it.

mod commands;
mod files;
mod functions;
mod keys;
mod replicas;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::PoolConfig;
use crate::console::Report;
use crate::reshard::error::ReshardError;
use crate::reshard::group::least_holds;
use crate::reshard::job::Job;
use crate::reshard::plan::servers::{Looked, Surveyed};
use crate::reshard::routes::Routes;
use crate::text::{Align, Printable, size, table};
use crate::topology::{MovedKeys, Percent, Placement};

/// Keys per second of one source that are assumed without `--rate`: what a server without other work gives away.
const USUAL_RATE: u32 = 50_000;

/// A move that may be made.
#[derive(Debug)]
pub(super) struct Plan {
    pool: String,
    pub(super) routes: Arc<Routes>,
    moved: MovedKeys,
    /// What prevents it, and what to do about each.
    obstacles: Vec<String>,
    /// What may be misunderstood, or go wrong.
    warnings: Vec<String>,
    rows: Vec<Row>,
    /// How long the copies take, about.
    time: Duration,
    /// The longest time of a hold.
    hold: Duration,
    looked: Looked,
}

/// What moves from one server to another.
#[derive(Debug)]
struct Row {
    from: String,
    to: String,
    share: f64,
    keys: u64,
    bytes: u64,
}

impl Plan {
    /// Compares both pools, and asks all servers.
    pub(super) fn of(job: &Job<'_>, to: &PoolConfig) -> Result<Self, ReshardError> {
        let from = job.pool;
        let (before, after) = (Placement::of(from), Placement::of(to));
        let mut obstacles = files::obstacles(from, to, job.by_replication);
        let routes = Arc::new(Routes::of(&Arc::new(before), &Arc::new(after)));
        let moved = routes.moved();
        let mut warnings = Vec::new();
        let mut surveyed = Surveyed::default();
        // What files alone forbid needs no servers; what is there may not even be servers of Redis.
        if obstacles.is_empty() {
            surveyed = Surveyed::of(job, &routes, &mut obstacles, &mut warnings)?;
        }
        let rows = rows(&moved, &surveyed);
        let rate = u64::from(job.limits.per_second.unwrap_or(USUAL_RATE)).max(1);
        let of_source = |name: &str| {
            let own = rows.iter().filter(|row| row.from == name);
            own.map(|row| row.keys).sum::<u64>()
        };
        let most = routes.sources().map(of_source).max().unwrap_or_default();
        Ok(Self {
            pool: from.name.clone(),
            moved,
            obstacles,
            warnings,
            time: Duration::from_secs(most / rate),
            hold: job.limits.hold,
            looked: surveyed.looked,
            rows,
            routes,
        })
    }

    /// Returns true if nothing prevents it.
    pub(super) fn can_start(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// How clients notice the move.
    fn holds(&self) -> String {
        let longest = self.hold.as_millis();
        if self.routes.is_replacement() {
            return format!(
                "replication takes as long as the servers need; then each source has one hold, in which requests for its keys wait: \
                 usually some ms, at most about {longest} ms (--hold)\n"
            );
        }
        format!(
            "copying takes about {} s\nthen each source has at least {} holds, in each of which requests for some keys wait: \
             usually some ms, at most about {longest} ms (--hold)\n",
            self.time.as_secs(),
            self.least_holds(),
        )
    }

    /// The holds of each source, if none is aborted.
    fn least_holds(&self) -> usize {
        if self.routes.is_replacement() {
            1
        } else {
            least_holds()
        }
    }

    /// How far the look for big keys has gone.
    fn looked(&self) -> String {
        if self.looked.are_all {
            return String::new();
        }
        format!(
            "{} keys were looked at for big ones; plan --big-keys looks at all\n",
            self.looked.keys
        )
    }

    /// What it would do, and what speaks against it, for people: without a word about how to start it.
    pub(super) fn body(&self) -> String {
        let heading = ["from", "to", "share", "keys", "bytes"].map(str::to_owned);
        let rows = self.rows.iter().map(|row| {
            [
                row.from.clone(),
                row.to.clone(),
                Percent(row.share).to_string(),
                row.keys.to_string(),
                size(row.bytes),
            ]
        });
        let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
        let right = Align::Right;
        let columns = [Align::Left, Align::Left, right, right, right];
        let told = |kind: &str, texts: &[String]| -> String {
            let lines = texts
                .iter()
                .map(|text| format!("{kind}: {}\n", Printable(text)));
            lines.collect()
        };
        [
            format!("pool '{}': {} move\n", self.pool, self.moved),
            table(columns, &rows),
            self.holds(),
            self.looked(),
            told("warning", &self.warnings),
            told("obstacle", &self.obstacles),
        ]
        .concat()
    }
}

impl Report for Plan {
    fn text(&self) -> String {
        let end = match self.obstacles.len() {
            0 => "the move can start: 'ringroad reshard start' with the same options\n".to_owned(),
            1 => "the move cannot start: 1 obstacle\n".to_owned(),
            count => format!("the move cannot start: {count} obstacles\n"),
        };
        self.body() + &end
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "from": row.from,
                "to": row.to,
                "share": row.share,
                "keys": row.keys,
                "bytes": row.bytes,
            })
        };
        json!({
            "event": "plan",
            "pool": self.pool,
            "share": self.moved.share,
            "moves": self.rows.iter().map(row).collect::<Vec<_>>(),
            "seconds": self.time.as_secs(),
            "holds": self.least_holds(),
            "hold_max_ms": u64::try_from(self.hold.as_millis()).unwrap_or(u64::MAX),
            "keys_looked_at": self.looked.keys,
            "looked_at_all": self.looked.are_all,
            "warnings": self.warnings,
            "obstacles": self.obstacles,
            "can_start": self.can_start(),
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn rows(moved: &MovedKeys, surveyed: &Surveyed) -> Vec<Row> {
    let all = surveyed.sizes.values();
    let (keys, bytes) = all.fold((0, 0), |(keys, bytes), size| {
        (keys + size.keys, bytes + size.bytes)
    });
    let of = |share: f64, count: u64| (share * count as f64) as u64;
    let rows = moved.rows.iter().map(|row| Row {
        from: row.from.clone(),
        to: row.to.clone(),
        share: row.share,
        keys: of(row.share, keys),
        bytes: of(row.share, bytes),
    });
    rows.collect()
}
