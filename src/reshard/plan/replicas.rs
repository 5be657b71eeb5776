//! What keeps servers from taking the places of others by replication.

use std::collections::BTreeMap;

use crate::config::ServerAuth;
use crate::protocol::redis::resp::inspect;
use crate::reshard::clients::Fence;
use crate::reshard::error::ReshardError;
use crate::reshard::job::Job;
use crate::reshard::routes::Routes;
use crate::reshard::server::{Names, Server};
use crate::text::size;

/// A server, and the one that is to take its place.
struct Pair<'s> {
    source: &'s Server,
    taker: &'s Server,
}

/// Adds what is found at the servers that answer.
pub(super) fn survey(
    (job, names): (&Job<'_>, &Names),
    routes: &Routes,
    servers: &[Server],
    obstacles: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<(), ReshardError> {
    if job.limits.per_second.is_some() {
        obstacles.push(
            "--rate limits copies, and replication makes none: leave it out; what limits the transfer are the servers"
                .to_owned(),
        );
    }
    let by_name = |name: &str| servers.iter().find(|server| server.name == name);
    for name in routes.sources() {
        let taker = routes.destinations(name).first();
        let taker = taker.and_then(|taker| by_name(taker));
        if let (Some(source), Some(taker)) = (by_name(name), taker) {
            let pair = Pair { source, taker };
            obstacles.extend(pair.obstacles(job, names)?);
            warnings.extend(pair.warnings());
        }
    }
    Ok(())
}

impl Pair<'_> {
    fn obstacles(&self, job: &Job<'_>, names: &Names) -> Result<Vec<String>, ReshardError> {
        let Self { source, taker } = self;
        let mut found = Vec::new();
        if let Err(error) = taker.expect_empty(names) {
            found.push(error.to_string());
        }
        if !loads(taker, source) {
            found.push(format!(
                "{} is {}, and {} is {}: a replica must be of the same program, and not older",
                taker.at,
                taker.info.version(),
                source.at,
                source.info.version()
            ));
        }
        let limit = taker.info.number("maxmemory").filter(|limit| *limit > 0);
        let used = source.info.number("used_memory").unwrap_or_default();
        if let Some(limit) = limit.filter(|limit| *limit < used) {
            found.push(format!(
                "{} has {} of memory (maxmemory), and {} uses {}: raise its maxmemory",
                taker.at,
                size(limit),
                source.at,
                size(used)
            ));
        }
        let settings = settings(
            taker,
            &["replica-read-only", "masterauth", "masteruser", "databases"],
        )?;
        let setting = |name: &str| settings.get(name).map(Vec::as_slice).unwrap_or_default();
        if setting("replica-read-only") == b"no" {
            found.push(format!(
                "{} would take writes while it is a replica: CONFIG SET replica-read-only yes",
                taker.at
            ));
        }
        if let Some(auth) = job.pool.server_auth() {
            let known = setting("masterauth");
            if !known.is_empty() && !auth.password.matches(known) {
                found.push(format!(
                    "{} has another 'masterauth' than '{}' of the pool, by which {} lets clients in: set it to that, or to \
                     nothing",
                    taker.at,
                    ServerAuth::directive(job.pool),
                    source.at
                ));
            }
            let known = setting("masteruser");
            let proxy = auth.user.as_deref().unwrap_or_default();
            if !known.is_empty() && known != proxy.as_bytes() {
                found.push(format!(
                    "{} has another 'masteruser' than 'server_user' of the pool: set it to that, or to nothing",
                    taker.at
                ));
            }
        }
        let at_source = self::settings(source, &["databases"])?;
        let count = |bytes: &[u8]| str::from_utf8(bytes).ok()?.parse::<u32>().ok();
        let has = count(setting("databases"));
        let needs = at_source.get("databases").and_then(|bytes| count(bytes));
        if let (Some(has), Some(needs)) = (has, needs)
            && has < needs
        {
            found.push(format!(
                "{} has {has} databases, and {} has {needs}: give it as many",
                taker.at, source.at
            ));
        }
        let fence = Fence {
            pool: &names.connections,
            allowed: job.limits.allowed,
            ..Fence::default()
        };
        for client in taker.clients()? {
            if fence
                .judge(std::slice::from_ref(&client))
                .stranger
                .is_some()
            {
                found.push(format!(
                    "{}: {client} is no connection of a guarded proxy of this pool, and what it writes would be wiped: end it, \
                     or add --allow with its address if it writes nothing",
                    taker.at
                ));
            }
        }
        Ok(found)
    }

    fn warnings(&self) -> Vec<String> {
        let Self { source, taker } = self;
        let used = source.info.number("used_memory").unwrap_or_default();
        let mut found = vec![format!(
            "{} copies all of {} ({}): that forks, saves and sends all its keys; afterwards it keeps them, and no proxy asks it",
            taker.at,
            source.at,
            size(used)
        )];
        let replicas = source.info.number("connected_slaves").unwrap_or_default();
        if replicas > 0 {
            found.push(format!(
                "{} has {replicas} replicas, which stay its replicas: give {} its own",
                source.at, taker.at
            ));
        }
        found
    }
}

/// Returns true if `taker` reads the snapshots of `source`, as far as their versions tell.
fn loads(taker: &Server, source: &Server) -> bool {
    let program = |server: &Server| {
        let name = server.info.text("server_name").unwrap_or("redis");
        name.to_owned()
    };
    let number = |server: &Server, field: &str| -> Vec<u32> {
        let version = server.info.text(field).unwrap_or_default();
        let numbers = version.split('.');
        numbers.map_while(|number| number.parse().ok()).collect()
    };
    let (of_source, of_taker) = (program(source), program(taker));
    if of_source == of_taker {
        let field = format!("{of_source}_version");
        return number(taker, &field) >= number(source, &field);
    }
    // Valkey has begun as Redis 7.2.
    of_source == "redis" && of_taker == "valkey" && number(source, "redis_version") < vec![7, 3]
}

fn settings(server: &Server, names: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, ReshardError> {
    let mut settings = BTreeMap::new();
    for name in names {
        let reply = server.call(&["CONFIG", "GET", name])?;
        for (name, value) in inspect::pairs(&reply).unwrap_or_default() {
            let name = String::from_utf8_lossy(name).into_owned();
            settings.insert(name, value.to_vec());
        }
    }
    Ok(settings)
}
