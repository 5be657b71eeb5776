//! Wiring: limits, listeners, workers, the stats port, the admin socket; then signals, reload, upgrade and shutdown.

mod admin_control;
mod admin_server;
mod control_loop;
mod error;
mod exclusion;
mod facts;
mod failovers;
mod file_watch;
mod files;
mod listeners;
mod moves;
mod pools;
mod reload;
mod servers;
mod sockets;
mod stats_tls;
mod times;
mod tls_renewal;
mod tls_watch;
mod upgrade;
mod watchdog;

use std::fmt;
use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::app::admin_control::AppControl;
use crate::app::admin_server::AdminServer;
pub use crate::app::control_loop::Exit;
use crate::app::control_loop::{ControlLoop, Upgrades};
pub use crate::app::error::AppError;
use crate::app::exclusion::Exclusion;
use crate::app::file_watch::FileWatch;
use crate::app::pools::{Parts, RunningPools};
use crate::app::reload::Reload;
use crate::app::sockets::OpenSockets;
pub use crate::app::stats_tls::check as check_stats_tls;
use crate::app::times::DRAIN_WITHIN;
use crate::app::tls_watch::TlsWatch;
use crate::app::upgrade::{Launch, OwnSockets, Predecessor, Upgrade};
use crate::cli::Options;
use crate::config::Config;
use crate::daemon::PidFile;
use crate::handover::TakeOver;
use crate::journal::{Event, EventKind, Journal};
use crate::log;
use crate::net::{AcceptGate, ConnLimit};
use crate::proxy::MemoryBudget;
use crate::runtime::system_memory;
use crate::runtime::{RuntimeConfig, Workers};
use crate::signals::Signals;
use crate::stats::Snapshot;
use crate::systemd::Notifier;

/// The time for which a new process waits to know the primaries before it takes over.
const ROLES_WITHIN: Duration = Duration::from_secs(5);

/// The shortest interval at which a worker publishes its counts. nutcracker accepts `-i 0` too.
const STATS_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Runs until a signal ends it, in the place of another process if there is one. Calls `ready` once every listener is
/// bound.
pub fn run(
    config: Config,
    options: &Options,
    take_over: Option<TakeOver>,
    ready: impl FnOnce(),
) -> Result<Exit, AppError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AppError::Runtime)?;
    let ended = runtime.block_on(serve(config, options, take_over, ready));
    runtime.shutdown_background();
    ended
}

async fn serve(
    config: Config,
    options: &Options,
    take_over: Option<TakeOver>,
    ready: impl FnOnce(),
) -> Result<Exit, AppError> {
    let (mut predecessor, sockets) = match take_over {
        Some(take_over) => {
            let (predecessor, sockets) = Predecessor::meet(take_over).await?;
            (Some(predecessor), OpenSockets::taken_over(sockets))
        }
        None => (None, OpenSockets::passed()?),
    };
    let begun = begin(config, options, sockets, predecessor.as_mut()).await;
    let mut proxy = match (begun, &mut predecessor) {
        (Ok(proxy), _) => proxy,
        (Err(error), Some(predecessor)) => {
            predecessor.fail(&error.to_string()).await;
            return Err(error);
        }
        (Err(error), None) => return Err(error),
    };
    ready();
    let ended = proxy.control.run(predecessor).await?;
    proxy.draining.cancel();
    // What it holds of the listeners would keep them open.
    drop(proxy.control);
    proxy.stop.cancel();
    proxy.tasks.close();
    if ended == Exit::Drained {
        proxy.tasks.wait().await;
    }
    tracing::info!(pid = std::process::id(), "done");
    Ok(ended)
}

/// A proxy that serves.
struct Proxy {
    control: ControlLoop,
    /// The tasks of the stats port and the admin socket, until `stop`.
    tasks: TaskTracker,
    stop: CancellationToken,
    draining: CancellationToken,
    _pid_file: Option<Arc<PidFile>>,
}

/// The state that the stats port serves.
fn stats_port(control: &Arc<AppControl>, options: &Options) -> admin::State {
    let counts = Arc::new(WorkersCollector(control.stats.clone()));
    let (journal, draining) = (Arc::clone(&control.journal), control.draining.clone());
    let state = admin::State::new(counts, journal, control.workers, draining);
    state.offering(
        Arc::clone(control) as _,
        &options.stats_addr,
        options.show_keys,
    )
}

/// Starts everything; with a predecessor, to the moment at which that has stopped accepting.
async fn begin(
    config: Config,
    options: &Options,
    sockets: OpenSockets,
    predecessor: Option<&mut Predecessor>,
) -> Result<Proxy, AppError> {
    let started = Instant::now();
    let launch = Launch::of_this_process();
    let watch = FileWatch::new(&options.conf_file);
    let signals = Signals::catch().map_err(AppError::Signals)?;
    let (stop, draining) = (CancellationToken::new(), CancellationToken::new());
    let gate = AcceptGate::new(predecessor.is_none());
    let journal: Arc<Journal> = Arc::default();
    let parts = Parts {
        started,
        common_memory: Arc::new(MemoryBudget::new(system_memory().unwrap_or(0) / 2)),
        process: ConnLimit::default(),
        journal: Arc::clone(&journal),
        worker_count: options.workers.get(),
        gate: gate.clone(),
        draining: draining.clone(),
    };
    reload::log_warnings(&config);
    let sockets = sockets.open(&config, options)?;
    let own_sockets = OwnSockets::of(&sockets.stats, sockets.admin.as_ref());
    let own_sockets = own_sockets.map_err(AppError::Stats)?;
    let setups = config.pools.into_iter().map(|pool| parts.setup(pool));
    let setups: Vec<_> = setups.collect();
    let limit = files::client_limit(&setups, parts.worker_count);
    parts.process.set_limit(limit);
    let workers = Workers::start(&RuntimeConfig {
        pools: setups.clone(),
        workers: parts.worker_count,
        stats_interval: stats_interval(options),
        conn_limit: parts.process.clone(),
    })?;
    let pools = RunningPools::start(parts, setups, sockets.pools, &workers);
    tokio::spawn(log::report_suppressed());
    let tasks = TaskTracker::new();
    let collector = workers.stats_collector();
    let exclusion = Exclusion::default();
    let (orders, ordered) = mpsc::channel(1);
    let control = Arc::new(AppControl {
        pools: Arc::clone(workers.pools()),
        stats: collector.clone(),
        started,
        workers: options.workers.get(),
        config_file: admin_control::absolute(&options.conf_file),
        drain_within: DRAIN_WITHIN,
        draining: draining.clone(),
        orders,
        journal: Arc::clone(&journal),
        diffs: Arc::new(Semaphore::new(1)),
        moves: Arc::default(),
        exclusion: exclusion.clone(),
    });
    let port = stats_port(&control, options).encrypted(stats_tls::start(options)?);
    tasks.spawn(serve_stats(sockets.stats, port, gate.clone(), stop.clone()));
    let admin_server = AdminServer::new(control, &gate, &tasks, &stop);
    if let Some(socket) = sockets.admin {
        admin_server.serve(socket);
    }
    if let Some(predecessor) = predecessor {
        await_turn(predecessor, &pools, sockets.taken).await?;
    }
    journal.record(start_of(options));
    // Once everything is bound: a second start, which fails before that, keeps the first one's file.
    let pid_file = options
        .pid_file
        .as_deref()
        .map(write_pid_file)
        .transpose()?;
    let notifier = Notifier::from_environment();
    Ok(Proxy {
        control: ControlLoop {
            signals,
            ordered,
            watch: options.watch.then_some(watch),
            tls_watch: TlsWatch::new(),
            reload: Reload::new(&options.conf_file),
            upgrades: Upgrades {
                upgrade: Upgrade::default(),
                launch,
                admin: options.admin.clone(),
                admin_server,
                own_sockets,
                gate,
                exclusion,
                pid_file: pid_file.clone(),
            },
            watchdog: watchdog::start(&notifier, collector),
            notifier,
            pools,
            workers,
            draining: draining.clone(),
        },
        tasks,
        stop,
        draining,
        _pid_file: pid_file,
    })
}

fn start_of(options: &Options) -> Event {
    let (version, workers) = (env!("CARGO_PKG_VERSION"), options.workers);
    Event::new(
        EventKind::Started,
        format!("version {version} with {workers} workers"),
    )
}

/// Completes when the old process has stopped accepting.
async fn await_turn(
    predecessor: &mut Predecessor,
    pools: &RunningPools,
    taken: Vec<usize>,
) -> Result<(), AppError> {
    pools.drain(&predecessor.welcome.drained);
    // Servers that do not answer must not keep the old process from ending, as they would not keep this one from starting.
    if timeout(ROLES_WITHIN, pools.ready()).await.is_err() {
        tracing::warn!("primaries and marks are not known yet; clients of their pools wait");
    }
    predecessor.ready(pools.names(), taken).await?;
    Ok(())
}

fn write_pid_file(path: &Path) -> Result<Arc<PidFile>, AppError> {
    let written = PidFile::write(path).map_err(|error| AppError::PidFile {
        path: path.display().to_string(),
        error,
    });
    written.map(Arc::new)
}

/// The interval at which workers publish their counts.
fn stats_interval(options: &Options) -> Duration {
    options.stats_interval.max(STATS_INTERVAL_MIN)
}

async fn serve_stats(
    listener: TcpListener,
    state: admin::State,
    gate: AcceptGate,
    stop: CancellationToken,
) {
    if let Err(error) = admin::serve(listener, Arc::new(state), gate, stop).await {
        tracing::error!(%error, "stats server failed");
    }
}

/// The workers' counts, for the stats port.
struct WorkersCollector(crate::runtime::StatsCollector);

impl admin::Collector for WorkersCollector {
    fn collect(&self) -> Pin<Box<dyn Future<Output = Snapshot> + Send + '_>> {
        Box::pin(self.0.collect())
    }
}

impl fmt::Debug for WorkersCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkersCollector")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli;
    use crate::cli::Command;

    #[test]
    fn the_stats_interval_is_honoured_exactly() {
        let cases = [
            ("0", 1),
            ("1", 1),
            ("1500", 1500),
            ("30000", 30_000),
            ("2147483647", 2_147_483_647),
        ];
        for (msec, expected) in cases {
            let args = ["ringroad", "-i", msec].map(OsString::from);
            let Command::Run(options) = cli::parse(args).unwrap() else {
                panic!("-i {msec} does not run a proxy");
            };
            assert_eq!(stats_interval(&options), Duration::from_millis(expected));
        }
    }
}
