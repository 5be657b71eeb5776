//! The options of the subcommands.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::ArgMatches;

use crate::cli::grammar::ARGUMENTS;
use crate::cli::values::{UsageError, conf_file, text};

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

fn arguments(matches: &ArgMatches) -> impl Iterator<Item = OsString> {
    let arguments = matches.get_many::<OsString>(ARGUMENTS);
    arguments.into_iter().flatten().cloned()
}

fn pool(matches: &ArgMatches) -> Option<String> {
    text(matches, "pool").map(|name| name.to_string_lossy().into_owned())
}
