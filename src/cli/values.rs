//! The values of options, and the error of an invalid one.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use crate::cli::options::Value;
use crate::cli::reshard_table::reshard_usage;
use crate::cli::table;

const CONF_FILE: &str = "conf/nutcracker.yml";

/// One line that names the invalid option.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct UsageError {
    text: String,
    /// The exit code.
    pub code: u8,
    usage: fn() -> String,
}

impl UsageError {
    pub(super) fn new(text: String) -> Self {
        Self {
            text,
            code: 1,
            usage: table::usage,
        }
    }

    /// The usage to show with it.
    #[must_use]
    pub fn usage(&self) -> String {
        (self.usage)()
    }

    /// The same error, with the exit code of that subcommand, if it is one.
    pub(super) fn of_subcommand(self, name: &str) -> Self {
        let subcommand = table::SUBCOMMANDS.iter().find(|sub| sub.name == name);
        Self {
            code: subcommand.map_or(self.code, |subcommand| subcommand.trouble),
            usage: match name {
                "ctl" => table::ctl_usage,
                "reshard" => reshard_usage,
                _ => table::usage,
            },
            ..self
        }
    }
}

pub(super) fn conf_file(matches: &ArgMatches) -> PathBuf {
    text(matches, "conf-file").map_or_else(|| CONF_FILE.into(), PathBuf::from)
}

pub(super) fn text<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m OsStr> {
    matches.get_one::<OsString>(name).map(OsString::as_os_str)
}

/// A path option; an empty one counts as absent.
pub(super) fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    text(matches, name)
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
}

/// Parses a time with its unit, as in `500ms`, `5s`, `2m` or `1h`.
pub(super) fn time(matches: &ArgMatches, name: &str) -> Result<Option<Duration>, UsageError> {
    let Some(text) = text(matches, name) else {
        return Ok(None);
    };
    let parsed = text.to_str().and_then(|text| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit_ms = match text.get(digits.len()..)? {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = is_number.then(|| digits.parse().ok()).flatten()?;
        Some(Duration::from_millis(number.checked_mul(unit_ms)?))
    });
    let known = table::named(name).map_or(Value::Time, |opt| opt.value);
    let wrong = || UsageError::new(format!("option {} requires {}", shown(name), known.noun()));
    parsed.map(Some).ok_or_else(wrong)
}

/// Parses decimal digits; a number above 64 bits counts as the largest one.
pub(super) fn number(matches: &ArgMatches, name: &str) -> Result<Option<u64>, UsageError> {
    let Some(text) = text(matches, name) else {
        return Ok(None);
    };
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(UsageError::new(format!(
            "option {} requires a number",
            shown(name)
        )));
    }
    let number = digits.iter().fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Ok(Some(number))
}

/// The short form of an option if it has one, as nutcracker names options in messages.
pub(super) fn shown(name: &str) -> String {
    match table::named(name).and_then(|opt| opt.short) {
        Some(short) => format!("-{short}"),
        None => format!("--{name}"),
    }
}
