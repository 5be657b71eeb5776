//! `ringroad verify`: which keys are on a server on which the file does not look for them.
//!
//! It scans every server of a pool over connections of its own, asks the router of the file for the owner of each key,
//! and may unlink those that are elsewhere. `main` calls it; no proxy needs to run. It runs on one thread, and a failure
//! of a server ends it.
//!
//! Invariants: a key that its owner does not have is unlinked only if that was asked for explicitly; nothing is unlinked
//! where the file alone cannot tell what a stray is (a move, another pool with other placement on the same servers, a
//! replica, a server that may be another under a second name); marks (`topology::is_mark`) are no keys of the pool.

mod moves;
mod progress;
mod report;
mod scan;
mod servers;

use std::io;
use std::io::Write;

use crate::config::{Distribution, PoolConfig, ProtocolKind};
use crate::console::{Console, Report as _};
use crate::topology::{MovedKeys, Router};
use crate::verify::moves::Danger;
use crate::verify::progress::{Pace, Progress};
use crate::verify::report::{Examples, Report, stray_json, stray_text};
use crate::verify::scan::{Pass, Stop, Stray};
use crate::verify::servers::Server;

pub use scan::Fix;
pub use servers::ServerFault;

/// What to verify.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// All pools of the file.
    pub pools: &'a [PoolConfig],
    /// The one to verify.
    pub pool: &'a PoolConfig,
    /// What to do with strays.
    pub fix: Fix,
    /// Unlink without asking.
    pub is_confirmed: bool,
    /// The maximum number of keys per second.
    pub per_second: Option<u32>,
    /// Report as JSON.
    pub json: bool,
    /// Report each stray.
    pub list: bool,
}

/// The error of a verification.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A pool of memcached servers.
    #[error(
        "pool '{0}' is of memcached, whose protocol cannot list keys; verify supports pools with 'redis: true'"
    )]
    Memcached(String),
    /// A pool in which any server may have any key.
    #[error("pool '{0}' has 'distribution: random': any server may have any key")]
    Random(String),
    /// Nobody can be asked.
    #[error("--fix asks before it unlinks, and stdin is no terminal; add --yes")]
    Unconfirmed,
    /// The servers have keys for which the file has another owner elsewhere.
    #[error(
        "pool '{other}' is on server {address} too, with another placement: its keys look like strays, which --fix \
         would unlink; it needs a file in which only this pool is on its servers"
    )]
    Shared {
        /// The other pool.
        other: String,
        /// The server.
        address: String,
    },
    /// Keys are on two servers, and clients use some here and some there.
    #[error(
        "keys of pool '{0}' are being moved ('ringroad reshard status'): copies, and keys that have moved, look like strays, and \
         --fix would unlink keys that are in use; end the move first"
    )]
    Moving(String),
    /// Another file is in force.
    #[error(
        "the marks at the servers say that pool '{0}' places its keys otherwise than this file ('ringroad reshard status'): \
         keys that are in use look like strays, which --fix would unlink; take the file that is in force since the last move"
    )]
    Outdated(String),
    /// Nobody can tell whether keys are being moved.
    #[error(
        "the mark of server '{0}' cannot be read, so keys may be in use that look like strays, and --fix could unlink them"
    )]
    Unreadable(String),
    /// A server that copies another.
    #[error(
        "server '{server}' is a replica of {primary}: its keys are not its own, and --fix cannot unlink them"
    )]
    Replica {
        /// The server.
        server: String,
        /// Its primary.
        primary: String,
    },
    /// A server that may be another one under a second name.
    #[error(
        "server '{0}' does not tell its run_id (INFO), so it may be another server of the pool under a second address; \
         --fix could unlink keys that are in use"
    )]
    Unidentified(String),
    /// Servers that fail at the start.
    #[error("{}", lines(.0))]
    Servers(Vec<ServerFault>),
    /// A server that failed later.
    #[error("{fault}; {scanned} keys were scanned, {unlinked} unlinked")]
    Stopped {
        /// The failure.
        fault: Box<ServerFault>,
        /// Keys that were scanned.
        scanned: u64,
        /// Keys that were unlinked.
        unlinked: u64,
    },
    /// The report or a question.
    #[error(transparent)]
    Console(#[from] io::Error),
}

fn lines(faults: &[ServerFault]) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("\nringroad: ")
}

/// Verifies a pool; returns true if no stray is left.
pub fn run(job: &Job<'_>, console: &mut Console<'_>) -> Result<bool, VerifyError> {
    check(job.pool)?;
    let asks = job.fix != Fix::Nothing && !job.is_confirmed;
    if asks && console.confirm.is_none() {
        return Err(VerifyError::Unconfirmed);
    }
    let verifier = Verifier::open(job)?;
    let fix = if asks { Fix::Nothing } else { job.fix };
    let report = verifier.pass(fix, job.list, console)?;
    let question = report.question(job.fix).filter(|_| asks);
    let Some(question) = question else {
        return verifier.print(&report, console);
    };
    if !job.json {
        report.print(false, console.out)?;
    }
    let confirm = console.confirm.as_mut().ok_or(VerifyError::Unconfirmed)?;
    if confirm(&question)? {
        let report = verifier.pass(job.fix, false, console)?;
        return verifier.print(&report, console);
    }
    if job.json {
        verifier.print(&report, console)?;
    }
    Ok(false)
}

/// Checks that a pool can be verified at all.
fn check(pool: &PoolConfig) -> Result<(), VerifyError> {
    if pool.protocol == ProtocolKind::Memcached {
        return Err(VerifyError::Memcached(pool.name.clone()));
    }
    if pool.distribution == Distribution::Random && pool.servers.len() > 1 {
        return Err(VerifyError::Random(pool.name.clone()));
    }
    Ok(())
}

struct Verifier<'a> {
    job: &'a Job<'a>,
    router: Router,
    servers: Vec<Server>,
    /// What may be misunderstood.
    notes: Vec<String>,
}

impl<'a> Verifier<'a> {
    /// Connects to the servers, and refuses a fix that could unlink keys that clients use.
    fn open(job: &'a Job<'a>) -> Result<Self, VerifyError> {
        let router = Router::for_pool(job.pool);
        let shared = shared(job, &router);
        let servers =
            servers::open(job.pool, job.fix == Fix::Nothing).map_err(VerifyError::Servers)?;
        let replica = servers.iter().find_map(|server| {
            Some(VerifyError::Replica {
                server: server.name.clone(),
                primary: server.primary.clone()?,
            })
        });
        let mut servers_without_id = servers.iter().filter(|server| !server.is_identified);
        let unidentified = servers_without_id
            .next()
            .map(|server| VerifyError::Unidentified(server.name.clone()));
        let pool = || job.pool.name.clone();
        let moved = moves::danger(job.pool, &servers).map(|danger| match danger {
            Danger::Moving => VerifyError::Moving(pool()),
            Danger::Outdated => VerifyError::Outdated(pool()),
            Danger::Unreadable(server) => VerifyError::Unreadable(server),
        });
        let dangers = [moved, shared, replica, unidentified];
        let dangers: Vec<_> = dangers.into_iter().flatten().collect();
        let notes = dangers.iter().map(ToString::to_string);
        let mut notes: Vec<String> = notes.collect();
        if let (Some(danger), true) = (dangers.into_iter().next(), job.fix != Fix::Nothing) {
            return Err(danger);
        }
        notes.extend(unselectable(job.pool, &servers));
        Ok(Self {
            job,
            router,
            servers,
            notes,
        })
    }

    fn pass(
        &self,
        fix: Fix,
        list: bool,
        console: &mut Console<'_>,
    ) -> Result<Report<'_>, VerifyError> {
        let mut examples = Examples::default();
        let mut found = |stray: &Stray| -> io::Result<()> {
            examples.add(stray);
            match (list, self.job.json) {
                (false, _) => Ok(()),
                (true, false) => writeln!(console.out, "{}", stray_text(stray, &self.servers)),
                (true, true) => writeln!(console.out, "{}", stray_json(stray, &self.servers)),
            }
        };
        let is_selectable = |database: u32| is_selectable(self.job.pool, database);
        let total = self.servers.iter().flat_map(|server| &server.databases);
        let total = total.filter(|(database, _)| is_selectable(*database));
        let terminal = console.terminal.as_mut();
        let (tally, result) = Pass {
            router: &self.router,
            servers: &self.servers,
            databases: &is_selectable,
            fix,
            pace: Pace::new(self.job.per_second),
            progress: Progress::new(
                terminal.map(|terminal| &mut **terminal as &mut dyn Write),
                total.map(|(_, keys)| keys).sum(),
            ),
            found: &mut found,
        }
        .run();
        match result {
            Ok(()) => Ok(Report {
                pool: &self.job.pool.name,
                servers: &self.servers,
                notes: &self.notes,
                fix,
                tally,
                examples,
            }),
            Err(Stop::Output(error)) => Err(error.into()),
            Err(Stop::Server(fault)) => Err(VerifyError::Stopped {
                fault,
                scanned: tally.scanned(),
                unlinked: tally.total().unlinked,
            }),
        }
    }

    /// Prints the last report.
    fn print(&self, report: &Report<'_>, console: &mut Console<'_>) -> Result<bool, VerifyError> {
        report.print(self.job.json, console.out)?;
        Ok(report.is_clean())
    }
}

/// The databases that clients of a pool can use.
fn is_selectable(pool: &PoolConfig, database: u32) -> bool {
    database == pool.redis_db || database < pool.databases
}

/// Another pool of the file on one of the servers, with another placement: its keys look like strays.
fn shared(job: &Job<'_>, router: &Router) -> Option<VerifyError> {
    let others = job.pools.iter().filter(|other| other.name != job.pool.name);
    let others = others.filter(|other| other.protocol == ProtocolKind::Redis);
    let others =
        others.filter(|other| other.databases > 1 || is_selectable(job.pool, other.redis_db));
    let others = others.filter(|other| {
        let other = Router::for_pool(other);
        !MovedKeys::between(router, &other).is_empty()
    });
    let on_same = |other: &PoolConfig| {
        let mut servers = job.pool.servers.iter();
        servers.find_map(|server| {
            let mut others = other.servers.iter();
            let shares = others.any(|other| other.address == server.address);
            shares.then(|| VerifyError::Shared {
                other: other.name.clone(),
                address: server.address.to_string(),
            })
        })
    };
    others.into_iter().find_map(on_same)
}

/// A note on keys that are not checked.
fn unselectable(pool: &PoolConfig, servers: &[Server]) -> Option<String> {
    let databases = servers.iter().flat_map(|server| &server.databases);
    let keys: u64 = databases
        .filter(|(database, _)| !is_selectable(pool, *database))
        .map(|(_, keys)| keys)
        .sum();
    (keys > 0).then(|| {
        format!(
            "{keys} keys are in databases that clients of this pool cannot select; they are not checked"
        )
    })
}
