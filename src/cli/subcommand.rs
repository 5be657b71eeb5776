//! The options of the subcommands.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::ArgMatches;

use crate::cli::grammar::ARGUMENTS;
use crate::cli::values::{UsageError, conf_file, number, path, text};

/// The options of `ringroad route`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteOptions {
    /// `-c`.
    pub conf_file: PathBuf,
    /// `--pool`; `None` is every pool.
    pub pool: Option<String>,
    /// At least one.
    pub keys: Vec<Vec<u8>>,
}

/// The options of `ringroad diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffOptions {
    /// The old file.
    pub old: PathBuf,
    /// The new file.
    pub new: PathBuf,
    /// `--json`.
    pub json: bool,
}

/// The options of `ringroad verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct VerifyOptions {
    /// `-c`.
    pub conf_file: PathBuf,
    /// `--pool`; `None` is the only one.
    pub pool: Option<String>,
    /// `--fix`.
    pub fix: bool,
    /// `--drop-only-copies`; only with `--fix`.
    pub drop_only_copies: bool,
    /// `--yes`; only with `--fix`.
    pub yes: bool,
    /// `--rate`; `None` is no limit.
    pub rate: Option<u32>,
    /// `--list`.
    pub list: bool,
    /// `--json`.
    pub json: bool,
}

/// The options of `ringroad copy`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct CopyOptions {
    /// `--from`.
    pub from: PathBuf,
    /// `--from-pool`; `None` is the only one.
    pub from_pool: Option<String>,
    /// `--to`.
    pub to: PathBuf,
    /// `--to-pool`; `None` is the only one.
    pub to_pool: Option<String>,
    /// `--once`.
    pub once: bool,
    /// `--rate`; `None` is no limit.
    pub rate: Option<u32>,
    /// `--into-data`.
    pub into_data: bool,
    /// `--yes`.
    pub yes: bool,
    /// `--json`.
    pub json: bool,
}

/// Keys per second. A scan of that many takes a few percent of a server's time.
const RATE: u32 = 100_000;

pub(super) fn read_route(matches: &ArgMatches) -> Result<RouteOptions, UsageError> {
    let keys: Vec<_> = arguments(matches).map(OsString::into_vec).collect();
    if keys.is_empty() {
        return Err(UsageError::new(
            "route requires at least one key".to_owned(),
        ));
    }
    Ok(RouteOptions {
        conf_file: conf_file(matches),
        pool: pool(matches),
        keys,
    })
}

pub(super) fn read_diff(matches: &ArgMatches) -> Result<DiffOptions, UsageError> {
    let mut files = arguments(matches).map(PathBuf::from);
    match (files.next(), files.next(), files.next()) {
        (Some(old), Some(new), None) => Ok(DiffOptions {
            old,
            new,
            json: matches.get_flag("json"),
        }),
        _ => Err(UsageError::new(
            "diff requires two files, the old one and the new one".to_owned(),
        )),
    }
}

pub(super) fn read_copy(matches: &ArgMatches) -> Result<CopyOptions, UsageError> {
    no_arguments(matches)?;
    let file = |name: &str| {
        path(matches, name)
            .ok_or_else(|| UsageError::new(format!("copy requires --{name} with a file name")))
    };
    let name = |name: &str| text(matches, name).map(|name| name.to_string_lossy().into_owned());
    Ok(CopyOptions {
        from: file("from")?,
        from_pool: name("from-pool"),
        to: file("to")?,
        to_pool: name("to-pool"),
        once: matches.get_flag("once"),
        rate: rate(matches, 0)?,
        into_data: matches.get_flag("into-data"),
        yes: matches.get_flag("yes"),
        json: matches.get_flag("json"),
    })
}

/// `--rate`; `None` is no limit.
pub(super) fn rate(matches: &ArgMatches, default: u32) -> Result<Option<u32>, UsageError> {
    let rate = number(matches, "rate")?;
    let rate = rate.map_or(default, |rate| u32::try_from(rate).unwrap_or(u32::MAX));
    Ok((rate > 0).then_some(rate))
}

pub(super) fn no_arguments(matches: &ArgMatches) -> Result<(), UsageError> {
    let Some(argument) = arguments(matches).next() else {
        return Ok(());
    };
    let argument = argument.to_string_lossy();
    let text = format!("unexpected argument '{}'", argument.escape_default());
    Err(UsageError::new(text))
}

pub(super) fn read_verify(matches: &ArgMatches) -> Result<VerifyOptions, UsageError> {
    no_arguments(matches)?;
    let fix = matches.get_flag("fix");
    for name in ["drop-only-copies", "yes"] {
        if matches.get_flag(name) && !fix {
            return Err(UsageError::new(format!("option --{name} requires --fix")));
        }
    }
    Ok(VerifyOptions {
        conf_file: conf_file(matches),
        pool: pool(matches),
        fix,
        drop_only_copies: matches.get_flag("drop-only-copies"),
        yes: matches.get_flag("yes"),
        rate: rate(matches, RATE)?,
        list: matches.get_flag("list"),
        json: matches.get_flag("json"),
    })
}

/// The arguments that are no options.
pub(super) fn arguments(matches: &ArgMatches) -> impl Iterator<Item = OsString> {
    let arguments = matches.get_many::<OsString>(ARGUMENTS);
    arguments.into_iter().flatten().cloned()
}

pub(super) fn pool(matches: &ArgMatches) -> Option<String> {
    text(matches, "pool").map(|name| name.to_string_lossy().into_owned())
}
