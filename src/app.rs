//! Wiring: limits, listeners, workers, the stats port, signals and shutdown.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::cli::Options;
use crate::config::{Config, Distribution};
use crate::control;
use crate::net::{ConnLimit, Listener};
use crate::protocol::redis::state::shared::PoolShared;
use crate::proxy::MemoryBudget;
use crate::runtime::system_memory;
use crate::runtime::{Acceptor, PoolSetup, RuntimeConfig, WorkerError, Workers};
use crate::signals::{SignalAction, Signals};
use crate::stats::Snapshot;
use crate::topology::PoolHealth;

/// The time limit for requests in flight after SIGTERM.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The shortest interval at which a worker publishes its counts. nutcracker accepts `-i 0` too.
const STATS_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// File descriptors reserved for the log, the stats port and the like, as in nutcracker.
const RESERVED_FILES: usize = 32;

/// An error that keeps the proxy from running.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The runtime of the control thread could not be created.
    #[error("failed to create the runtime of the control thread: {0}")]
    Runtime(#[source] io::Error),
    /// A worker could not start, or ended before the shutdown.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A pool's address is taken or unusable.
    #[error("pool '{pool}': listening on '{address}' failed: {error}")]
    Listen {
        /// The pool.
        pool: String,
        /// Its `listen`.
        address: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The stats port is taken or unusable.
    #[error("stats port: {0}")]
    Stats(#[source] io::Error),
    /// The pid file could not be written.
    #[error("writing pid file '{path}' failed: {error}")]
    PidFile {
        /// Its path.
        path: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The signal handlers could not be installed.
    #[error("catching signals failed: {0}")]
    Signals(#[source] io::Error),
}

/// The way in which the proxy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// After SIGTERM, with the requests in flight finished or cut off at the time limit.
    Drained,
    /// Immediately: SIGINT, or a second SIGTERM.
    Immediate,
}

/// Runs until a signal ends it. Calls `ready` once every listener is bound; its error ends the proxy at once.
pub fn run(
    config: Config,
    options: &Options,
    ready: impl FnOnce() -> Result<(), AppError>,
) -> Result<Exit, AppError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AppError::Runtime)?;
    let ended = runtime.block_on(serve(config, options, ready));
    runtime.shutdown_background();
    ended
}

async fn serve(
    config: Config,
    options: &Options,
    ready: impl FnOnce() -> Result<(), AppError>,
) -> Result<Exit, AppError> {
    let mut signals = Signals::catch().map_err(AppError::Signals)?;
    let mut plan = plan(config, options);
    plan.conn_limit = ConnLimit::new(client_limit(&plan));
    // The pools' ports are bound last: a client that can connect to one finds everything else running.
    let stats = admin::bind(&options.stats_addr, options.stats_port).map_err(AppError::Stats)?;
    let listeners = bind(&plan)?;
    let mut workers = Workers::start(&plan)?;
    let (stop, draining) = (CancellationToken::new(), CancellationToken::new());
    let tasks = TaskTracker::new();
    for (index, (pool, listener)) in plan.pools.iter().zip(listeners).enumerate() {
        let acceptor = Acceptor::new(index, pool, listener, plan.conn_limit.clone(), &workers);
        tasks.spawn(acceptor.run(draining.clone()));
    }
    let collector = Arc::new(WorkersCollector(workers.stats_collector()));
    tasks.spawn(serve_stats(
        stats,
        collector,
        plan.workers,
        draining.clone(),
        stop.clone(),
    ));
    ready()?;

    let ended = loop {
        let action = tokio::select! {
            action = signals.next() => action,
            failure = workers.failure() => return Err(failure.into()),
        };
        match action {
            SignalAction::Exit => break Exit::Immediate,
            SignalAction::Drain => {
                draining.cancel();
                tracing::info!(within = ?DRAIN_WITHIN, "draining");
                tokio::select! {
                    () = workers.drain(DRAIN_WITHIN) => break Exit::Drained,
                    () = signals.exit_now() => break Exit::Immediate,
                }
            }
            SignalAction::Handled => {}
        }
    };
    draining.cancel();
    stop.cancel();
    tasks.close();
    if ended == Exit::Drained {
        tasks.wait().await;
    }
    tracing::info!("done");
    Ok(ended)
}

fn plan(config: Config, options: &Options) -> RuntimeConfig {
    let started = Instant::now();
    let common_memory = Arc::new(MemoryBudget::new(system_memory().unwrap_or(0) / 2));
    let pools = config.pools.into_iter().map(|pool| {
        for warning in control::warnings(&pool) {
            tracing::warn!(pool = pool.name, "{warning}");
        }
        let health = Arc::new(PoolHealth::for_pool(&pool, started));
        let memory = match pool.memory_limit {
            Some(bytes) => Arc::new(MemoryBudget::new(bytes)),
            None => Arc::clone(&common_memory),
        };
        let everywhere = pool.pubsub_everywhere || pool.distribution == Distribution::Random;
        PoolSetup {
            config: Arc::new(pool),
            health,
            started,
            shared: Arc::new(PoolShared::new(everywhere)),
            memory,
            rejected: Arc::default(),
        }
    });
    RuntimeConfig {
        pools: pools.collect(),
        workers: options.workers.get(),
        stats_interval: options.stats_interval.max(STATS_INTERVAL_MIN),
        conn_limit: ConnLimit::default(),
    }
}

fn bind(plan: &RuntimeConfig) -> Result<Vec<Listener>, AppError> {
    let bind = |pool: &PoolSetup| {
        let config = &pool.config;
        let listener = Listener::bind(&config.listen, config.backlog, config.reuseport);
        listener
            .map_err(|error| AppError::Listen {
                pool: config.name.clone(),
                address: config.listen_text.clone(),
                error,
            })
            .inspect(|_| {
                let (pool, address) = (&config.name, &config.listen_text);
                tracing::info!(pool, address, servers = config.servers.len(), "listening");
            })
    };
    plan.pools.iter().map(bind).collect()
}

/// The number of clients and dedicated connections that file descriptors suffice for, once the shared server
/// connections have theirs: those for RESP3 too, though they are only opened for clients that use it; not those for
/// other databases, which few pools use.
fn client_limit(plan: &RuntimeConfig) -> usize {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors is not known");
            return usize::MAX;
        }
    };
    let needed: usize = plan
        .pools
        .iter()
        .map(|pool| 1 + pool.server_connections() * plan.workers)
        .sum();
    let limit = files
        .saturating_sub(needed + RESERVED_FILES + plan.workers * 4)
        .max(1);
    tracing::info!(files, clients = limit, servers = needed, "file descriptors");
    limit
}

async fn serve_stats(
    listener: TcpListener,
    collector: Arc<WorkersCollector>,
    workers: usize,
    draining: CancellationToken,
    stop: CancellationToken,
) {
    let state = Arc::new(admin::State::new(collector, workers, draining));
    if let Err(error) = admin::serve(listener, state, stop).await {
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
        let yaml = "p: {listen: 127.0.0.1:1, servers: ['127.0.0.1:2:1']}";
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
            let plan = plan(Config::parse(yaml, "F").unwrap(), &options);
            assert_eq!(plan.stats_interval, Duration::from_millis(expected));
        }
    }
}
