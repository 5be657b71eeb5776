//! The command line of `ringroad reshard`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use crate::cli::reshard_table::RESHARD;
use crate::cli::subcommand::{no_arguments, pool, rate};
use crate::cli::values::{UsageError, conf_file, number, path};

/// How keys get to their new servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveBy {
    /// Key by key.
    Copy,
    /// New servers replicate the old ones, and take their places.
    Replication,
}

/// The options of `ringroad reshard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReshardOptions {
    /// The command.
    pub command: ReshardCommand,
    /// `-c`.
    pub conf_file: PathBuf,
    /// `--pool`; `None` is the only one.
    pub pool: Option<String>,
    /// `--by`.
    pub by: MoveBy,
    /// `--rate`; `None` is no limit.
    pub rate: Option<u32>,
    /// `--hold`.
    pub hold: Duration,
    /// `--allow`.
    pub allowed: Vec<String>,
    /// `--big-keys`.
    pub big_keys: bool,
    /// `--yes`.
    pub yes: bool,
    /// `--json`.
    pub json: bool,
}

/// A command of `ringroad reshard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReshardCommand {
    /// `plan`, with `--to`.
    Plan(PathBuf),
    /// `start`, with `--to`.
    Start(PathBuf),
    /// `run`.
    Run,
    /// `status`.
    Status {
        /// `--watch`.
        watch: bool,
    },
    /// `pause`.
    Pause,
    /// `resume`.
    Resume,
    /// `abort`.
    Abort,
    /// `finish`.
    Finish {
        /// `--forget`.
        forget: bool,
    },
}

/// The longest time of a hold, in milliseconds.
const HOLD_MS: u64 = 100;
/// Below, no proxy could answer; above, the proxies take a hold back by themselves.
const HOLD_RANGE_MS: std::ops::RangeInclusive<u64> = 10..=1000;

/// Reads the command; `None` asks for the usage.
pub(super) fn read(matches: &ArgMatches) -> Result<Option<ReshardOptions>, UsageError> {
    let Some((name, own)) = matches.subcommand() else {
        return Err(UsageError::new("reshard requires a command".to_owned()));
    };
    if own.get_flag("help") {
        return Ok(None);
    }
    no_arguments(own)?;
    let to = || {
        path(own, "to").ok_or_else(|| {
            UsageError::new(format!("reshard {name} requires --to with a file name"))
        })
    };
    let command = match name {
        "plan" => ReshardCommand::Plan(to()?),
        "start" => ReshardCommand::Start(to()?),
        "status" => ReshardCommand::Status {
            watch: own.get_flag("watch"),
        },
        "pause" => ReshardCommand::Pause,
        "resume" => ReshardCommand::Resume,
        "abort" => ReshardCommand::Abort,
        "finish" => ReshardCommand::Finish {
            forget: own.get_flag("forget"),
        },
        _ => ReshardCommand::Run,
    };
    // Matches of another command's option: clap tells that it has none in debug builds only.
    let mut commands = RESHARD.iter();
    let options = commands.find(|command| command.name == name);
    let has = |option: &str| {
        options.is_some_and(|command| command.own.iter().any(|own| own.name == option))
    };
    Ok(Some(ReshardOptions {
        command,
        conf_file: conf_file(own),
        pool: pool(own),
        by: if has("by") { by(own)? } else { MoveBy::Copy },
        rate: if has("rate") { rate(own, 0)? } else { None },
        hold: if has("hold") {
            hold(own)?
        } else {
            Duration::from_millis(HOLD_MS)
        },
        allowed: if has("allow") {
            allowed(own)?
        } else {
            Vec::new()
        },
        big_keys: has("big-keys") && own.get_flag("big-keys"),
        yes: has("yes") && own.get_flag("yes"),
        json: own.get_flag("json"),
    }))
}

fn by(own: &ArgMatches) -> Result<MoveBy, UsageError> {
    let way = own.get_one::<OsString>("by");
    match way.map(|way| way.to_str()) {
        None | Some(Some("copy")) => Ok(MoveBy::Copy),
        Some(Some("replication")) => Ok(MoveBy::Replication),
        Some(_) => Err(UsageError::new(
            "option --by must be 'copy' or 'replication'".to_owned(),
        )),
    }
}

fn hold(own: &ArgMatches) -> Result<Duration, UsageError> {
    let hold = number(own, "hold")?.unwrap_or(HOLD_MS);
    if HOLD_RANGE_MS.contains(&hold) {
        return Ok(Duration::from_millis(hold));
    }
    let (least, most) = (HOLD_RANGE_MS.start(), HOLD_RANGE_MS.end());
    Err(UsageError::new(format!(
        "option --hold must be between {least} and {most} msec"
    )))
}

fn allowed(own: &ArgMatches) -> Result<Vec<String>, UsageError> {
    let words = own.get_many::<OsString>("allow");
    let text = |word: &OsString| {
        let word = word.clone().into_string();
        word.map_err(|_| UsageError::new("option --allow requires an address".to_owned()))
    };
    words.into_iter().flatten().map(text).collect()
}
