//! Reloading the configuration file: checked whole, and applied whole.
//!
//! ```text
//! SIGHUP --> load, check, compare (its own thread) --> bind listeners --> change pools
//!                 | a fault, or a change that a running proxy refuses
//!                 +--> nothing has changed; every reason is logged
//! ```

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::app::pools::RunningPools;
use crate::config::{Config, PoolConfig};
use crate::control;
use crate::control::diff::{ConfigDiff, compare};
use crate::runtime::Workers;

/// The loading of the file, at most once at a time.
#[derive(Debug)]
pub(super) struct Reload {
    path: PathBuf,
    loading: Option<JoinHandle<Result<Loaded, Vec<String>>>>,
}

/// A file that may be applied, and what it changes.
#[derive(Debug)]
pub(super) struct Loaded {
    config: Config,
    diff: ConfigDiff,
}

/// What a reload has changed, or the reasons why it changed nothing; one line each.
type Outcome = Result<Vec<String>, Vec<String>>;

impl Reload {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            loading: None,
        }
    }

    /// Begins to load the file, unless that is under way.
    pub(super) fn begin(&mut self, pools: &RunningPools) {
        if self.loading.is_some() {
            tracing::warn!("a reload is under way; this one is ignored");
            return;
        }
        let (path, old) = (self.path.clone(), pools.configs());
        // It may wait for a name server, or for the writer of a pipe.
        self.loading = Some(tokio::task::spawn_blocking(move || load(&path, &old)));
    }

    /// Waits for the file that is being loaded. Cancel safe.
    pub(super) async fn loaded(&mut self) -> Result<Loaded, Vec<String>> {
        let Some(loading) = &mut self.loading else {
            return pending().await;
        };
        let loaded = loading.await;
        self.loading = None;
        loaded.unwrap_or_else(|error| Err(vec![error.to_string()]))
    }
}

/// Loads the file, and checks that it may follow the old configuration.
fn load(path: &Path, old: &[PoolConfig]) -> Result<Loaded, Vec<String>> {
    let config = Config::check(path, control::is_command).map_err(|errors| {
        errors
            .to_string()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    })?;
    let diff = compare(old, &config.pools);
    let refusals = diff.refusals();
    if refusals.is_empty() {
        Ok(Loaded { config, diff })
    } else {
        Err(refusals)
    }
}

/// Applies a file that was loaded. Logs what has changed, or why nothing has.
pub(super) async fn apply(
    loaded: Result<Loaded, Vec<String>>,
    pools: &mut RunningPools,
    workers: &Workers,
    drain_within: Duration,
) {
    match change(loaded, pools, workers, drain_within).await {
        Ok(changes) => {
            for change in &changes {
                tracing::info!("reload: {change}");
            }
            let changes = changes.len();
            tracing::info!(changes, "reload: the configuration is in use");
        }
        Err(reasons) => {
            for reason in &reasons {
                tracing::error!("reload: {reason}");
            }
            tracing::error!("reload: nothing was changed; the old configuration stays");
        }
    }
}

async fn change(
    loaded: Result<Loaded, Vec<String>>,
    pools: &mut RunningPools,
    workers: &Workers,
    drain_within: Duration,
) -> Outcome {
    let Loaded { config, diff } = loaded?;
    if diff.is_empty() {
        return Ok(Vec::new());
    }
    log_warnings(&config);
    let changed = pools.change(config, workers, drain_within).await;
    changed.map_err(|error| vec![error.to_string()])?;
    Ok(diff.changes())
}

/// Logs the warnings about valid pools.
pub(super) fn log_warnings(config: &Config) {
    for pool in &config.pools {
        for warning in control::warnings(pool) {
            tracing::warn!(pool = pool.name, "{warning}");
        }
    }
}
