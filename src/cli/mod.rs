//! The command line: nutcracker's flags with its defaults, `--workers`, and `ringroad route`.
//!
//! Parsing has no effects; `main` executes the resulting [`Command`]. Flags may repeat (the last one counts) and long
//! names may be shortened as long as they stay unambiguous, as with `getopt_long`.

pub mod route;
mod table;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::cli::table::{OPTIONS, Opt, POOL, Value};

pub use table::usage;

const CONF_FILE: &str = "conf/nutcracker.yml";
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
    TestConf(PathBuf),
    /// Report the server of each key.
    Route(RouteOptions),
    /// Run the proxy.
    Run(Options),
}

/// The options of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `-c`.
    pub conf_file: PathBuf,
    /// `-d`.
    pub daemonize: bool,
    /// `-v`: 0 to 11, see [`crate::log`].
    pub verbosity: u8,
    /// `-o`; `None` is stderr.
    pub output: Option<PathBuf>,
    /// `-s`; never 0.
    pub stats_port: u16,
    /// `-a`: a name or an address.
    pub stats_addr: String,
    /// `-i`: the maximum age of the statistics.
    pub stats_interval: Duration,
    /// `-p`.
    pub pid_file: Option<PathBuf>,
    /// Set if there is a (valid) `-m`: the size of nutcracker's buffers, which do not exist here.
    pub mbuf_size_given: bool,
    /// `--workers`.
    pub workers: NonZeroUsize,
}

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

/// One line that names the invalid option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Parses the arguments, the first of which is the program.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let matches = grammar()
        .try_get_matches_from(args)
        .map_err(|error| describe(&error))?;
    if let Some((_, route)) = matches.subcommand() {
        return read_route(&matches, route);
    }
    let options = read_options(&matches)?;
    Ok(if matches.get_flag("help") {
        Command::Help
    } else if matches.get_flag("version") {
        Command::Version
    } else if matches.get_flag("describe-stats") {
        Command::DescribeStats
    } else if matches.get_flag("test-conf") {
        Command::TestConf(options.conf_file)
    } else {
        Command::Run(options)
    })
}

/// The version, in the format in which scripts read nutcracker's.
pub const VERSION: &str = concat!(
    "This is ringroad-",
    env!("CARGO_PKG_VERSION"),
    "\nasync event backend: tokio\n\n"
);

fn grammar() -> clap::Command {
    let mut command = clap::Command::new("ringroad")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .infer_long_args(true)
        .args_override_self(true);
    for opt in &OPTIONS {
        command = command.arg(arg(opt));
    }
    let shared = ["help", "conf-file"].into_iter().filter_map(table::named);
    let route = clap::Command::new("route")
        .disable_help_flag(true)
        .infer_long_args(true)
        .args_override_self(true)
        .args(shared.chain([&POOL]).map(arg))
        .arg(
            Arg::new("key")
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(OsString)),
        );
    command.subcommand(route)
}

fn arg(opt: &Opt) -> Arg {
    let arg = Arg::new(opt.name).long(opt.name);
    let arg = match opt.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match opt.value {
        Value::Flag => arg.action(ArgAction::SetTrue),
        // Values may start with a hyphen, as with getopt; each is checked later.
        _ => arg
            .action(ArgAction::Set)
            .allow_hyphen_values(true)
            .value_parser(clap::value_parser!(OsString)),
    }
}

fn read_options(matches: &ArgMatches) -> Result<Options, UsageError> {
    let verbosity = number(matches, "verbose")?.map_or(VERBOSITY, |n| {
        u8::try_from(n).map_or(VERBOSITY_MAX, |n| n.min(VERBOSITY_MAX))
    });
    let stats_port = match number(matches, "stats-port")? {
        None => STATS_PORT,
        Some(n) => u16::try_from(n)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| UsageError(format!("option -s value {n} is not a valid port")))?,
    };
    let stats_interval = match number(matches, "stats-interval")? {
        None => STATS_INTERVAL,
        Some(n) if i32::try_from(n).is_ok() => Duration::from_millis(n),
        Some(n) => {
            let max = i32::MAX;
            return Err(UsageError(format!(
                "option -i value {n} is above {max} msec"
            )));
        }
    };
    let stats_addr = match text(matches, "stats-addr") {
        None => STATS_ADDR.to_owned(),
        Some(addr) => addr
            .to_str()
            .filter(|addr| !addr.is_empty())
            .ok_or_else(|| UsageError("option -a requires a host name or an address".to_owned()))?
            .to_owned(),
    };
    Ok(Options {
        conf_file: conf_file(matches),
        daemonize: matches.get_flag("daemonize"),
        verbosity,
        output: path(matches, "output"),
        stats_port,
        stats_addr,
        stats_interval,
        pid_file: path(matches, "pid-file"),
        mbuf_size_given: mbuf_size_given(matches)?,
        workers: workers(matches)?,
    })
}

fn read_route(top: &ArgMatches, route: &ArgMatches) -> Result<Command, UsageError> {
    if route.get_flag("help") {
        return Ok(Command::Help);
    }
    for opt in &OPTIONS {
        if top.value_source(opt.name) == Some(clap::parser::ValueSource::CommandLine) {
            let text = format!("option --{} cannot be used before 'route'", opt.name);
            return Err(UsageError(text));
        }
    }
    let keys: Vec<_> = route
        .get_many::<OsString>("key")
        .map(|keys| keys.cloned().map(OsString::into_vec).collect())
        .unwrap_or_default();
    if keys.is_empty() {
        return Err(UsageError("route requires at least one key".to_owned()));
    }
    let pool = text(route, "pool").map(|name| name.to_string_lossy().into_owned());
    Ok(Command::Route(RouteOptions {
        conf_file: conf_file(route),
        pool,
        keys,
    }))
}

fn conf_file(matches: &ArgMatches) -> PathBuf {
    text(matches, "conf-file").map_or_else(|| CONF_FILE.into(), PathBuf::from)
}

fn text<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m OsStr> {
    matches.get_one::<OsString>(name).map(OsString::as_os_str)
}

/// A path option; an empty one counts as absent.
fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    text(matches, name)
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
}

/// Parses decimal digits; a number above 64 bits counts as the largest one.
fn number(matches: &ArgMatches, name: &str) -> Result<Option<u64>, UsageError> {
    let Some(text) = text(matches, name) else {
        return Ok(None);
    };
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(UsageError(format!(
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

fn mbuf_size_given(matches: &ArgMatches) -> Result<bool, UsageError> {
    let non_zero = || UsageError("option -m requires a non-zero number".to_owned());
    match number(matches, "mbuf-size").map_err(|_| non_zero())? {
        None => Ok(false),
        Some(0) => Err(non_zero()),
        Some(n) if u32::try_from(n).is_ok_and(|n| MBUF_BYTES.contains(&n)) => Ok(true),
        Some(_) => Err(UsageError(format!(
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
            UsageError(format!(
                "option --workers must be between 1 and {WORKERS_MAX}"
            ))
        })
}

/// The short form of an option if it has one, as nutcracker names options in messages.
fn shown(name: &str) -> String {
    match table::named(name).and_then(|opt| opt.short) {
        Some(short) => format!("-{short}"),
        None => format!("--{name}"),
    }
}

fn describe(error: &clap::Error) -> UsageError {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => name.as_str(),
        _ => "",
    };
    // Clap shows the option with its value; a short option may be the equals sign itself.
    let ends = if named.starts_with("--") {
        [' ', '=']
    } else {
        [' ', ' ']
    };
    let named = named.split(ends).next().unwrap_or_default();
    let long = named.trim_start_matches('-');
    UsageError(match error.kind() {
        ErrorKind::UnknownArgument if named.starts_with("--") => {
            format!("unrecognized option '{}'", named.escape_default())
        }
        ErrorKind::UnknownArgument if named.starts_with('-') => {
            format!("invalid option -- '{}'", long.escape_default())
        }
        ErrorKind::UnknownArgument => {
            format!("unexpected argument '{}'", named.escape_default())
        }
        ErrorKind::InvalidValue => {
            let known = table::named(long).map(|opt| opt.value);
            format!(
                "option {} requires {}",
                shown(long),
                known.unwrap_or(Value::Flag).noun()
            )
        }
        ErrorKind::TooManyValues => format!("option {} takes no value", shown(long)),
        ErrorKind::InvalidSubcommand => match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(word)) => {
                format!("unexpected argument '{}'", word.escape_default())
            }
            _ => "unexpected argument".to_owned(),
        },
        kind => format!("invalid arguments: {kind}"),
    })
}
