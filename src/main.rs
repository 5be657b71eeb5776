//! The `ringroad` binary: the only place that prints, and that chooses an exit code.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use ringroad::app;
use ringroad::cli;
use ringroad::cli::route;
use ringroad::cli::route::RoutedPool;
use ringroad::cli::{
    Command, CopyOptions, CtlOptions, DiffOptions, MoveBy, Options, ReshardCommand, ReshardOptions,
    RouteOptions, TestOptions, UsageError, VerifyOptions,
};
use ringroad::config::{Config, PoolConfig};
use ringroad::console::{Confirm, Console};
use ringroad::control;
use ringroad::control::diff;
use ringroad::copy;
use ringroad::ctl;
use ringroad::ctl::CtlError;
use ringroad::daemon;
use ringroad::daemon::ReadyPipe;
use ringroad::handover::TakeOver;
use ringroad::log;
use ringroad::reshard;
use ringroad::reshard::{Action, Limits};
use ringroad::signals;
use ringroad::stats;
use ringroad::topology::Router;
use ringroad::verify;
use ringroad::verify::{Fix, Job};

/// Returns the pages of big values to the system; the C library keeps them when a small allocation lies behind them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let exit = act();
    log::write_exit_text(&exit.text);
    ExitCode::from(exit.code)
}

/// The end of the process: a text for stderr, where nutcracker writes its help too, and an exit code.
struct Exit {
    text: String,
    code: u8,
}

impl Exit {
    fn ok(text: String) -> Self {
        Self { text, code: 0 }
    }

    /// The end of a check: 0 if nothing was found, 1 if something was, 2 if it failed.
    fn of_check(is_clean: Result<bool, String>) -> Self {
        match is_clean {
            Ok(is_clean) => Self {
                text: String::new(),
                code: u8::from(!is_clean),
            },
            Err(text) => Self { text, code: 2 },
        }
    }
}

impl From<UsageError> for Exit {
    fn from(error: UsageError) -> Self {
        Self {
            text: format!("ringroad: {error}\n{}", error.usage()),
            code: error.code,
        }
    }
}

impl From<Result<String, String>> for Exit {
    fn from(result: Result<String, String>) -> Self {
        match result {
            Ok(text) => Self::ok(text),
            Err(text) => Self { text, code: 1 },
        }
    }
}

/// Executes the command line.
fn act() -> Exit {
    let args: Vec<OsString> = std::env::args_os().collect();
    let command = match cli::parse(args.clone()) {
        Ok(command) => command,
        Err(error) => return error.into(),
    };
    match command {
        Command::Help => Exit::ok(cli::VERSION.to_owned() + &cli::usage()),
        Command::Version => Exit::ok(cli::VERSION.to_owned()),
        Command::DescribeStats => Exit::ok(cli::VERSION.to_owned() + &stats::describe()),
        Command::TestConf(options) => test_conf(&options),
        Command::Route(options) => route(&options).and_then(|report| print(&report)).into(),
        Command::Diff(options) => Exit::of_check(diff(&options)),
        Command::Verify(options) => Exit::of_check(verify(&options)),
        Command::Copy(options) => Exit::of_check(copy(&options)),
        Command::Ctl(options) => ctl(&options),
        Command::Reshard(options) => Exit::of_check(reshard(&options)),
        Command::ReshardHelp => print(&cli::reshard_usage()).into(),
        Command::CtlHelp => print(&cli::ctl_usage()).into(),
        Command::Man => print(&cli::man()).into(),
        Command::Completions(shell) => {
            print(&String::from_utf8_lossy(&cli::completions(shell))).into()
        }
        Command::Run(options) => run(&options, args).map(|()| String::new()).into(),
    }
}

/// Writes a report to stdout.
fn print(report: &str) -> Result<String, String> {
    match io::stdout().write_all(report.as_bytes()) {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(String::new()),
        written => written
            .map(|()| String::new())
            .map_err(|error| ended(&error)),
    }
}

/// Checks a file, and has a proxy compare it with what it runs if that is wanted.
fn test_conf(options: &TestOptions) -> Exit {
    let file = &options.conf_file;
    let prefix = format!(
        "ringroad: configuration file '{}' syntax is",
        file.display()
    );
    let checked = Config::read_text(file).and_then(|text| {
        let config = Config::check_text(&text, file, file, control::CHECKS)?;
        Ok((config, text))
    });
    let (config, text) = match checked {
        Ok(checked) => checked,
        Err(errors) => return Err(format!("{errors}\n{prefix} invalid\n")).into(),
    };
    let of_stats_port = match app::check_stats_tls(options.stats_tls.as_ref()) {
        Ok(warnings) => warnings,
        Err(reason) => return Err(format!("ringroad: {reason}\n")).into(),
    };
    let lines = of_stats_port
        .iter()
        .map(|text| format!("ringroad: warning: stats port: {text}\n"));
    let of_stats_port = lines.collect::<Vec<_>>().concat();
    let ok = format!("{}{of_stats_port}{prefix} ok\n", warnings(&config));
    match &options.against {
        None => Exit::ok(ok),
        Some(socket) => {
            log::write_exit_text(&ok);
            against(socket, file, text)
        }
    }
}

/// Reports what a reload of this file would change at the proxy that has this admin socket.
fn against(socket: &Path, file: &Path, text: String) -> Exit {
    let differences = match ctl::diff(socket, file, text) {
        Ok(differences) => differences,
        Err(error) => {
            return Exit {
                text: ended(&error),
                code: match error.exit_code() {
                    // As for an invalid file.
                    2 => 1,
                    code => code,
                },
            };
        }
    };
    if let Err(text) = print(&differences.text) {
        return Err(text).into();
    }
    let proxy = format!("ringroad: the proxy at '{}' would", socket.display());
    if differences.refusals.is_empty() {
        return Exit::ok(format!("{proxy} apply it\n"));
    }
    let refusals = differences.refusals.join("\n");
    Err(format!("{proxy} refuse it:\n{refusals}\n")).into()
}

/// Runs until a signal ends it, here or (`-d`) in a second process.
fn run(options: &Options, args: Vec<OsString>) -> Result<(), String> {
    if !options.daemonize {
        return serve(options, || ());
    }
    if !daemon::is_detached() {
        load(options)?;
        return daemon::detach(args.into_iter().skip(1)).map_err(|error| ended(&error));
    }
    let mut pipe = Some(ReadyPipe::in_new_session().map_err(|error| ended(&error))?);
    let served = serve(options, || {
        // If the first process is gone, it was killed: serve nevertheless.
        let _ = pipe.take().map(ReadyPipe::ready);
    });
    if let (Err(reason), Some(pipe)) = (&served, pipe) {
        let _ = pipe.refused(reason.strip_prefix("ringroad: ").unwrap_or(reason));
    }
    served
}

/// Formats the warnings about a valid file.
fn warnings(config: &Config) -> String {
    let of_pool = |pool: &PoolConfig| {
        let warnings = control::warnings(pool).into_iter();
        let lines =
            warnings.map(|text| format!("ringroad: warning: pool '{}': {text}\n", pool.name));
        lines.collect::<String>()
    };
    config.pools.iter().map(of_pool).collect()
}

fn load(options: &Options) -> Result<Config, String> {
    Config::check(&options.conf_file, control::CHECKS).map_err(|errors| format!("{errors}\n"))
}

fn serve(options: &Options, ready: impl FnOnce()) -> Result<(), String> {
    let take_over = options.take_over.as_deref().map(TakeOver::request);
    let take_over = take_over.transpose().map_err(|error| ended(&error))?;
    // From now on the old process hears of failures over the connection.
    daemon::restore_stderr().map_err(|error| ended(&error))?;
    let loaded = load(options).and_then(|config| {
        let output = options.output.as_deref();
        log::init(options.verbosity, options.log_format, output).map_err(|error| ended(&error))?;
        Ok(config)
    });
    let config = match loaded {
        Ok(config) => config,
        Err(reason) => {
            if let Some(take_over) = take_over {
                take_over.fail(&reason);
            }
            return Err(reason);
        }
    };
    tracing::info!(
        "ringroad-{} started on pid {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    if options.mbuf_size_given {
        tracing::info!(
            "option -m is accepted for compatibility and ignored: buffers are sized dynamically"
        );
    }
    let served = match app::run(config, options, take_over, ready) {
        Ok(app::Exit::Drained) => Ok(()),
        Ok(app::Exit::Immediate) => Err("terminated by signal".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    log::report_all_suppressed();
    if let Err(reason) = &served {
        tracing::error!("{reason}");
    }
    served.map_err(|reason| ended(&reason))
}

fn ended(reason: &dyn std::fmt::Display) -> String {
    format!("ringroad: {reason}\n")
}

/// Reports on every requested pool.
fn route(options: &RouteOptions) -> Result<String, String> {
    let config = Config::load(&options.conf_file, control::CHECKS)
        .map_err(|errors| format!("{errors}\n"))?;
    let wanted = |pool: &&PoolConfig| options.pool.as_ref().is_none_or(|name| *name == pool.name);
    let keys: Vec<&[u8]> = options.keys.iter().map(Vec::as_slice).collect();
    let reports: Vec<_> = config
        .pools
        .iter()
        .filter(wanted)
        .map(|pool| route_in(pool, &keys))
        .collect();
    if let (Some(name), true) = (&options.pool, reports.is_empty()) {
        let file = options.conf_file.display();
        return Err(ended(&format_args!("no pool '{name}' in '{file}'")));
    }
    Ok(reports.join("\n"))
}

fn route_in(pool: &PoolConfig, keys: &[&[u8]]) -> String {
    let addresses: Vec<_> = pool
        .servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    let router = Router::for_pool(pool);
    route::report(
        &RoutedPool {
            name: &pool.name,
            router: &router,
            addresses: &addresses,
        },
        keys,
    )
}

/// Asks or changes a running proxy.
fn ctl(options: &CtlOptions) -> Exit {
    let error = match ctl::run(options) {
        Ok(answer) => {
            return match print(&answer.text) {
                Ok(text) => Exit {
                    text,
                    code: answer.code,
                },
                Err(text) => Err(text).into(),
            };
        }
        Err(error) => error,
    };
    let printed = match &error {
        CtlError::Refused { json, .. } => print(json),
        _ => Ok(String::new()),
    };
    printed.map_or_else(
        |text| Exit { text, code: 1 },
        |_| Exit {
            text: ended(&error),
            code: error.exit_code(),
        },
    )
}

/// Reports the differences between two files; returns true if there are none.
fn diff(options: &DiffOptions) -> Result<bool, String> {
    let load =
        |file: &Path| Config::load(file, control::CHECKS).map_err(|errors| format!("{errors}\n"));
    let (old, new) = match (load(&options.old), load(&options.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => return Err([old.err(), new.err()].into_iter().flatten().collect()),
    };
    let diff = diff::compare(&old.pools, &new.pools);
    let report = if options.json {
        format!("{:#}\n", diff.to_json())
    } else {
        diff.to_string()
    };
    print(&report)?;
    Ok(diff.is_empty())
}

/// Finds keys on wrong servers; returns true if there are none.
fn verify(options: &VerifyOptions) -> Result<bool, String> {
    let config = Config::load_to_connect(&options.conf_file, control::CHECKS)
        .map_err(|errors| format!("{errors}\n"))?;
    let job = Job {
        pools: &config.pools,
        pool: the_pool(
            &config.pools,
            options.pool.as_ref(),
            &options.conf_file,
            "--pool",
        )?,
        fix: match (options.fix, options.drop_only_copies) {
            (false, _) => Fix::Nothing,
            (true, false) => Fix::Copies,
            (true, true) => Fix::All,
        },
        is_confirmed: options.yes,
        per_second: options.rate,
        json: options.json,
        list: options.list,
    };
    on_console(|console| verify::run(&job, console).map_err(|error| ended(&error)))
}

/// Copies the keys of a pool; returns true if nothing is left to copy.
fn copy(options: &CopyOptions) -> Result<bool, String> {
    let load = |file: &Path| {
        Config::load_to_connect(file, control::CHECKS).map_err(|errors| format!("{errors}\n"))
    };
    let (from, to) = match (load(&options.from), load(&options.to)) {
        (Ok(from), Ok(to)) => (from, to),
        (from, to) => return Err([from.err(), to.err()].into_iter().flatten().collect()),
    };
    let job = copy::Job {
        from: the_pool(
            &from.pools,
            options.from_pool.as_ref(),
            &options.from,
            "--from-pool",
        )?,
        to: the_pool(
            &to.pools,
            options.to_pool.as_ref(),
            &options.to,
            "--to-pool",
        )?,
        per_second: options.rate,
        is_once: options.once,
        into_data: options.into_data,
        is_confirmed: options.yes,
        json: options.json,
    };
    on_console(|console| {
        copy::run(&job, signals::count_stops, console).map_err(|error| ended(&error))
    })
}

/// Moves the keys of a pool; returns true if it is done.
fn reshard(options: &ReshardOptions) -> Result<bool, String> {
    let load = |file: &Path| {
        Config::load_to_connect(file, control::CHECKS).map_err(|errors| format!("{errors}\n"))
    };
    let to = match &options.command {
        ReshardCommand::Plan(to) | ReshardCommand::Start(to) => Some(to),
        _ => None,
    };
    let (config, to_config) = match (load(&options.conf_file), to.map(|to| load(to)).transpose()) {
        (Ok(config), Ok(to_config)) => (config, to_config),
        (config, to) => return Err([config.err(), to.err()].into_iter().flatten().collect()),
    };
    let find = |config: &'_ Config, file: &Path| {
        let pool = the_pool(&config.pools, options.pool.as_ref(), file, "--pool");
        pool.cloned()
    };
    let pool = find(&config, &options.conf_file)?;
    let target = to_config.as_ref().zip(to);
    let target = target
        .map(|(config, file)| find(config, file))
        .transpose()?;
    let target = target.as_ref().unwrap_or(&pool);
    let job = reshard::Job {
        pool: &pool,
        action: match options.command {
            ReshardCommand::Plan(_) => Action::Plan(target),
            ReshardCommand::Start(_) => Action::Start(target),
            ReshardCommand::Run => Action::Run,
            ReshardCommand::Status { watch } => Action::Status { watch },
            ReshardCommand::Pause => Action::Pause,
            ReshardCommand::Resume => Action::Resume,
            ReshardCommand::Abort => Action::Abort,
            ReshardCommand::Finish { forget } => Action::Finish { forget },
        },
        by_replication: options.by == MoveBy::Replication,
        limits: Limits {
            per_second: options.rate,
            hold: options.hold,
            allowed: &options.allowed,
            is_confirmed: options.yes,
        },
        looks_at_all_keys: options.big_keys,
        json: options.json,
    };
    let stops = signals::count_stops().map_err(|error| ended(&error))?;
    on_console(|console| reshard::run(&job, &stops, console).map_err(|error| ended(&error)))
}

/// Runs a tool with the terminal, as far as there is one.
fn on_console<T>(tool: impl FnOnce(&mut Console<'_>) -> T) -> T {
    let mut stderr = io::stderr();
    let mut confirm = |question: &str| {
        let mut answer = String::new();
        io::stderr().write_all(question.as_bytes())?;
        io::stdin().read_line(&mut answer)?;
        let answer = answer.trim();
        Ok(["y", "yes"]
            .iter()
            .any(|yes| answer.eq_ignore_ascii_case(yes)))
    };
    let mut console = Console {
        out: &mut io::stdout().lock(),
        terminal: stderr
            .is_terminal()
            .then_some(&mut stderr as &mut dyn Write),
        confirm: io::stdin()
            .is_terminal()
            .then_some(&mut confirm as &mut Confirm<'_>),
    };
    tool(&mut console)
}

/// The requested pool; without a request the only one. `option` requests it.
fn the_pool<'c>(
    pools: &'c [PoolConfig],
    name: Option<&String>,
    file: &Path,
    option: &str,
) -> Result<&'c PoolConfig, String> {
    let file = file.display();
    match (name, pools) {
        (None, [pool]) => Ok(pool),
        (None, _) => {
            let names: Vec<_> = pools.iter().map(|pool| pool.name.as_str()).collect();
            let names = names.join(", ");
            Err(ended(&format_args!(
                "'{file}' has several pools; add {option} with one of {names}"
            )))
        }
        (Some(name), _) => pools
            .iter()
            .find(|pool| pool.name == *name)
            .ok_or_else(|| ended(&format_args!("no pool '{name}' in '{file}'"))),
    }
}
