//! Checks of a configuration beyond its syntax.

use std::ptr;
use std::time::{Duration, SystemTime};

use crate::config::{Checks, PoolConfig, PoolTls, ProtocolKind, UserConfig, nearest};
use crate::net::tls::TlsExpiry;
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::acl::user::User;
use crate::protocol::redis::command::Command;
use crate::topology::{Severity, advice};

/// The time before the end of a certificate from which warnings are logged.
const EXPIRY_WARNING: Duration = Duration::from_secs(21 * 86_400);

/// Returns warnings about a valid pool: it spreads its keys badly, or a directive has no effect in it.
#[must_use]
pub fn warnings(pool: &PoolConfig) -> Vec<String> {
    // Without building the ring, which takes milliseconds in a large pool.
    let shards = pool.servers.len() > 1;
    let advice = advice(pool.hash, pool.distribution).filter(|_| shards);
    let advice = advice.filter(|advice| advice.severity == Severity::Broken);
    let meaningless = pool.protocol == ProtocolKind::Memcached && pool.redis_db != 0;
    let meaningless =
        meaningless.then(|| "'redis_db' has no meaning in a memcached pool".to_owned());
    advice
        .map(|advice| advice.to_string())
        .into_iter()
        .chain(meaningless)
        .chain(open_to_all(pool))
        .chain(insecure(pool))
        .chain(expiry_warnings(&pool.tls))
        .collect()
}

/// The checks of what only the protocol understands.
pub const CHECKS: Checks = Checks {
    command: is_command,
    user: is_user,
};

/// Checks the rules of a user. The error says which of them is wrong, and shows no password.
fn is_user(user: &UserConfig) -> Result<(), String> {
    let made = User::with_rules(user.name.as_bytes(), &user.rules);
    made.map(drop)
        .map_err(|(wrong, error)| faulty_rule(&user.rules, wrong, error))
}

/// Says which of the rules of a user is wrong, and shows none that may be a password. `wrong` is one of `rules`.
#[must_use]
pub fn faulty_rule(rules: &[String], wrong: &String, error: RuleError) -> String {
    if wrong.starts_with(['#', '!', '>', '<']) {
        format!("a password: {error}")
    } else if wrong.starts_with(['+', '-', '~', '%', '&', '(']) {
        format!("rule '{wrong}': {error}")
    } else {
        let number = rules.iter().position(|rule| ptr::eq(rule, wrong));
        let number = number.map_or(1, |at| at + 1);
        format!(
            "what stands in place {number} behind the name is no rule, and not shown: it may be a password, which begins \
             with '>' and has no spaces"
        )
    }
}

/// Returns warnings about certificates that have expired, or will soon.
#[must_use]
pub fn expiry_warnings(tls: &PoolTls) -> Vec<String> {
    tls.expiries().filter_map(expiry_warning).collect()
}

/// Returns a warning about a certificate that has expired, or will soon.
#[must_use]
pub fn expiry_warning(expiry: &TlsExpiry) -> Option<String> {
    let (directive, path) = (expiry.file.directive, expiry.file.path.display());
    match expiry.not_after.duration_since(SystemTime::now()) {
        Ok(left) if left > EXPIRY_WARNING => None,
        Ok(left) => {
            let days = left.as_secs() / 86_400;
            Some(format!("'{directive}': '{path}' expires in {days} days"))
        }
        Err(_) => Some(format!("'{directive}': '{path}' has expired")),
    }
}

/// The warning about a default user whom the list of users has forgotten.
fn open_to_all(pool: &PoolConfig) -> Option<String> {
    let is_forgotten = !pool.users.is_empty()
        && pool.redis_auth.is_none()
        && !pool.users.iter().any(UserConfig::is_default);
    is_forgotten.then(|| {
        "'users' do not have the default user, so that clients without AUTH may do everything: add 'default off'".to_owned()
    })
}

/// The warning about servers that nobody checks.
fn insecure(pool: &PoolConfig) -> Option<String> {
    let server = pool.tls.server.as_ref()?;
    server.is_insecure().then(|| {
        "'server_tls_insecure_skip_verify' is on: anybody between the proxy and a server can pretend to be the server".to_owned()
    })
}

/// Checks that a text of the configuration names a command that can be disabled. The error says what is wrong with it.
fn is_command(text: &str) -> Result<(), String> {
    if Command::named(text).is_some() {
        return Ok(());
    }
    let rows = Command::all().flat_map(|row| [row].into_iter().chain(row.subcommands));
    let names = rows.map(|row| row.name.replace('|', " ").to_ascii_lowercase());
    let names: Vec<_> = names.collect();
    Err(match nearest(text, names.iter().map(String::as_str)) {
        Some(name) => {
            let name = name.to_ascii_uppercase();
            format!("'{text}' is not a command; did you mean '{name}'?")
        }
        None => format!("'{text}' is not a command"),
    })
}
