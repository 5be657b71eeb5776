//! The command line: nutcracker's flags with its defaults, `--workers`, `--admin`, `--show-keys`, `--watch`, `--against`,
//! `--take-over`, and the subcommands.
//!
//! Parsing has no effects; `main` executes the resulting [`Command`]. Flags may repeat (the last one counts) and long
//! names may be shortened as long as they stay unambiguous, as with `getopt_long`.

mod completions;
mod ctl;
mod grammar;
mod man;
mod options;
mod reshard;
mod reshard_table;
pub mod route;
mod subcommand;
mod table;
mod values;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use crate::cli::values::{conf_file, number, path, text};
use crate::log::LogFormat;

pub use completions::{Shell, completions};
pub use ctl::{CtlCommand, CtlOptions};
pub use man::man;
pub use reshard::{MoveBy, ReshardCommand, ReshardOptions};
pub use reshard_table::reshard_usage;
pub use subcommand::{CopyOptions, DiffOptions, RouteOptions, VerifyOptions};
pub use table::{ctl_usage, usage};
pub use values::UsageError;

const VERBOSITY: u8 = 5;
const VERBOSITY_MAX: u8 = 11;
const STATS_PORT: u16 = 22222;
const STATS_ADDR: &str = "0.0.0.0";
const STATS_INTERVAL: Duration = Duration::from_secs(30);
const MBUF_BYTES: std::ops::RangeInclusive<u32> = 512..=16_777_216;
const WORKERS_MAX: usize = 1024;

/// The command of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print the version and the usage.
    Help,
    /// Print the version.
    Version,
    /// Print the table of statistics.
    DescribeStats,
    /// Validate a configuration file.
    TestConf(TestOptions),
    /// Report the server of each key.
    Route(RouteOptions),
    /// Report what a change of the configuration would do.
    Diff(DiffOptions),
    /// Find keys on wrong servers.
    Verify(VerifyOptions),
    /// Copy the keys of a pool to another one.
    Copy(CopyOptions),
    /// Move the keys of a pool.
    Reshard(ReshardOptions),
    /// Print the usage of `reshard`.
    ReshardHelp,
    /// Ask or change a running proxy.
    Ctl(CtlOptions),
    /// Print the usage of `ctl`.
    CtlHelp,
    /// Print the manual page.
    Man,
    /// Print completions for a shell.
    Completions(Shell),
    /// Run the proxy.
    Run(Options),
}

/// The options of `-t`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOptions {
    /// `-c`.
    pub conf_file: PathBuf,
    /// `--against`: the admin socket of a proxy.
    pub against: Option<PathBuf>,
    /// `--stats-tls-cert` and `--stats-tls-key`.
    pub stats_tls: Option<(PathBuf, PathBuf)>,
}

/// The options of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Options {
    /// `-c`.
    pub conf_file: PathBuf,
    /// `-d`.
    pub daemonize: bool,
    /// `-v`: 0 to 11, see [`crate::log`].
    pub verbosity: u8,
    /// `-o`; `None` is stderr.
    pub output: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `-s`; never 0.
    pub stats_port: u16,
    /// `-a`: a name or an address.
    pub stats_addr: String,
    /// `--stats-tls-cert` and `--stats-tls-key`.
    pub stats_tls: Option<(PathBuf, PathBuf)>,
    /// `-i`: the maximum age of the statistics.
    pub stats_interval: Duration,
    /// `-p`.
    pub pid_file: Option<PathBuf>,
    /// Set if there is a (valid) `-m`: the size of nutcracker's buffers, which do not exist here.
    pub mbuf_size_given: bool,
    /// `--workers`.
    pub workers: NonZeroUsize,
    /// `--admin`.
    pub admin: Option<PathBuf>,
    /// `--show-keys`.
    pub show_keys: bool,
    /// `--watch`.
    pub watch: bool,
    /// `--take-over`: the admin socket of the proxy whose place this one takes.
    pub take_over: Option<PathBuf>,
}

/// Parses the arguments, the first of which is the program.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let matches = grammar::matches(args)?;
    if let Some((name, sub)) = matches.subcommand() {
        return subcommand(name, sub, &matches).map_err(|error| error.of_subcommand(name));
    }
    let options = read_options(&matches)?;
    let against = path(&matches, "against");
    if against.is_some() && !matches.get_flag("test-conf") {
        return Err(UsageError::new("option --against requires -t".to_owned()));
    }
    Ok(if matches.get_flag("help") {
        Command::Help
    } else if matches.get_flag("version") {
        Command::Version
    } else if matches.get_flag("describe-stats") {
        Command::DescribeStats
    } else if matches.get_flag("test-conf") {
        Command::TestConf(TestOptions {
            conf_file: options.conf_file,
            against,
            stats_tls: options.stats_tls,
        })
    } else {
        Command::Run(options)
    })
}

fn subcommand(name: &str, sub: &ArgMatches, top: &ArgMatches) -> Result<Command, UsageError> {
    if sub.get_flag("help") {
        return Ok(match name {
            "ctl" => Command::CtlHelp,
            "reshard" => Command::ReshardHelp,
            _ => Command::Help,
        });
    }
    for opt in &options::OPTIONS {
        if top.value_source(opt.name) == Some(clap::parser::ValueSource::CommandLine) {
            let text = format!("option --{} cannot be used before '{name}'", opt.name);
            return Err(UsageError::new(text));
        }
    }
    match name {
        "copy" => subcommand::read_copy(sub).map(Command::Copy),
        "completions" => completions::read(sub).map(Command::Completions),
        "ctl" => Ok(ctl::read(sub)?.map_or(Command::CtlHelp, Command::Ctl)),
        "diff" => subcommand::read_diff(sub).map(Command::Diff),
        "man" => subcommand::no_arguments(sub).map(|()| Command::Man),
        "reshard" => Ok(reshard::read(sub)?.map_or(Command::ReshardHelp, Command::Reshard)),
        "verify" => subcommand::read_verify(sub).map(Command::Verify),
        _ => subcommand::read_route(sub).map(Command::Route),
    }
}

/// The version, in the format in which scripts read nutcracker's.
pub const VERSION: &str = concat!(
    "This is ringroad-",
    env!("CARGO_PKG_VERSION"),
    "\nasync event backend: tokio\n\n"
);

fn read_options(matches: &ArgMatches) -> Result<Options, UsageError> {
    let verbosity = number(matches, "verbose")?.map_or(VERBOSITY, |n| {
        u8::try_from(n).map_or(VERBOSITY_MAX, |n| n.min(VERBOSITY_MAX))
    });
    let stats_port = match number(matches, "stats-port")? {
        None => STATS_PORT,
        Some(n) => u16::try_from(n)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| UsageError::new(format!("option -s value {n} is not a valid port")))?,
    };
    let stats_interval = match number(matches, "stats-interval")? {
        None => STATS_INTERVAL,
        Some(n) if i32::try_from(n).is_ok() => Duration::from_millis(n),
        Some(n) => {
            let max = i32::MAX;
            return Err(UsageError::new(format!(
                "option -i value {n} is above {max} msec"
            )));
        }
    };
    let stats_addr = match text(matches, "stats-addr") {
        None => STATS_ADDR.to_owned(),
        Some(addr) => addr
            .to_str()
            .filter(|addr| !addr.is_empty())
            .ok_or_else(|| {
                UsageError::new("option -a requires a host name or an address".to_owned())
            })?
            .to_owned(),
    };
    Ok(Options {
        conf_file: conf_file(matches),
        daemonize: matches.get_flag("daemonize"),
        verbosity,
        output: path(matches, "output"),
        log_format: log_format(matches)?,
        stats_port,
        stats_addr,
        stats_tls: stats_tls(matches)?,
        stats_interval,
        pid_file: path(matches, "pid-file"),
        mbuf_size_given: mbuf_size_given(matches)?,
        workers: workers(matches)?,
        admin: path(matches, "admin"),
        show_keys: matches.get_flag("show-keys"),
        watch: matches.get_flag("watch"),
        take_over: path(matches, "take-over"),
    })
}

fn stats_tls(matches: &ArgMatches) -> Result<Option<(PathBuf, PathBuf)>, UsageError> {
    match (
        path(matches, "stats-tls-cert"),
        path(matches, "stats-tls-key"),
    ) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => Err(UsageError::new(
            "options --stats-tls-cert and --stats-tls-key require each other".to_owned(),
        )),
    }
}

fn log_format(matches: &ArgMatches) -> Result<LogFormat, UsageError> {
    let Some(wanted) = text(matches, "log-format") else {
        return Ok(LogFormat::default());
    };
    let mut formats = LogFormat::ALL.into_iter();
    let format = formats.find(|(name, _)| wanted == *name);
    format
        .map(|(_, format)| format)
        .ok_or_else(|| UsageError::new("option --log-format must be text or json".to_owned()))
}

fn mbuf_size_given(matches: &ArgMatches) -> Result<bool, UsageError> {
    let non_zero = || UsageError::new("option -m requires a non-zero number".to_owned());
    match number(matches, "mbuf-size").map_err(|_| non_zero())? {
        None => Ok(false),
        Some(0) => Err(non_zero()),
        Some(n) if u32::try_from(n).is_ok_and(|n| MBUF_BYTES.contains(&n)) => Ok(true),
        Some(_) => Err(UsageError::new(format!(
            "option -m: mbuf chunk size must be between {} and {} bytes",
            MBUF_BYTES.start(),
            MBUF_BYTES.end()
        ))),
    }
}

fn workers(matches: &ArgMatches) -> Result<NonZeroUsize, UsageError> {
    let Some(n) = number(matches, "workers")? else {
        return Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    };
    usize::try_from(n)
        .ok()
        .filter(|n| *n <= WORKERS_MAX)
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| {
            UsageError::new(format!(
                "option --workers must be between 1 and {WORKERS_MAX}"
            ))
        })
}
