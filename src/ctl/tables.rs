//! Answers as text for people.

use crate::ctl::cells::{printable, table};
use crate::ctl::overview;
use serde::de::DeserializeOwned;

use super::count_tables;
use crate::admin::api::Request;
use crate::admin::api::answers::{
    ChangedServer, Clients, Differences, FailedOver, Killed, KilledClient, LogLevel, Moves,
    PoolChange, PoolTopology, Pools, Reloaded, Server, Servers, Status, Stopping, Topologies,
    Upgraded,
};
use crate::ctl::observed;
use crate::ctl::users;
use crate::text::Align::{Left, Right};
use crate::topology::Percent;

/// The answer to a request, as lines.
pub(super) fn show(request: &Request, body: &str) -> Result<String, serde_json::Error> {
    Ok(match request {
        Request::Status => status(&read(body)?),
        Request::Overview(_) => overview::overview(&read(body)?),
        Request::Events(_) => overview::events(&read(body)?),
        Request::Rings(_) => overview::rings(&read(body)?),
        Request::Pools => pools(&read(body)?),
        Request::Servers(_) => servers(&read(body)?),
        Request::Clients(_) => clients(&read(body)?),
        Request::KillClient(_) => killed(&read(body)?),
        Request::Users(_) => users::users(&read(body)?),
        Request::SetUser(_) => users::user(read(body)?),
        Request::DeleteUser(_) => users::deleted(&read(body)?),
        Request::Topology(_) => topologies(&read(body)?),
        Request::Moves(_) => read::<Moves>(body)?.text,
        Request::Commands(_) => count_tables::commands(&read(body)?),
        Request::Refusals(_) => count_tables::refusals(&read(body)?),
        Request::HotKeys(_) => observed::hot_keys(&read(body)?),
        Request::BigKeys(_) => observed::big_keys(&read(body)?),
        Request::SlowLog(_) => observed::slow_log(&read(body)?),
        Request::Tap(_) => observed::tap(&read(body)?),
        Request::ChangeServer(..) => changed_server(&read(body)?),
        Request::Failover(_) => failed_over(&read(body)?),
        Request::Reload(_) => reloaded(&read(body)?),
        Request::Diff(_) => differences(&read(body)?),
        Request::LogLevel | Request::SetLogLevel(_) => log_level(&read(body)?),
        Request::Upgrade(_) => upgraded(&read(body)?),
        Request::Stop => stopping(&read(body)?),
    })
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(body)
}

fn status(status: &Status) -> String {
    let mut rows = vec![
        ("version", printable(&status.version)),
        ("pid", status.pid.to_string()),
        ("state", status.state.name().to_owned()),
        ("uptime", format!("{} s", status.uptime_seconds)),
        ("config file", printable(&status.config_file)),
        ("workers", status.workers.to_string()),
        ("pools", status.pools.to_string()),
        ("clients", status.clients.to_string()),
        ("log level", status.log_level.to_string()),
    ];
    let problems = status.tls_problems.iter();
    rows.extend(problems.map(|problem| ("TLS", printable(problem))));
    if let Some(refusal) = &status.config_refusal {
        let text = format!("refused, the old one is in use: {}", printable(refusal));
        rows.insert(5, ("", text));
    }
    let line = |(name, value)| format!("{name:12} {value}\n");
    rows.into_iter().map(line).collect()
}

fn pools(answer: &Pools) -> String {
    let rows = answer.pools.iter().map(|pool| {
        let rate = pool.requests_per_second.map(|rate| rate.to_string());
        [
            printable(&pool.pool),
            printable(&pool.protocol),
            printable(&pool.listen),
            printable(&pool.hash),
            printable(&pool.distribution),
            pool.servers.to_string(),
            pool.live_servers.to_string(),
            pool.clients.to_string(),
            rate.unwrap_or_default(),
        ]
    });
    let columns = [
        ("POOL", Left),
        ("PROTOCOL", Left),
        ("LISTEN", Left),
        ("HASH", Left),
        ("DISTRIBUTION", Left),
        ("SERVERS", Right),
        ("LIVE", Right),
        ("CLIENTS", Right),
        ("REQUESTS/S", Right),
    ];
    table(columns, rows.collect())
}

fn servers(answer: &Servers) -> String {
    let rows = answer.servers.iter().map(|server| {
        [
            printable(&server.pool),
            printable(&server.server),
            printable(&server.address),
            server.weight.to_string(),
            server.state.name().to_owned(),
            server.connections.to_string(),
            server.queued.to_string(),
            server.in_flight.to_string(),
            server.requests.to_string(),
            server.errors.to_string(),
        ]
    });
    let columns = [
        ("POOL", Left),
        ("SERVER", Left),
        ("ADDRESS", Left),
        ("WEIGHT", Right),
        ("STATE", Left),
        ("CONNECTIONS", Right),
        ("QUEUED", Right),
        ("IN_FLIGHT", Right),
        ("REQUESTS", Right),
        ("ERRORS", Right),
    ];
    let notes: String = answer.servers.iter().map(roles).collect();
    table(columns, rows.collect()) + &notes
}

/// Lines about the primary and the replicas of a server, if anything is known of them.
fn roles(server: &Server) -> String {
    let name = format!("{}/{}", printable(&server.pool), printable(&server.server));
    let address = printable(&server.address);
    let primary = server.primary_by.iter();
    let primary = primary.map(|by| format!("{name}: primary {address}, by {}\n", printable(by)));
    let replicas = server.replicas.iter().map(|replica| {
        let address = printable(&replica.address);
        let lag = replica.lag_ms.map(|ms| format!(", at most {ms} ms behind"));
        let behind = replica
            .behind_bytes
            .map(|bytes| format!(", {bytes} bytes behind"));
        format!(
            "{name}: replica {address}, {}{}\n",
            if replica.up { "up" } else { "down" },
            lag.or(behind).unwrap_or_default()
        )
    });
    primary.chain(replicas).collect()
}

fn clients(answer: &Clients) -> String {
    let rows = answer.clients.iter().map(|client| {
        [
            printable(&client.pool),
            client.id.to_string(),
            printable(&client.address),
            printable(&client.name),
            client.age_seconds.to_string(),
            client.db.to_string(),
            client.resp.to_string(),
            client.subscriptions.to_string(),
            if client.blocked { "yes" } else { "no" }.to_owned(),
            printable(&client.library),
        ]
    });
    let columns = [
        ("POOL", Left),
        ("ID", Right),
        ("ADDRESS", Left),
        ("NAME", Left),
        ("AGE(s)", Right),
        ("DB", Right),
        ("RESP", Right),
        ("SUBSCRIPTIONS", Right),
        ("BLOCKED", Left),
        ("LIBRARY", Left),
    ];
    let unlisted = answer.unlisted.iter().map(|unlisted| {
        let (pool, clients) = (printable(&unlisted.pool), unlisted.clients);
        format!("note: pool {pool} has {clients} clients; memcached pools keep no list of them\n")
    });
    table(columns, rows.collect()) + &unlisted.collect::<String>()
}

fn killed(answer: &Killed) -> String {
    let line = |client: &KilledClient| {
        let (pool, address) = (printable(&client.pool), printable(&client.address));
        format!("client {} of pool {pool} killed: {address}\n", client.id)
    };
    answer.killed.iter().map(line).collect()
}

fn topologies(answer: &Topologies) -> String {
    let pools: Vec<_> = answer.pools.iter().map(topology).collect();
    pools.join("\n")
}

fn topology(pool: &PoolTopology) -> String {
    let servers = pool.servers.iter().map(|server| {
        [
            printable(&server.server),
            printable(&server.address),
            server.primary.as_deref().map(printable).unwrap_or_default(),
            server
                .resolved
                .as_deref()
                .map(printable)
                .unwrap_or_default(),
            server.weight.to_string(),
            server.state.name().to_owned(),
        ]
    });
    let facts = pool.facts.iter().map(|fact| {
        [
            fact.source.name().to_owned(),
            fact.server.as_deref().map(printable).unwrap_or_default(),
            fact.age_seconds.to_string(),
            printable(&fact.text),
        ]
    });
    format!(
        "pool {}: epoch {}, placement {}\n{}\n{}",
        printable(&pool.pool),
        pool.epoch,
        pool.placement,
        table(
            [
                ("SERVER", Left),
                ("ADDRESS", Left),
                ("PRIMARY", Left),
                ("RESOLVED", Left),
                ("WEIGHT", Right),
                ("STATE", Left),
            ],
            servers.collect(),
        ),
        table(
            [
                ("SOURCE", Left),
                ("SERVER", Left),
                ("AGE(s)", Right),
                ("FACT", Left),
            ],
            facts.collect(),
        ),
    )
}

fn failed_over(answer: &FailedOver) -> String {
    let names = [&answer.pool, &answer.server, &answer.new, &answer.old];
    let [pool, server, new, old] = names.map(|name| printable(name));
    let (by, ms) = (printable(&answer.by), answer.took_ms);
    let first = format!(
        "server {server} of pool {pool}: primary is {new} now, was {old}; {ms} ms by {by}\n"
    );
    let warnings = answer.warnings.iter();
    warnings.fold(first, |text, warning| {
        text + "warning: " + &printable(warning) + "\n"
    })
}

fn changed_server(answer: &ChangedServer) -> String {
    let (server, pool) = (printable(&answer.server), printable(&answer.pool));
    format!("server {server} of pool {pool}: {}\n", answer.state.name())
}

fn reloaded(answer: &Reloaded) -> String {
    let what = match (answer.applied, answer.pools.is_empty()) {
        (true, true) => "reloaded: the file says what the proxy does already\n",
        (true, false) => "reloaded\n",
        (false, true) => "checked: nothing would change\n",
        (false, false) => "checked: nothing was changed; a reload would do this\n",
    };
    let pools = answer.pools.iter().map(pool_change);
    what.to_owned() + &pools.collect::<String>()
}

fn pool_change(pool: &PoolChange) -> String {
    let moved = pool.moved_share.map(|share| {
        let share = Percent(share);
        format!("; {share} of the keys are looked for on another server")
    });
    let (name, change) = (printable(&pool.pool), pool.change.name());
    let first = format!("pool {name}: {change}{}\n", moved.unwrap_or_default());
    let details = pool.details.iter();
    details.fold(first, |text, detail| {
        text + "  " + &printable(detail) + "\n"
    })
}

/// The text of `ringroad diff`, and below it what a reload would do.
pub(super) fn differences(answer: &Differences) -> String {
    let text = answer.text.clone();
    if answer.refusals.is_empty() {
        return text + "a reload would be applied\n";
    }
    let refusals = answer.refusals.iter();
    refusals.fold(text + "a reload would be refused\n", |text, refusal| {
        text + "  " + &printable(refusal) + "\n"
    })
}

fn log_level(answer: &LogLevel) -> String {
    format!("log level {}: {}\n", answer.level, printable(&answer.shows))
}

fn upgraded(answer: &Upgraded) -> String {
    let Upgraded {
        old_pid,
        new_pid,
        moved,
        left,
        within_seconds,
        ..
    } = answer;
    let version = printable(&answer.version);
    let serves =
        format!("process {new_pid} (version {version}) serves; clients taken over: {moved}\n");
    let clients = if *left == 1 { "client" } else { "clients" };
    let keeps =
        format!("process {old_pid} keeps {left} {clients}, for at most {within_seconds} s\n");
    serves + if *left == 0 { "" } else { &keeps }
}

fn stopping(answer: &Stopping) -> String {
    format!(
        "stopping: requests in flight have {} s to finish\n",
        answer.within_seconds
    )
}
