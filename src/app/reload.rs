//! Reloading the configuration file: checked whole, and applied whole.
//!
//! ```text
//! SIGHUP, ctl --> load, check, compare (its own thread) --> bind listeners --> change pools
//!                      | a fault, or a change that a running proxy refuses
//!                      +--> nothing has changed; every reason is logged, and told to who has asked
//! ```
//!
//! A file that is only to be compared (`ctl diff`) takes the first step alone, beside whatever is under way.

use std::future::pending;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::admin::api::ControlError;
use crate::admin::api::answers::{ChangeKind, Differences, PoolChange, Reloaded};
use crate::admin::api::requests;
use crate::app::listeners::OpenListeners;
use crate::app::pools::RunningPools;
use crate::config::{Config, ConfigErrors, OnPlacementChange, PoolConfig, ServerConfig};
use crate::control;
use crate::control::diff::{ConfigDiff, PoolDiff, compare};
use crate::journal::{Event, EventKind};
use crate::net::ServerAddr;
use crate::runtime::Workers;
use crate::text::Printable;

/// The loading of the file, at most once at a time.
#[derive(Debug)]
pub(super) struct Reload {
    path: PathBuf,
    loading: Option<Loading>,
    /// The file must be loaded once more: it may have changed since it was read.
    again: bool,
}

#[derive(Debug)]
struct Loading {
    task: JoinHandle<Result<Checked, ControlError>>,
    order: Order,
}

/// The parts of an order that matter once the file is loaded.
#[derive(Debug)]
struct Order {
    is_check: bool,
    answer: Option<Answer>,
}

/// The one who has asked for a reload, and waits.
pub(super) type Answer = oneshot::Sender<Result<Reloaded, ControlError>>;

/// A file that was loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    checked: Result<Checked, ControlError>,
    order: Order,
}

/// A file that may be applied, and what it changes.
#[derive(Debug)]
struct Checked {
    config: Config,
    diff: ConfigDiff,
}

impl Reload {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            loading: None,
            again: false,
        }
    }

    /// Begins to load the file, unless that is under way.
    pub(super) fn begin(
        &mut self,
        pools: &RunningPools,
        wanted: requests::Reload,
        answer: Option<Answer>,
    ) {
        if self.loading.is_some() {
            if let Some(answer) = answer {
                // Who has asked may have gone.
                let _ = answer.send(Err(ControlError::Reloading));
            } else {
                tracing::info!("a reload is under way; the file is loaded once more after it");
                self.again = true;
            }
            return;
        }
        let requests::Reload { check, swap } = wanted;
        let (path, before) = (self.path.clone(), Before::of(pools));
        self.loading = Some(Loading {
            // It may wait for a name server, or for the writer of a pipe.
            task: spawn_blocking(move || load(&path, &before, check, &swap)),
            order: Order {
                is_check: check,
                answer,
            },
        });
    }

    /// Returns true if the file is being loaded.
    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// The reasons why a reload of the file would be refused; none if it is invalid for this version. On a thread of its own.
    pub(super) fn refusals(&self, pools: &RunningPools) -> JoinHandle<Vec<String>> {
        let (path, before) = (self.path.clone(), Before::of(pools));
        spawn_blocking(move || match load(&path, &before, false, &[]) {
            Err(ControlError::Refused { details, .. }) => details,
            _ => Vec::new(),
        })
    }

    /// Has the next [`Self::begin_again`] load the file.
    pub(super) fn postpone(&mut self) {
        self.again = true;
    }

    /// Begins to load the file once more, if that was asked for meanwhile.
    pub(super) fn begin_again(&mut self, pools: &RunningPools) {
        if mem::take(&mut self.again) {
            self.begin(pools, requests::Reload::default(), None);
        }
    }

    /// Waits for the file that is being loaded. Cancel safe.
    pub(super) async fn loaded(&mut self) -> Loaded {
        let Some(loading) = &mut self.loading else {
            return pending().await;
        };
        let checked = (&mut loading.task).await;
        let checked = checked.unwrap_or_else(|error| Err(refused(error.to_string())));
        match self.loading.take() {
            Some(Loading { order, .. }) => Loaded { checked, order },
            None => pending().await,
        }
    }
}

/// What runs, to be compared with a file.
#[derive(Debug)]
struct Before {
    pools: Vec<PoolConfig>,
    /// The names of pools in which marks at the servers, and not the file, decide about the placement.
    marked: Vec<String>,
    listeners: OpenListeners,
}

impl Before {
    fn of(pools: &RunningPools) -> Self {
        Self {
            pools: pools.configs(),
            marked: pools.marked(),
            listeners: pools.open_listeners(),
        }
    }

    /// The reasons why a file would not be applied, as far as they are known before it is.
    fn refusals(&self, config: &Config, diff: &ConfigDiff) -> Vec<String> {
        let faults = self.listeners.faults(config).into_iter();
        let faults = faults.map(|fault| fault.to_string());
        let refused = diff.refusals().into_iter();
        refused
            .chain(self.unmarked(config, diff))
            .chain(faults)
            .collect()
    }

    /// Changes of a placement, or of an address, that the marks decide about: a reload could not make them.
    fn unmarked(&self, config: &Config, diff: &ConfigDiff) -> Vec<String> {
        let is_guarded = |name: &str| {
            let mut pools = config.pools.iter();
            pools.any(|pool| pool.name == name && pool.placement_guard)
        };
        let moves = |pool: &&PoolDiff| {
            let placement = pool.placement.as_ref();
            placement.is_some_and(|placement| !placement.moved.is_empty())
        };
        let marked = diff.changed.iter();
        let marked = marked.filter(|pool| self.marked.contains(&pool.name));
        let marked = marked.filter(|pool| is_guarded(&pool.name));
        let reason = |pool: &PoolDiff| {
            if moves(&pool) {
                return Some(format!(
                    "pool '{}': the marks at its servers say where its keys are, and the file says otherwise; \
                     'ringroad reshard' moves keys",
                    Printable(&pool.name)
                ));
            }
            let (server, old) = self.address_changed(config, &pool.name)?;
            Some(format!(
                "pool '{}': the marks at its servers say that server '{}' is at {old}, and the file says {}; \
                 'ringroad reshard start --by replication' moves a server, and after 'ringroad reshard finish --forget' \
                 the files alone say where servers are",
                Printable(&pool.name),
                Printable(&server.name),
                server.address
            ))
        };
        marked.filter_map(reason).collect()
    }

    /// The first server of a pool that has another address in the file, and the one that it has.
    fn address_changed<'c>(
        &self,
        config: &'c Config,
        pool: &str,
    ) -> Option<(&'c ServerConfig, &ServerAddr)> {
        let mut now = self.pools.iter();
        let now = now.find(|known| known.name == pool)?;
        let mut wanted = config.pools.iter();
        let wanted = wanted.find(|wanted| wanted.name == pool)?;
        wanted.servers.iter().find_map(|server| {
            let mut known = now.servers.iter();
            let known = known.find(|known| known.name == server.name)?;
            (known.address != server.address).then_some((server, &known.address))
        })
    }
}

/// Loads the file, and checks that it may follow what runs. Keys of the pools in `swap` may move.
fn load(
    path: &Path,
    before: &Before,
    is_check: bool,
    swap: &[String],
) -> Result<Checked, ControlError> {
    let config = Config::check(path, control::CHECKS).map_err(|errors| faulty(&errors))?;
    let has_pool = |name: &&String| config.pools.iter().any(|pool| pool.name == **name);
    if let Some(unknown) = swap.iter().find(|name| !has_pool(name)) {
        return Err(ControlError::UnknownPool(unknown.clone()));
    }
    let mut diff = compare(&before.pools, &config.pools);
    let swapped = diff
        .changed
        .iter_mut()
        .filter(|pool| swap.contains(&pool.name));
    for placement in swapped.filter_map(|pool| pool.placement.as_mut()) {
        placement.rule = OnPlacementChange::Swap;
    }
    let replaced = diff.replaced.iter_mut();
    for replacement in replaced.filter(|replacement| swap.contains(&replacement.new)) {
        replacement.placement.rule = OnPlacementChange::Swap;
    }
    let details = if is_check {
        before.refusals(&config, &diff)
    } else {
        let mut refusals = diff.refusals();
        refusals.extend(before.unmarked(&config, &diff));
        refusals
    };
    if details.is_empty() {
        return Ok(Checked { config, diff });
    }
    Err(ControlError::Refused {
        reason: "the change is refused; nothing was changed".to_owned(),
        details,
    })
}

/// An order to compare a file with what runs.
#[derive(Debug)]
pub(super) struct DiffOrder {
    pub(super) wanted: requests::Diff,
    pub(super) answer: oneshot::Sender<Result<Differences, ControlError>>,
    /// Returned when the files are compared, also if nobody waits for the answer.
    pub(super) permit: OwnedSemaphorePermit,
}

impl DiffOrder {
    /// Compares, on a thread of its own. It has nothing to do with a reload that may be under way.
    pub(super) fn begin(self, pools: &RunningPools, reload: &Reload) {
        let path = reload.path.clone();
        let Self {
            wanted,
            answer,
            permit,
        } = self;
        let before = Before::of(pools);
        spawn_blocking(move || {
            // Who has asked may have gone.
            let _ = answer.send(differences(&before, &wanted, &path));
            drop(permit);
        });
    }
}

fn differences(
    before: &Before,
    wanted: &requests::Diff,
    path: &Path,
) -> Result<Differences, ControlError> {
    let requests::Diff { file, name } = wanted;
    let config = Config::check_text(file, Path::new(name), path, control::CHECKS)
        .map_err(|errors| faulty(&errors))?;
    let diff = compare(&before.pools, &config.pools);
    Ok(Differences {
        changes: diff.to_json(),
        text: diff.to_string(),
        refusals: before.refusals(&config, &diff),
    })
}

fn faulty(errors: &ConfigErrors) -> ControlError {
    let lines = errors.to_string();
    ControlError::FaultyFile(lines.lines().map(str::to_owned).collect())
}

impl Loaded {
    /// Applies the file, unless that was not wanted. Logs what has changed, or why nothing has, and answers.
    pub(super) async fn apply(
        self,
        pools: &mut RunningPools,
        workers: &Workers,
        drain_within: Duration,
    ) {
        let Self { checked, order } = self;
        let outcome = match checked {
            Ok(Checked { diff, .. }) if order.is_check => Ok(report(&diff, false)),
            Ok(checked) => change(checked, pools, workers, drain_within).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            log_refusal(error);
            if !order.is_check {
                let event = Event::new(EventKind::ReloadRefused, error.to_string());
                let reasons = error.details().iter().cloned();
                pools.journal().record(event.with_details(reasons));
            }
        }
        if let Some(answer) = order.answer {
            // Who has asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

async fn change(
    checked: Checked,
    pools: &mut RunningPools,
    workers: &Workers,
    drain_within: Duration,
) -> Result<Reloaded, ControlError> {
    let Checked { config, diff } = checked;
    if !diff.is_empty() {
        log_warnings(&config);
        let changed = pools.change(config, workers, drain_within).await;
        changed.map_err(|error| refused(error.to_string()))?;
    }
    let changes = diff.changes();
    for change in &changes {
        tracing::info!("reload: {change}");
    }
    let text = match changes.len() {
        0 => "the configuration file was applied; it is the same".to_owned(),
        1 => "the configuration file was applied: 1 change".to_owned(),
        count => format!("the configuration file was applied: {count} changes"),
    };
    let event = Event::new(EventKind::Reloaded, text).with_details(changes);
    pools.journal().record(event);
    tracing::info!(
        changes = diff.count(),
        "reload: the configuration is in use"
    );
    Ok(report(&diff, true))
}

fn log_refusal(error: &ControlError) {
    let reasons = error.details();
    for reason in reasons {
        tracing::error!("reload: {reason}");
    }
    if reasons.is_empty() {
        tracing::error!("reload: {error}");
    }
    tracing::error!("reload: nothing was changed; the old configuration stays");
}

fn refused(reason: String) -> ControlError {
    ControlError::Refused {
        reason,
        details: Vec::new(),
    }
}

/// The differences, as operators read them.
fn report(diff: &ConfigDiff, applied: bool) -> Reloaded {
    let whole = |names: &[String], change| {
        let pools = names.iter().map(move |name| PoolChange {
            pool: name.clone(),
            change,
            ..PoolChange::default()
        });
        pools.collect::<Vec<_>>()
    };
    let mut pools = whole(&diff.removed, ChangeKind::Removed);
    pools.extend(whole(&diff.added, ChangeKind::Added));
    pools.extend(diff.changed.iter().map(of_pool));
    Reloaded { applied, pools }
}

fn of_pool(diff: &PoolDiff) -> PoolChange {
    let settings = diff.settings.iter().map(ToString::to_string);
    let servers = diff.servers.iter().map(ToString::to_string);
    let moved = diff.placement.as_ref().map(|placement| &placement.moved);
    PoolChange {
        pool: diff.name.clone(),
        change: ChangeKind::Changed,
        details: settings.chain(servers).collect(),
        moved_share: moved
            .filter(|moved| !moved.is_empty())
            .map(|moved| moved.share),
    }
}

/// Logs the warnings about valid pools.
pub(super) fn log_warnings(config: &Config) {
    for pool in &config.pools {
        for warning in control::warnings(pool) {
            tracing::warn!(pool = pool.name, "{warning}");
        }
    }
}
