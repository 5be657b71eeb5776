//! The control thread, once everything is started: signals, orders of operators, reloads, upgrades, and the end.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::api::ControlError;
use crate::admin::api::answers::Upgraded;
use crate::admin::api::requests;
use crate::app::admin_control::Order;
use crate::app::error::AppError;
use crate::app::file_watch::FileWatch;
use crate::app::pools::RunningPools;
use crate::app::reload::Reload;
use crate::app::upgrade::{
    Estate, Launch, Orders, OwnSockets, Predecessor, Successor, Upgrade, refused,
};
use crate::daemon::PidFile;
use crate::handover::HandoverError;
use crate::net::AcceptGate;
use crate::runtime::Workers;
use crate::signals::{SignalAction, Signals};
use crate::systemd::Notifier;

/// The time limit for requests in flight after SIGTERM.
pub(super) const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The way in which the proxy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// After SIGTERM, with the requests in flight finished or cut off at the time limit.
    Drained,
    /// Immediately: SIGINT, or a second SIGTERM.
    Immediate,
}

/// What the control thread waits for, and what it changes.
pub(super) struct ControlLoop {
    pub(super) signals: Signals,
    pub(super) ordered: mpsc::Receiver<Order>,
    /// None without `--watch`.
    pub(super) watch: Option<FileWatch>,
    pub(super) reload: Reload,
    pub(super) upgrades: Upgrades,
    pub(super) notifier: Notifier,
    /// None without a watchdog of the service manager.
    pub(super) watchdog: Option<AbortOnDropHandle<()>>,
    pub(super) pools: RunningPools,
    pub(super) workers: Workers,
    pub(super) draining: CancellationToken,
}

/// What an upgrade needs.
pub(super) struct Upgrades {
    pub(super) upgrade: Upgrade,
    /// The operator who waits for it.
    pub(super) answer: Option<oneshot::Sender<Result<Upgraded, ControlError>>>,
    pub(super) launch: Launch,
    pub(super) admin: Option<PathBuf>,
    pub(super) own_sockets: OwnSockets,
    pub(super) gate: AcceptGate,
    /// One failover at a time, and none during an upgrade.
    pub(super) failovers: Arc<Semaphore>,
    pub(super) pid_file: Option<Arc<PidFile>>,
}

impl ControlLoop {
    /// Runs until the proxy ends. A predecessor hands over meanwhile.
    pub(super) async fn run(
        &mut self,
        mut predecessor: Option<Predecessor>,
    ) -> Result<Exit, AppError> {
        self.begin(predecessor.as_mut()).await;
        loop {
            let action = tokio::select! {
                action = self.signals.next() => action,
                Some(order) = self.ordered.recv() => self.carry_out(order, predecessor.is_some()),
                () = changed(&mut self.watch) => {
                    tracing::info!("the configuration file has changed");
                    SignalAction::Reload
                }
                failure = self.workers.failure() => return Err(failure.into()),
                loaded = self.reload.loaded() => {
                    loaded.apply(&mut self.pools, &self.workers, DRAIN_WITHIN).await;
                    self.notifier.ready(&self.status());
                    self.reload.begin_again(&self.pools);
                    SignalAction::Handled
                }
                ended = self.upgrades.upgrade.ended() => match ended {
                    Ok(successor) => return self.end_after(&successor).await,
                    Err(error) => {
                        self.upgrade_failed(error);
                        SignalAction::Handled
                    }
                },
                ended = handed_over(&mut predecessor) => {
                    predecessor = None;
                    match ended {
                        Err(HandoverError::GivenUp(reason)) => {
                            tracing::error!(reason, "take-over: the old process goes on, and this one ends");
                            SignalAction::Drain
                        }
                        Err(error) => {
                            tracing::warn!(%error, "take-over: clients of the old process are lost");
                            SignalAction::Handled
                        }
                        Ok(()) => {
                            tracing::info!("take-over: done");
                            SignalAction::Handled
                        }
                    }
                }
            };
            match action {
                SignalAction::Exit => return Ok(Exit::Immediate),
                SignalAction::Drain => {
                    self.notifier.stopping("draining");
                    return Ok(self.drain().await);
                }
                SignalAction::Reload if self.upgrades.upgrade.is_running() => {
                    tracing::info!("an upgrade is under way; the file is loaded if it fails");
                    self.reload.postpone();
                }
                SignalAction::Reload => {
                    self.notifier.reloading();
                    self.reload
                        .begin(&self.pools, requests::Reload::default(), None);
                }
                SignalAction::Handled => {}
            }
        }
    }

    /// Accepts clients, in the place of a predecessor if there is one.
    async fn begin(&mut self, predecessor: Option<&mut Predecessor>) {
        let status = self.status();
        let Some(predecessor) = predecessor else {
            return self.notifier.ready(&status);
        };
        self.upgrades.gate.open();
        self.notifier.ready_as_main(&status);
        let pid = predecessor.welcome.pid;
        tracing::info!(
            pid,
            "take-over: this process serves in the place of the old one"
        );
        // If that has died, this one serves alone.
        let _ = predecessor.serving().await;
    }

    fn status(&self) -> String {
        let pools = self.pools.names().len();
        format!("serving {pools} pool{}", if pools == 1 { "" } else { "s" })
    }

    async fn drain(&mut self) -> Exit {
        self.draining.cancel();
        tracing::info!(within = ?DRAIN_WITHIN, "draining");
        tokio::select! {
            () = self.workers.drain(DRAIN_WITHIN) => Exit::Drained,
            () = self.signals.exit_now() => Exit::Immediate,
        }
    }

    fn carry_out(&mut self, order: Order, is_taking_over: bool) -> SignalAction {
        match order {
            Order::Stop => {
                tracing::info!("stop ordered on the admin socket");
                return SignalAction::Drain;
            }
            Order::Reload(wanted, answer) if self.upgrades.upgrade.is_running() => {
                let error = refused("an upgrade is under way; reload when it has ended");
                tracing::info!(check = wanted.check, "{error}");
                // Who has asked may have gone.
                let _ = answer.send(Err(error));
            }
            Order::Reload(wanted, answer) => {
                if !wanted.check {
                    self.notifier.reloading();
                }
                self.reload.begin(&self.pools, wanted, Some(answer));
            }
            Order::Diff(order) => order.begin(&self.pools),
            Order::Upgrade(wanted, answer) => match self.begin_upgrade(wanted, is_taking_over) {
                Ok(()) => self.upgrades.answer = Some(answer),
                Err(error) => {
                    tracing::error!("upgrade: {error}");
                    let _ = answer.send(Err(error));
                }
            },
            Order::TakeOver(stream, answer) => {
                let begun = self.begin_take_over(stream, is_taking_over);
                let _ = answer.send(begun);
            }
        }
        SignalAction::Handled
    }

    /// Returns an error if this process cannot be replaced now.
    fn check_replaceable(&self, is_taking_over: bool) -> Result<(), ControlError> {
        if std::process::id() == 1 {
            return Err(refused(
                "this is process 1 of its container, which ends with it: replace the container by another one instead (a \
                 rolling update)",
            ));
        }
        if is_taking_over {
            return Err(refused(
                "the process before this one is still handing over its clients; upgrade when it has ended",
            ));
        }
        if self.reload.is_loading() {
            return Err(ControlError::Reloading);
        }
        Ok(())
    }

    fn begin_upgrade(
        &mut self,
        wanted: requests::Upgrade,
        is_taking_over: bool,
    ) -> Result<(), ControlError> {
        if self.upgrades.upgrade.is_running() {
            return Err(refused("an upgrade is under way already"));
        }
        self.check_replaceable(is_taking_over)?;
        let no_failover = Arc::clone(&self.upgrades.failovers).try_acquire_owned();
        let no_failover = no_failover
            .map_err(|_| refused("a failover is under way; upgrade when it has ended"))?;
        let Some(admin) = self.upgrades.admin.clone() else {
            return Err(refused("there is no admin socket (--admin)"));
        };
        let estate = self.estate()?;
        let orders = Orders {
            launch: self.upgrades.launch.clone(),
            binary: wanted.binary.map(PathBuf::from),
            admin,
            refusals: self.reload.refusals(&self.pools),
            no_failover,
        };
        self.upgrades.upgrade.begin(orders, estate);
        Ok(())
    }

    fn begin_take_over(
        &mut self,
        stream: oneshot::Receiver<tokio::net::UnixStream>,
        is_taking_over: bool,
    ) -> Result<(), ControlError> {
        if !self.upgrades.upgrade.is_running() {
            self.check_replaceable(is_taking_over)?;
        }
        let estate = Estate::of(&self.pools, &self.upgrades.own_sockets, &self.upgrades.gate);
        let estate = || estate.map_err(|error| refused(&error.to_string()));
        self.upgrades.upgrade.connect(stream, estate)
    }

    fn estate(&self) -> Result<Estate, ControlError> {
        let estate = Estate::of(&self.pools, &self.upgrades.own_sockets, &self.upgrades.gate);
        estate.map_err(|error| refused(&error.to_string()))
    }

    /// Goes on as before.
    fn upgrade_failed(&mut self, error: ControlError) {
        tracing::error!("upgrade: {error}");
        for detail in error.details() {
            tracing::error!("upgrade: {detail}");
        }
        self.serve_again();
        if let Some(answer) = self.upgrades.answer.take() {
            let _ = answer.send(Err(error));
        }
        self.reload.begin_again(&self.pools);
    }

    /// Takes back the place that a new process may have had for a moment.
    fn serve_again(&self) {
        if let Some(file) = &self.upgrades.pid_file
            && let Err(error) = file.rewrite()
        {
            tracing::error!(%error, "pid file not written");
        }
        self.notifier.ready_as_main(&self.status());
    }

    /// Ends in favour of a new process.
    async fn end_after(&mut self, successor: &Successor) -> Result<Exit, AppError> {
        let Successor { pid, version, .. } = successor;
        self.watchdog = None;
        let left = self.workers.clients();
        tracing::info!(
            pid,
            version,
            clients = left,
            "upgrade: the new process serves"
        );
        if let Some(answer) = self.upgrades.answer.take() {
            let _ = answer.send(Ok(Upgraded {
                old_pid: std::process::id(),
                new_pid: *pid,
                version: version.clone(),
                moved: 0,
                left: left as u64,
                within_seconds: DRAIN_WITHIN.as_secs(),
            }));
        }
        Ok(self.drain().await)
    }
}

/// Completes when the watched file has changed.
async fn changed(watch: &mut Option<FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}

/// Completes when a predecessor hands over no more.
async fn handed_over(predecessor: &mut Option<Predecessor>) -> Result<(), HandoverError> {
    match predecessor {
        Some(predecessor) => predecessor.ended().await,
        None => pending().await,
    }
}
