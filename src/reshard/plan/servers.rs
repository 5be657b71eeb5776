//! What the servers say: sizes for the estimate, obstacles, and warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::mover::{Limits, Mover, Plan as MoverPlan};
use crate::protocol::redis::resp::inspect;
use crate::redis_client::ServerError;
use crate::reshard::clients::Fence;
use crate::reshard::ended::replaced;
use crate::reshard::error::ReshardError;
use crate::reshard::job::Job;
use crate::reshard::knowledge::{Marks, last_move};
use crate::reshard::plan::replicas;
use crate::reshard::reach::read_marks;
use crate::reshard::routes::Routes;
use crate::reshard::saved::{Keeping, keeping};
use crate::reshard::server::{Names, Server};
use crate::reshard::worker::databases;
use crate::text::{printable_key, size};
use crate::topology::{BucketSet, Placement, is_mark};

/// How often a server is asked for its time.
const CLOCK_QUESTIONS: u32 = 5;

/// The difference of clocks from which on keys would expire noticeably earlier or later than they should.
const SKEW_MS: i64 = 50;
/// The oldest version: RESTORE with ABSTTL, CLIENT TRACKING, CLIENT LIST with users.
const OLDEST: [u64; 2] = [6, 2];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Surveyed {
    /// By server of the placement before the move.
    pub(super) sizes: BTreeMap<String, Size>,
    pub(super) looked: Looked,
}

/// The keys that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Looked {
    pub(super) keys: u64,
    /// All keys of the sources were.
    pub(super) are_all: bool,
}

/// The keys of a server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) keys: u64,
    /// The memory that it uses.
    pub(super) bytes: u64,
}

/// What is being found.
pub(super) struct Survey<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) names: Names,
    pub(super) routes: &'a Arc<Routes>,
    pub(super) servers: Vec<Server>,
    pub(super) obstacles: &'a mut Vec<String>,
    pub(super) warnings: &'a mut Vec<String>,
}

impl Surveyed {
    /// Asks all servers of both placements.
    pub(super) fn of(
        job: &Job<'_>,
        routes: &Arc<Routes>,
        obstacles: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ReshardError> {
        let names = Names::of(job.pool);
        let configs = routes.before.servers_in_move(&routes.after);
        let mut servers = Vec::new();
        for opened in Server::open_each(job.pool, &names, &configs) {
            match opened {
                Ok(server) => servers.push(server),
                Err(error) => obstacles.push(format!("{error}: all servers must answer")),
            }
        }
        let mut survey = Survey {
            job,
            names,
            routes,
            servers,
            obstacles,
            warnings,
        };
        survey.identities();
        survey.each()?;
        if routes.is_replacement() {
            let asked = (survey.job, &survey.names);
            let told = (&mut *survey.obstacles, &mut *survey.warnings);
            replicas::survey(asked, routes, &survey.servers, told.0, told.1)?;
        } else {
            survey.memory();
        }
        survey.clocks();
        survey.strangers()?;
        let is_known = survey.last_move()?;
        survey.functions()?;
        survey.commands()?;
        let looked = survey.big_and_hot_keys()?;
        if !routes.is_replacement() {
            survey.formats();
        }
        if is_known && !routes.is_replacement() {
            survey.keys_at_destinations()?;
        }
        let before = survey.routes.before.servers.iter();
        let sizes = before.filter_map(|config| {
            Some((
                config.name.clone(),
                survey.size(by_name(&survey.servers, &config.name)?),
            ))
        });
        Ok(Self {
            sizes: sizes.collect(),
            looked,
        })
    }
}

impl Survey<'_> {
    /// A process under two names would have one mark for two servers.
    fn identities(&mut self) {
        let mut seen: BTreeMap<&str, &Server> = BTreeMap::new();
        for server in &self.servers {
            let Some(id) = server.info.run_id() else {
                self.obstacles
                    .push(format!("{}: it tells no run_id (INFO)", server.at));
                continue;
            };
            if let Some(other) = seen.insert(id, server) {
                self.obstacles.push(format!(
                    "{} and {} are the same process: give it one name",
                    other.at, server.at
                ));
            }
        }
    }

    fn each(&mut self) -> Result<(), ReshardError> {
        for server in &self.servers {
            if let Some(primary) = server.info.primary() {
                let advice = if self.routes.place_of(&server.name).is_some() {
                    "make it an empty primary (REPLICAOF NO ONE, FLUSHALL), also in its file: after a restart it must not be a \
                     replica again"
                } else {
                    "name its primary in the file"
                };
                self.obstacles
                    .push(format!("{} is a replica of {primary}: {advice}", server.at));
            }
            if !is_new_enough(server) {
                self.obstacles.push(format!(
                    "{} is {}: moves need Redis 6.2, or Valkey",
                    server.at,
                    server.info.version()
                ));
            }
            let policy = server.info.text("maxmemory_policy").unwrap_or_default();
            if policy.starts_with("allkeys-") {
                self.obstacles.push(format!(
                    "{} may evict any key (maxmemory-policy {policy}), also the mark that decides about the move: set \
                     'volatile-*' or 'noeviction' (CONFIG SET maxmemory-policy), or swap the pool instead \
                     ('ringroad ctl reload --swap')",
                    server.at
                ));
            }
        }
        for name in self.routes.all_destinations() {
            let Some(server) = by_name(&self.servers, name) else {
                continue;
            };
            if keeping(server)? == Keeping::Nothing {
                let loss = if self.routes.is_replacement() {
                    "the keys are lost with its process"
                } else {
                    "its copies are lost with its process, also after the originals were unlinked; the end of the move needs \
                     --yes"
                };
                self.warnings.push(format!(
                    "{} saves nothing (no RDB, no AOF, no replica): {loss}",
                    server.at
                ));
            }
        }
        Ok(())
    }

    fn size(&self, server: &Server) -> Size {
        let numbers = databases(self.job.pool);
        let of_pool = |number: u32| numbers.iter().any(|pair| pair.source == number);
        let counts = server.info.databases().into_iter();
        let keys = counts.filter(|(number, _)| of_pool(*number));
        Size {
            keys: keys.map(|(_, keys)| keys).sum(),
            bytes: server.info.number("used_memory").unwrap_or_default(),
        }
    }

    /// The memory that the copies need at each destination, and what it has.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    fn memory(&mut self) {
        let moved = self.routes.moved();
        let before = self.servers.iter().filter(|server| {
            let before = &self.routes.before;
            before.server(&server.name).is_some()
        });
        let all: u64 = before.map(|server| self.size(server).bytes).sum();
        for server in &self.servers {
            let arriving = moved.rows.iter().filter(|row| row.to == server.name);
            let share: f64 = arriving.map(|row| row.share).sum();
            let needed = (share * all as f64) as u64;
            let limit = server.info.number("maxmemory").filter(|limit| *limit > 0);
            let used = server.info.number("used_memory").unwrap_or_default();
            let Some(free) = limit.map(|limit| limit.saturating_sub(used)) else {
                let machine = server.info.number("total_system_memory");
                let free = machine.map(|all| all.saturating_sub(used));
                if let Some(free) = free.filter(|free| *free < needed) {
                    self.warnings.push(format!(
                        "{} has no maxmemory, its machine has {} of memory that it does not use itself, and about {} arrive",
                        server.at,
                        size(free),
                        size(needed)
                    ));
                }
                continue;
            };
            if free < needed {
                self.obstacles.push(format!(
                    "{} has {} of memory left (maxmemory), and about {} arrive: raise its maxmemory",
                    server.at,
                    size(free),
                    size(needed)
                ));
            }
        }
    }

    /// Copies expire by the clock of their destination.
    fn clocks(&mut self) {
        let mut offsets = Vec::new();
        for server in &self.servers {
            match offset_ms(server) {
                Some(offset) => offsets.push((offset, server.at.to_string())),
                None => self
                    .obstacles
                    .push(format!("{}: it does not tell the time (TIME)", server.at)),
            }
        }
        let latest = offsets.iter().max_by_key(|(offset, _)| offset.start);
        let earliest = offsets.iter().min_by_key(|(offset, _)| offset.end);
        let (Some(latest), Some(earliest)) = (latest, earliest) else {
            return;
        };
        // What is certain, however long the answers took.
        let skew = latest.0.start - earliest.0.end;
        if skew > SKEW_MS {
            self.obstacles.push(format!(
                "the clocks of {} and {} differ by {skew} ms, and copies would expire earlier or later by that: have them \
                 follow one clock (NTP)",
                earliest.1, latest.1
            ));
        }
    }

    fn strangers(&mut self) -> Result<(), ReshardError> {
        let fence = Fence {
            pool: &self.names.connections,
            allowed: self.job.limits.allowed,
            ..Fence::default()
        };
        let databases = databases(self.job.pool);
        let is_ours = |number| databases.iter().any(|pair| pair.source == number);
        for name in self.routes.sources() {
            let Some(server) = by_name(&self.servers, name) else {
                continue;
            };
            let mut others = BTreeSet::new();
            for client in server.clients()? {
                let other = client.other_pool(&self.names.connections);
                let other = other.filter(|(_, database)| is_ours(*database));
                if let Some((pool, database)) = other
                    && !client.is_allowed(self.job.limits.allowed)
                    && others.insert(pool.to_owned())
                {
                    self.obstacles.push(format!(
                        "{}: {client} is of a guarded proxy that calls the pool '{pool}', and uses database {database} too: a move \
                         takes all keys of that, and this proxy would go on looking for them here. Give the pool one name in \
                         all files, or the other one a database of its own, or add --allow with its address if it has gone",
                        server.at
                    ));
                }
                let verdict = fence.judge(std::slice::from_ref(&client));
                if verdict.stranger.is_some() {
                    self.obstacles.push(format!(
                        "{}: {client} is no connection of a guarded proxy of this pool, and could write keys that have \
                         moved: end it, or add --allow with its address if it writes none",
                        server.at
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns true if the old file says where the keys are: no other move is under way, nor was one made since. Otherwise keys
    /// that it looks for elsewhere are where they belong.
    fn last_move(&mut self) -> Result<bool, ReshardError> {
        let marks: Marks = read_marks(&self.servers, &self.names)?;
        let Some(last) = last_move(&marks) else {
            return Ok(true);
        };
        let old = Placement::of(self.job.pool);
        let Some(in_force) = last.in_force() else {
            self.obstacles.push(format!(
                "another move is under way (id {}): 'ringroad reshard status' shows it, 'ringroad reshard run' goes on \
                 with it",
                last.id
            ));
            return Ok(false);
        };
        if !last.leaves(&old) {
            let servers = in_force.servers.iter();
            let servers: Vec<_> = servers.map(ToString::to_string).collect();
            self.obstacles.push(format!(
                "the old file is not what is in force since the last move (id {}), which is on the servers {}: take the file \
                 with which that ended",
                last.id,
                servers.join(", ")
            ));
            return Ok(false);
        }
        if let Some((server, mark)) = replaced(&marks, &old) {
            self.obstacles.push(format!(
                "the old file is not what is in force: another server has taken the place of {server} in a move (id {}), and \
                 what keys this one has are old: take the file with which the last move ended",
                mark.move_id
            ));
            return Ok(false);
        }
        Ok(true)
    }

    /// Tries whether the destinations load what the sources dump.
    fn formats(&mut self) {
        // What a replica or an old server says is told already.
        let is_usable = |server: &&Server| server.info.primary().is_none() && is_new_enough(server);
        for name in self.routes.sources() {
            let Some(source) = by_name(&self.servers, name).filter(is_usable) else {
                continue;
            };
            let destinations = self.routes.destinations(name).iter();
            let destinations = destinations.filter_map(|name| by_name(&self.servers, name));
            let destinations: Vec<_> = destinations.filter(is_usable).collect();
            let nothing = Arc::new(RwLock::new(BucketSet::ALL));
            let opened = Mover::open(MoverPlan {
                source: source.at.clone(),
                destinations: destinations
                    .iter()
                    .map(|server| server.at.clone())
                    .collect(),
                databases: databases(self.job.pool),
                placement: self.routes.placement(name, &nothing),
                given_away: None,
                client_name: self.names.reader(),
                channel: b"ringroad:move".to_vec(),
                limits: Limits::default(),
                keeps_others: true,
            });
            if let Err(error) = opened.and_then(|mut mover| mover.try_formats()) {
                self.obstacles.push(error.to_string());
            }
        }
    }

    /// Keys that nobody sees where they are would be seen, and replace nothing or be taken for copies.
    fn keys_at_destinations(&mut self) -> Result<(), ReshardError> {
        for name in self.routes.all_destinations() {
            let Some(server) = by_name(&self.servers, name) else {
                continue;
            };
            let found = server.ask(|connection| {
                for pair in databases(self.job.pool) {
                    if let Some(key) = first_key(connection, pair.destination, &|key| {
                        self.routes.arrives(name, key)
                    })? {
                        return Ok(Some(key));
                    }
                }
                Ok(None)
            })?;
            if let Some(key) = found {
                self.obstacles.push(format!(
                    "{} has keys that the old file looks for elsewhere, and the new one here, such as {}. If the proxies run with \
                     another file than the old one (are the two exchanged?), clients use these keys: take that file. Else no client \
                     finds them, and they would come to life, or be taken for copies and unlinked: find them with 'ringroad \
                     verify', and unlink them ('--fix --drop-only-copies', or FLUSHALL if it has no others)",
                    server.at,
                    printable_key(&key)
                ));
            }
        }
        Ok(())
    }
}

/// The server of this name.
pub(super) fn by_name<'s>(servers: &'s [Server], name: &str) -> Option<&'s Server> {
    servers.iter().find(|server| server.name == name)
}

fn first_key(
    connection: &mut crate::redis_client::Connection,
    database: u32,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, ServerError> {
    connection.select(database)?;
    let mut cursor = b"0".to_vec();
    loop {
        let (next, keys) = connection.scan(&cursor, 1000)?;
        let found = keys.iter().find(|key| !is_mark(key) && wanted(key));
        if found.is_some() || *next == *b"0" {
            let found = found.map(|key| key.to_vec());
            connection.select(0)?;
            return Ok(found);
        }
        cursor = next.to_vec();
    }
}

fn is_new_enough(server: &Server) -> bool {
    // Valkey tells a version of Redis too, which says what it can.
    let version = server.info.text("redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    let version: [u64; 2] = std::array::from_fn(|_| numbers.next().unwrap_or_default());
    version >= OLDEST
}

/// How many milliseconds its clock is ahead of the one here: between these two, by several answers.
fn offset_ms(server: &Server) -> Option<Range<i64>> {
    let here = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    };
    let mut offset = i64::MIN..i64::MAX;
    for _ in 0..CLOCK_QUESTIONS {
        let before = here()?;
        let reply = server.call(&["TIME"]).ok()?;
        let after = here()?;
        let mut parts = inspect::elements(&reply)?.filter_map(inspect::bulk);
        let mut number = || -> Option<i64> { str::from_utf8(parts.next()?).ok()?.parse().ok() };
        let there = number()?.checked_mul(1000)? + number()? / 1000;
        offset = offset.start.max(there - after)..offset.end.min(there + 1 - before);
    }
    Some(offset)
}
