//! What a page draws, as text for people.

use chrono::{Local, TimeZone as _};

use crate::admin::api::answers::{Events, LoggedEvent, Overview, PoolRing, Rings};
use crate::ctl::cells::{printable, table};
use crate::text;
use crate::text::Align::{Left, Right};
use crate::topology::Percent;

pub(super) fn overview(answer: &Overview) -> String {
    let host = printable(&answer.host);
    let version = printable(&answer.version);
    let memory = text::size(answer.memory_bytes);
    let first = format!(
        "{version} on {host}: {}, up {:.0} s, {:.1} s of processor time, {memory}\n",
        answer.state.name(),
        answer.uptime_seconds,
        answer.cpu_seconds,
    );
    let pools = answer.pools.iter().map(|pool| {
        [
            printable(&pool.pool),
            pool.clients.to_string(),
            pool.requests.to_string(),
            pool.errors.to_string(),
            pool.refused.to_string(),
            text::size(pool.bytes_in),
            text::size(pool.bytes_out),
        ]
    });
    let servers = answer.pools.iter().flat_map(|pool| {
        pool.servers.iter().map(|server| {
            [
                printable(&pool.pool),
                printable(&server.server),
                server.state.name().to_owned(),
                Percent(server.key_share).to_string(),
                server.connections.to_string(),
                (server.queued + server.in_flight).to_string(),
                server.requests.to_string(),
                server.errors.to_string(),
                server.timeouts.to_string(),
            ]
        })
    });
    format!(
        "{first}\n{}\n{}",
        table(
            [
                ("POOL", Left),
                ("CLIENTS", Right),
                ("REQUESTS", Right),
                ("ERRORS", Right),
                ("REFUSED", Right),
                ("IN", Right),
                ("OUT", Right),
            ],
            pools.collect(),
        ),
        table(
            [
                ("POOL", Left),
                ("SERVER", Left),
                ("STATE", Left),
                ("KEYS", Right),
                ("CONNECTIONS", Right),
                ("WAITING", Right),
                ("REQUESTS", Right),
                ("ERRORS", Right),
                ("TIMEOUTS", Right),
            ],
            servers.collect(),
        ),
    )
}

pub(super) fn events(answer: &Events) -> String {
    let rows = answer.events.iter().map(|event| {
        [
            time(event.last_ms),
            printable(&event.severity),
            event.pool.as_deref().map(printable).unwrap_or_default(),
            event.server.as_deref().map(printable).unwrap_or_default(),
            described(event),
        ]
    });
    let columns = [
        ("LAST", Left),
        ("SEVERITY", Left),
        ("POOL", Left),
        ("SERVER", Left),
        ("EVENT", Left),
    ];
    let details = answer.events.iter().flat_map(|event| {
        let number = event.details.iter();
        number.map(|detail| format!("  {}: {}\n", time(event.last_ms), printable(detail)))
    });
    table(columns, rows.collect()) + &details.collect::<String>()
}

fn described(event: &LoggedEvent) -> String {
    let client = event.client.as_deref().map(printable);
    let client = client.map(|client| format!(" ({client})"));
    let times = (event.count > 1)
        .then(|| format!(" ({} times since {})", event.count, time(event.first_ms)));
    let text = printable(&event.text);
    let (client, times) = (client.unwrap_or_default(), times.unwrap_or_default());
    format!("{text}{client}{times}")
}

/// Local time, as in the log.
fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok();
    let at = at.and_then(|ms| Local.timestamp_millis_opt(ms).single());
    at.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}

pub(super) fn rings(answer: &Rings) -> String {
    let pools: Vec<_> = answer.pools.iter().map(ring).collect();
    pools.join("\n")
}

fn ring(pool: &PoolRing) -> String {
    let rows = pool.servers.iter().map(|server| {
        [
            printable(&server.server),
            server.state.name().to_owned(),
            server.weight.to_string(),
            Percent(server.weight_share).to_string(),
            Percent(server.key_share).to_string(),
        ]
    });
    let (name, distribution) = (printable(&pool.pool), printable(&pool.distribution));
    let (hash, points) = (printable(&pool.hash), pool.points);
    let first = format!("pool {name}: {distribution}, {hash}, {points} points\n");
    let columns = [
        ("SERVER", Left),
        ("STATE", Left),
        ("WEIGHT", Right),
        ("BY_WEIGHT", Right),
        ("KEYS", Right),
    ];
    first + &table(columns, rows.collect())
}
