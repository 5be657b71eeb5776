//! The control thread, once everything is started: signals, orders of operators, reloads, upgrades, and the end.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::api::ControlError;
use crate::admin::api::requests;
use crate::app::admin_control::Order;
use crate::app::error::AppError;
use crate::app::exclusion::Exclusion;
use crate::app::file_watch::FileWatch;
use crate::app::pools::RunningPools;
use crate::app::reload::Reload;
use crate::app::times::DRAIN_WITHIN;
use crate::app::upgrade::{Estate, Launch, Orders, OwnSockets, Predecessor, Upgrade, refused};
use crate::daemon::PidFile;
use crate::handover::HandoverError;
use crate::journal::{Event, EventKind};
use crate::net::AcceptGate;
use crate::runtime::{Transfer, Workers};
use crate::signals::{SignalAction, Signals};
use crate::systemd::Notifier;

/// The way in which the proxy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// After SIGTERM, with the requests in flight finished or cut off at the time limit.
    Drained,
    /// Immediately: SIGINT, or a second SIGTERM.
    Immediate,
}

/// The adoption of a predecessor's clients.
type Arriving = AbortOnDropHandle<Result<u64, HandoverError>>;

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
    pub(super) launch: Launch,
    pub(super) admin: Option<PathBuf>,
    pub(super) own_sockets: OwnSockets,
    pub(super) gate: AcceptGate,
    pub(super) exclusion: Exclusion,
    pub(super) pid_file: Option<Arc<PidFile>>,
}

impl ControlLoop {
    /// Runs until the proxy ends. A predecessor hands over meanwhile.
    pub(super) async fn run(&mut self, predecessor: Option<Predecessor>) -> Result<Exit, AppError> {
        let mut arriving = self.begin(predecessor).await;
        loop {
            let action = tokio::select! {
                action = self.signals.next() => action,
                Some(order) = self.ordered.recv() => self.carry_out(order, arriving.is_some()),
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
                    Ok(()) => {
                        self.watchdog = None;
                        return Ok(self.drain().await);
                    }
                    Err(error) => {
                        self.upgrade_failed(&error);
                        SignalAction::Handled
                    }
                },
                ended = handed_over(&mut arriving) => {
                    arriving = None;
                    match ended {
                        Err(HandoverError::GivenUp(reason)) => {
                            tracing::error!(reason, "take-over: the old process goes on, and this one ends");
                            SignalAction::Drain
                        }
                        Err(error) => {
                            tracing::warn!(%error, "take-over: clients of the old process are lost");
                            SignalAction::Handled
                        }
                        Ok(clients) => {
                            tracing::info!(clients, "take-over: done");
                            let text = format!("took over {clients} clients of the old process");
                            self.record(EventKind::TookOver, text);
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
                SignalAction::LogLevel(level) => {
                    let text = format!("log level {level}, by a signal");
                    self.record(EventKind::LogLevelSet, text);
                }
                SignalAction::Handled => {}
            }
        }
    }

    /// Accepts clients, and adopts those of a predecessor if there is one.
    async fn begin(&mut self, predecessor: Option<Predecessor>) -> Option<Arriving> {
        let status = self.status();
        let Some(mut predecessor) = predecessor else {
            self.notifier.ready(&status);
            return None;
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
        let adopting = tokio::spawn(predecessor.adopt_clients(self.transfer()));
        Some(AbortOnDropHandle::new(adopting))
    }

    fn status(&self) -> String {
        let pools = self.pools.names().len();
        format!("serving {pools} pool{}", if pools == 1 { "" } else { "s" })
    }

    fn record(&self, kind: EventKind, text: impl Into<String>) {
        self.pools.journal().record(Event::new(kind, text));
    }

    async fn drain(&mut self) -> Exit {
        self.draining.cancel();
        self.record(EventKind::Stopping, "requests in flight are finished");
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
            Order::Diff(order) => order.begin(&self.pools, &self.reload),
            Order::Upgrade(wanted, answer) => match self.prepare_upgrade(wanted, is_taking_over) {
                Ok((orders, estate)) => self.upgrades.upgrade.begin(orders, estate, answer),
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

    fn prepare_upgrade(
        &self,
        wanted: requests::Upgrade,
        is_taking_over: bool,
    ) -> Result<(Orders, Estate), ControlError> {
        if self.upgrades.upgrade.is_running() {
            return Err(refused("an upgrade is under way already"));
        }
        self.check_replaceable(is_taking_over)?;
        let Some(admin) = self.upgrades.admin.clone() else {
            return Err(refused("there is no admin socket (--admin)"));
        };
        let freeze = self.upgrades.exclusion.freeze()?;
        let estate = self.estate()?;
        let orders = Orders {
            launch: self.upgrades.launch.clone(),
            binary: wanted.binary.map(PathBuf::from),
            admin,
            refusals: self.reload.refusals(&self.pools),
            freeze,
        };
        Ok((orders, estate))
    }

    fn begin_take_over(
        &mut self,
        stream: oneshot::Receiver<UnixStream>,
        is_taking_over: bool,
    ) -> Result<(), ControlError> {
        let prepared = if self.upgrades.upgrade.is_running() {
            None
        } else {
            self.check_replaceable(is_taking_over)?;
            let freeze = self.upgrades.exclusion.freeze()?;
            Some((self.estate()?, freeze))
        };
        self.upgrades.upgrade.connect(stream, prepared)
    }

    fn estate(&self) -> Result<Estate, ControlError> {
        let (own, gate) = (&self.upgrades.own_sockets, &self.upgrades.gate);
        let estate = Estate::of(&self.pools, own, gate, self.transfer());
        estate.map_err(|error| refused(&error.to_string()))
    }

    fn transfer(&self) -> Transfer {
        Transfer::new(&self.workers, self.pools.process().clone())
    }

    /// Goes on as before.
    fn upgrade_failed(&mut self, error: &ControlError) {
        tracing::error!("upgrade: {error}");
        for detail in error.details() {
            tracing::error!("upgrade: {detail}");
        }
        let event = Event::new(EventKind::UpgradeFailed, error.to_string());
        let reasons = error.details().iter().cloned();
        self.pools.journal().record(event.with_details(reasons));
        self.serve_again();
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
}

/// Completes when the watched file has changed.
async fn changed(watch: &mut Option<FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}

/// Completes when a predecessor hands over no more; with the number of its clients.
async fn handed_over(arriving: &mut Option<Arriving>) -> Result<u64, HandoverError> {
    match arriving {
        // A panic is the end of the task, and logged.
        Some(arriving) => arriving.await.unwrap_or(Err(HandoverError::Gone)),
        None => pending().await,
    }
}
