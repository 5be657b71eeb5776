//! What prevents a copy, and what is told before it.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::{Distribution, PoolConfig, ProtocolKind};
use crate::copy::error::CopyError;
use crate::copy::job::Job;
use crate::copy::servers::{Rival, Server, Sides, client_name};
use crate::protocol::redis::resp::inspect;
use crate::redis_client::ServerError;
use crate::text::size;
use crate::topology::is_mark;

/// The difference of clocks from which on it is told: copies expire at the time of the source's clock.
const SKEW: Duration = Duration::from_millis(500);

/// Checks that both pools have a placement of keys.
pub(super) fn pools(job: &Job<'_>) -> Result<(), CopyError> {
    for pool in [job.from, job.to] {
        pool_has_placement(pool)?;
    }
    Ok(())
}

fn pool_has_placement(pool: &PoolConfig) -> Result<(), CopyError> {
    if pool.protocol == ProtocolKind::Memcached {
        return Err(CopyError::Memcached(pool.name.clone()));
    }
    if pool.distribution == Distribution::Random && pool.servers.len() > 1 {
        return Err(CopyError::Random(pool.name.clone()));
    }
    Ok(())
}

/// Checks that the servers are those to copy from and to.
pub(super) fn servers(job: &Job<'_>, sides: &mut Sides) -> Result<(), CopyError> {
    let sources: HashMap<_, _> = sides
        .sources
        .iter()
        .map(|server| (server.id(), server.at.to_string()))
        .collect();
    let same = sides.destinations.iter().find_map(|server| {
        Some(CopyError::Same {
            from: sources.get(&server.id())?.clone(),
            to: server.at.to_string(),
        })
    });
    let replica = sides
        .sources
        .iter()
        .chain(&sides.destinations)
        .find_map(|server| {
            Some(CopyError::Replica {
                server: server.at.to_string(),
                primary: server.info.primary()?,
            })
        });
    if let Some(error) = same.or(replica) {
        return Err(error);
    }
    for server in &mut sides.destinations {
        let mut rivals = server.rivals()?.into_iter();
        if let Some(rival) = rivals.find(|rival| rival.client_name == client_name(job)) {
            return Err(CopyError::Rival {
                pool: job.from.name.clone(),
                server: server.at.to_string(),
                address: rival.address,
            });
        }
    }
    if job.into_data {
        return Ok(());
    }
    let databases: Vec<_> = sides
        .databases
        .iter()
        .map(|pair| pair.destination)
        .collect();
    for server in &mut sides.destinations {
        for &database in &databases {
            if has_keys(server, database).map_err(|error| server.fault(error))? {
                return Err(CopyError::NotEmpty {
                    server: server.at.to_string(),
                    database,
                });
            }
        }
    }
    Ok(())
}

/// Returns true if there are keys besides marks.
fn has_keys(server: &mut Server, database: u32) -> Result<bool, ServerError> {
    server.connection.select(database)?;
    let mut cursor = b"0".to_vec();
    loop {
        let (next, keys) = server.connection.scan(&cursor, 1000)?;
        if keys.iter().any(|key| !is_mark(key)) {
            return Ok(true);
        }
        if *next == *b"0" {
            return Ok(false);
        }
        cursor = next.to_vec();
    }
}

/// What may be misunderstood, or go wrong.
pub(super) fn notes(job: &Job<'_>, sides: &mut Sides) -> Result<Vec<String>, CopyError> {
    let mut notes: Vec<String> = sides.destinations.iter().filter_map(evicts).collect();
    notes.extend(other_copies(sides)?);
    notes.extend(memory(sides));
    notes.extend(skew(sides));
    notes.extend(other_databases(job, sides));
    notes.extend(other_start(job));
    Ok(notes)
}

/// A note on each copy of another pool that a destination has connections of.
fn other_copies(sides: &mut Sides) -> Result<Vec<String>, CopyError> {
    let mut notes = Vec::new();
    for server in &mut sides.destinations {
        for Rival {
            client_name,
            address,
        } in server.rivals()?
        {
            notes.push(format!(
                "another 'ringroad copy' is connected to {}, from {address} ('{client_name}' in its CLIENT LIST); if both \
                 write there, both need --into-data, and keys of different names",
                server.at
            ));
        }
    }
    Ok(notes)
}

fn evicts(server: &Server) -> Option<String> {
    let policy = server.info.text("maxmemory_policy")?;
    let has_limit = server.info.number("maxmemory")? > 0;
    (has_limit && policy.starts_with("allkeys-")).then(|| {
        format!(
            "{} evicts any key when its memory is full (maxmemory-policy {policy}): copies may be evicted, and are made \
             again, as long as the copy runs",
            server.at
        )
    })
}

/// A note if the destinations have less memory left than the sources use.
fn memory(sides: &Sides) -> Option<String> {
    let used = |server: &Server| server.info.number("used_memory");
    let needed: u64 = sides.sources.iter().filter_map(used).sum();
    let free = sides.destinations.iter().map(|server| {
        let limit = server.info.number("maxmemory").filter(|limit| *limit > 0);
        let limit = limit.or_else(|| server.info.number("total_system_memory"))?;
        Some(limit.saturating_sub(used(server)?))
    });
    let free: Option<u64> = free.sum();
    let free = free?;
    (free < needed).then(|| {
        format!(
            "the destinations have {} of memory left (maxmemory, or that of the machine), and the sources use {}; a full \
             destination makes the copy wait",
            size(free),
            size(needed)
        )
    })
}

/// A note if clocks differ.
fn skew(sides: &mut Sides) -> Option<String> {
    let servers = sides.sources.iter_mut().chain(&mut sides.destinations);
    let times = servers.filter_map(|server| {
        let reply = server.connection.call(&[b"TIME"]).ok()?;
        let mut parts = inspect::elements(&reply)?.filter_map(inspect::bulk);
        let mut number = || -> Option<u64> { str::from_utf8(parts.next()?).ok()?.parse().ok() };
        let here = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .ok()?;
        let there = Duration::from_secs(number()?) + Duration::from_micros(number()?);
        // Signed, in milliseconds; all are read at different times, so each is compared with the clock here.
        let [there, here] = [there, here].map(|time| i64::try_from(time.as_millis()).ok());
        Some((there? - here?, server.at.to_string()))
    });
    let times: Vec<_> = times.collect();
    let (first, last) = (times.iter().min()?, times.iter().max()?);
    let skew = last.0.abs_diff(first.0);
    (skew > u64::try_from(SKEW.as_millis()).unwrap_or(u64::MAX)).then(|| {
        format!(
            "the clocks of {} and {} differ by {skew} ms: copies expire earlier or later by that",
            first.1, last.1
        )
    })
}

/// A note on keys that are not copied.
fn other_databases(job: &Job<'_>, sides: &Sides) -> Option<String> {
    let is_copied = |number| sides.databases.iter().any(|pair| pair.source == number);
    let databases = sides
        .sources
        .iter()
        .flat_map(|server| server.info.databases());
    let others: u64 = databases
        .filter(|(number, _)| !is_copied(*number))
        .map(|(_, keys)| keys)
        .sum();
    (others > 0).then(|| {
        format!(
            "{others} keys are in databases that clients of pool '{}' cannot select, or do not start with ('databases', \
             'redis_db'); they are not copied",
            job.from.name
        )
    })
}

/// A note if clients that go over to the other pool would start with another database than the one of their keys.
fn other_start(job: &Job<'_>) -> Option<String> {
    let (from, to) = (job.from, job.to);
    (from.databases > 1 && from.redis_db != to.redis_db).then(|| {
        format!(
            "clients of pool '{}' start with database {}, and those of pool '{}' with {} ('redis_db'); keys keep their \
             database",
            from.name, from.redis_db, to.name, to.redis_db
        )
    })
}
