//! Wiring: limits, listeners, workers, the stats port, the admin socket, signals, reload and shutdown.

mod admin_control;
mod error;
mod facts;
mod failovers;
mod file_watch;
mod files;
mod listeners;
mod moves;
mod pools;
mod reload;
mod servers;

use std::fmt;
use std::future::{Future, pending};
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::admin::api;
use crate::admin::api::requests;
use crate::app::admin_control::{AppControl, Order};
pub use crate::app::error::AppError;
use crate::app::file_watch::FileWatch;
use crate::app::pools::{Parts, RunningPools};
use crate::app::reload::Reload;
use crate::cli::Options;
use crate::config::Config;
use crate::net::ConnLimit;
use crate::proxy::MemoryBudget;
use crate::runtime::system_memory;
use crate::runtime::{RuntimeConfig, Workers};
use crate::signals::{SignalAction, Signals};
use crate::stats::Snapshot;

/// The time limit for requests in flight after SIGTERM.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The shortest interval at which a worker publishes its counts. nutcracker accepts `-i 0` too.
const STATS_INTERVAL_MIN: Duration = Duration::from_millis(1);

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
    let started = Instant::now();
    let watch = FileWatch::new(&options.conf_file);
    let signals = Signals::catch().map_err(AppError::Signals)?;
    let (stop, draining) = (CancellationToken::new(), CancellationToken::new());
    let parts = Parts {
        started,
        common_memory: Arc::new(MemoryBudget::new(system_memory().unwrap_or(0) / 2)),
        process: ConnLimit::default(),
        worker_count: options.workers.get(),
        draining: draining.clone(),
    };
    reload::log_warnings(&config);
    // The pools' ports are bound last: a client that can connect to one finds everything else running.
    let stats = admin::bind(&options.stats_addr, options.stats_port).map_err(AppError::Stats)?;
    let admin = admin_control::bind(options)?;
    let bound: Result<Vec<_>, _> = config.pools.iter().map(listeners::bind).collect();
    let bound = bound?;
    let setups: Vec<_> = config
        .pools
        .into_iter()
        .map(|pool| parts.setup(pool))
        .collect();
    let limit = files::client_limit(&setups, parts.worker_count);
    parts.process.set_limit(limit);
    let workers = Workers::start(&RuntimeConfig {
        pools: setups.clone(),
        workers: parts.worker_count,
        stats_interval: stats_interval(options),
        conn_limit: parts.process.clone(),
    })?;
    let pools = RunningPools::start(parts, setups, bound, &workers);
    let tasks = TaskTracker::new();
    let (orders, ordered) = mpsc::channel(1);
    let control = Arc::new(AppControl {
        pools: Arc::clone(workers.pools()),
        stats: workers.stats_collector(),
        started,
        workers: options.workers.get(),
        config_file: admin_control::absolute(&options.conf_file),
        drain_within: DRAIN_WITHIN,
        draining: draining.clone(),
        orders,
        diffs: Arc::new(Semaphore::new(1)),
        moves: Arc::new(Semaphore::new(1)),
        failovers: Arc::new(Semaphore::new(1)),
    });
    let collector = Arc::new(WorkersCollector(workers.stats_collector()));
    let port = admin::State::new(collector, options.workers.get(), draining.clone()).offering(
        Arc::clone(&control) as _,
        &options.stats_addr,
        options.show_keys,
    );
    tasks.spawn(serve_stats(stats, port, stop.clone()));
    if let Some(socket) = admin {
        tasks.spawn(api::serve(socket, control, stop.clone()));
    }
    ready()?;

    let mut control = ControlLoop {
        signals,
        ordered,
        watch: options.watch.then_some(watch),
        reload: Reload::new(&options.conf_file),
        pools,
        workers,
        draining: draining.clone(),
    };
    let ended = control.run().await?;
    draining.cancel();
    stop.cancel();
    tasks.close();
    if ended == Exit::Drained {
        tasks.wait().await;
    }
    tracing::info!("done");
    Ok(ended)
}

/// What the control thread waits for, and what it changes.
struct ControlLoop {
    signals: Signals,
    ordered: mpsc::Receiver<Order>,
    /// None without `--watch`.
    watch: Option<FileWatch>,
    reload: Reload,
    pools: RunningPools,
    workers: Workers,
    draining: CancellationToken,
}

impl ControlLoop {
    /// Runs until the proxy ends.
    async fn run(&mut self) -> Result<Exit, AppError> {
        loop {
            let action = tokio::select! {
                action = self.signals.next() => action,
                Some(order) = self.ordered.recv() => match order {
                    Order::Stop => {
                        tracing::info!("stop ordered on the admin socket");
                        SignalAction::Drain
                    }
                    Order::Reload(wanted, answer) => {
                        self.reload.begin(&self.pools, wanted, Some(answer));
                        continue;
                    }
                    Order::Diff(order) => {
                        order.begin(&self.pools);
                        continue;
                    }
                },
                () = changed(&mut self.watch) => {
                    tracing::info!("the configuration file has changed");
                    SignalAction::Reload
                }
                failure = self.workers.failure() => return Err(failure.into()),
                loaded = self.reload.loaded() => {
                    loaded.apply(&mut self.pools, &self.workers, DRAIN_WITHIN).await;
                    self.reload.begin_again(&self.pools);
                    continue;
                }
            };
            match action {
                SignalAction::Exit => return Ok(Exit::Immediate),
                SignalAction::Drain => {
                    self.draining.cancel();
                    tracing::info!(within = ?DRAIN_WITHIN, "draining");
                    tokio::select! {
                        () = self.workers.drain(DRAIN_WITHIN) => return Ok(Exit::Drained),
                        () = self.signals.exit_now() => return Ok(Exit::Immediate),
                    }
                }
                SignalAction::Reload => {
                    self.reload
                        .begin(&self.pools, requests::Reload::default(), None);
                }
                SignalAction::Handled => {}
            }
        }
    }
}

/// Completes when the watched file has changed.
async fn changed(watch: &mut Option<FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}

/// The interval at which workers publish their counts.
fn stats_interval(options: &Options) -> Duration {
    options.stats_interval.max(STATS_INTERVAL_MIN)
}

async fn serve_stats(listener: TcpListener, state: admin::State, stop: CancellationToken) {
    if let Err(error) = admin::serve(listener, Arc::new(state), stop).await {
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
