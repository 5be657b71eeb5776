//! `INFO` and `CONFIG GET`: what clients want to know of a server before they trust it.

use std::fmt::Write;

use super::{REDIS_VERSION, Reply, Settings, glob};
use crate::protocol::redis::Args;

/// `INFO [section ...]`: only what the proxy itself knows. Clients wait for `loading:0`.
pub(super) fn info(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let wanted: Vec<&[u8]> = args.skip(1).collect();
    let mut text = String::new();
    for (title, fields) in sections(settings) {
        let is_wanted = wanted.is_empty()
            || wanted.iter().any(|name| {
                [title, "all", "default", "everything"]
                    .iter()
                    .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
            });
        if !is_wanted {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "# {title}\r\n");
        for (name, value) in fields {
            let _ = write!(text, "{name}:{value}\r\n");
        }
    }
    reply.verbatim(&text);
}

/// `CONFIG GET pattern ...`: the few parameters that have a true answer here.
pub(super) fn config_get(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let parameters = [
        ("appendonly", "no".to_owned()),
        (
            "databases",
            settings
                .databases
                .max(settings.db.saturating_add(1))
                .to_string(),
        ),
        ("maxmemory", "0".to_owned()),
        ("port", settings.port.to_string()),
        ("save", String::new()),
    ];
    let patterns: Vec<&[u8]> = args.skip(2).collect();
    let found = parameters
        .iter()
        .filter(|(name, _)| patterns.iter().any(|p| glob::matches(p, name.as_bytes())));
    reply.map(found.clone().count());
    for (name, value) in found {
        reply.bulk(name);
        reply.bulk(value);
    }
}

type Section = (&'static str, Vec<(&'static str, String)>);

fn sections(settings: &Settings) -> [Section; 4] {
    let uptime = settings.started.elapsed().as_secs();
    let os = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    [
        (
            "Server",
            vec![
                ("redis_version", REDIS_VERSION.to_owned()),
                ("redis_mode", "standalone".to_owned()),
                ("ringroad_version", env!("CARGO_PKG_VERSION").to_owned()),
                ("ringroad_pool", settings.pool.clone()),
                ("os", os),
                ("arch_bits", usize::BITS.to_string()),
                ("process_id", std::process::id().to_string()),
                ("tcp_port", settings.port.to_string()),
                ("uptime_in_seconds", uptime.to_string()),
                ("uptime_in_days", (uptime / 86_400).to_string()),
            ],
        ),
        ("Persistence", vec![("loading", "0".to_owned())]),
        (
            "Replication",
            vec![
                ("role", "master".to_owned()),
                ("connected_slaves", "0".to_owned()),
            ],
        ),
        ("Cluster", vec![("cluster_enabled", "0".to_owned())]),
    ]
}
