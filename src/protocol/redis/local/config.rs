//! `CONFIG`: the parameters of Redis that have an accurate value here, and the few of them that can be changed.

use std::time::Instant;

use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::glob;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::tunables::Tunable;
use crate::stats::Sample;

/// `CONFIG GET pattern ...`, of the proxy's own parameters.
pub(crate) fn get(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let patterns: Vec<&[u8]> = args.skip(2).collect();
    let mut found = Vec::new();
    for (name, value) in parameters(settings) {
        let name_bytes = name.as_bytes();
        let pattern = patterns.iter().find(|pattern| {
            if glob::is_pattern(pattern) {
                glob::matches_ignore_case(pattern, name_bytes)
            } else {
                pattern.eq_ignore_ascii_case(name_bytes)
            }
        });
        if let Some(pattern) = pattern {
            // A literal name is returned in the client's spelling.
            let is_literal = pattern.eq_ignore_ascii_case(name.as_bytes());
            let shown = if is_literal { pattern } else { name.as_bytes() };
            found.push((shown.to_vec(), value));
        }
    }
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// Returns true if the proxy itself has a parameter of this name.
pub(crate) fn is_own(name: &[u8], settings: &Settings) -> bool {
    parameters(settings)
        .iter()
        .any(|(own, _)| own.as_bytes().eq_ignore_ascii_case(name))
}

/// `CONFIG SET parameter value ...`: all of it or nothing.
pub(crate) fn set(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let words: Vec<&[u8]> = args.skip(2).collect();
    if !words.len().is_multiple_of(2) {
        return reply.error("syntax error");
    }
    match changes(&words, &parameters(settings)) {
        Ok(changes) => {
            for (tunable, value) in changes {
                settings.shared.tunables.set(tunable, value);
            }
            reply.simple("OK");
        }
        Err(ConfigSetError::Unknown(name)) => {
            let start = b"ERR Unknown option or number of arguments for CONFIG SET - '";
            let rest: &[u8] = if settings.server_parameters {
                b"' (parameters of the proxy and of the servers cannot be set in one command)"
            } else {
                b"' (to set parameters of the servers, enable 'server_parameters' in the pool's configuration)"
            };
            reply.error_line(&[start, name, rest]);
        }
        Err(ConfigSetError::Value(name, reason)) => reply.error(&format!(
            "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
        )),
    }
}

/// `CONFIG RESETSTAT`: restarts the counters of `INFO`. Those of the stats port go on.
pub(crate) fn reset_stat(settings: &Settings, reply: &mut Reply<'_>) {
    let pool = settings.stats.of_pool();
    let now = Sample::of(&pool, Instant::now());
    settings.shared.reset_at(pool, &now);
    reply.simple("OK");
}

/// All parameters with their current values, by name.
fn parameters(settings: &Settings) -> Vec<(&'static str, String)> {
    let databases = settings.databases.max(settings.db.saturating_add(1));
    let mut all = vec![
        ("cluster-enabled", "no".to_owned()),
        ("databases", databases.to_string()),
        ("port", settings.port.to_string()),
        ("timeout", "0".to_owned()),
    ];
    // Correct for a proxy whose clients cannot access the parameters of servers.
    if !settings.server_parameters {
        all.extend([
            ("appendonly", "no".to_owned()),
            ("maxmemory", "0".to_owned()),
            ("proto-max-bulk-len", (512_u32 << 20).to_string()),
            ("save", String::new()),
        ]);
    }
    if let Some(most) = settings.clients_most {
        all.push(("maxclients", most.to_string()));
    }
    all.extend(Tunable::ALL.map(|tunable| {
        let value = settings.shared.tunables.get(tunable);
        (tunable.name(), value.to_string())
    }));
    all.sort_unstable();
    all
}

/// The reason why nothing is changed.
enum ConfigSetError<'w> {
    /// The proxy has no parameter of this name.
    Unknown(&'w [u8]),
    /// The value is not valid for this parameter.
    Value(&'static str, String),
}

/// The changes to make. An immutable parameter may be set to its current value.
fn changes<'w>(
    words: &[&'w [u8]],
    parameters: &[(&'static str, String)],
) -> Result<Vec<(Tunable, i64)>, ConfigSetError<'w>> {
    let mut found: Vec<(&'static str, Option<Tunable>, &[u8])> = Vec::new();
    for pair in words.chunks_exact(2) {
        let [name, value] = *pair else { continue };
        let parameter = parameters
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        let Some((name, current)) = parameter else {
            return Err(ConfigSetError::Unknown(name));
        };
        let tunable = Tunable::ALL
            .into_iter()
            .find(|tunable| tunable.name() == *name);
        if tunable.is_none() && value != current.as_bytes() {
            return Err(ConfigSetError::Value(
                name,
                "can't set immutable config".to_owned(),
            ));
        }
        if found.iter().any(|(earlier, ..)| earlier == name) {
            return Err(ConfigSetError::Value(
                name,
                "duplicate parameter".to_owned(),
            ));
        }
        found.push((*name, tunable, value));
    }
    let mut changes = Vec::new();
    for (name, tunable, value) in found {
        let Some(tunable) = tunable else { continue };
        let Some(number) = number::parse_integer(value) else {
            let reason = "argument couldn't be parsed into an integer";
            return Err(ConfigSetError::Value(name, reason.to_owned()));
        };
        let least = tunable.least();
        if number < least {
            let reason = format!(
                "argument must be between {least} and {} inclusive",
                i64::MAX
            );
            return Err(ConfigSetError::Value(name, reason));
        }
        changes.push((tunable, number));
    }
    Ok(changes)
}
