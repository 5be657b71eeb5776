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
use crate::app::admin_server::AdminServer;
use crate::app::error::AppError;
use crate::app::exclusion::{Cause, Exclusion};
use crate::app::file_watch::FileWatch;
use crate::app::pools::RunningPools;
use crate::app::reload::Reload;
use crate::app::times::DRAIN_WITHIN;
use crate::app::tls_watch::TlsWatch;
use crate::app::upgrade::{
    Arrival, Arrived, Estate, Launch, Orders, OwnSockets, Predecessor, SocketFiles, Upgrade,
    refused,
};
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

/// What the control thread waits for, and what it changes.
pub(super) struct ControlLoop {
    pub(super) signals: Signals,
    pub(super) ordered: mpsc::Receiver<Order>,
    /// None without `--watch`.
    pub(super) watch: Option<FileWatch>,
    pub(super) tls_watch: TlsWatch,
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
    pub(super) admin_server: AdminServer,
    pub(super) own_sockets: OwnSockets,
    pub(super) gate: AcceptGate,
    pub(super) exclusion: Exclusion,
    pub(super) pid_file: Option<Arc<PidFile>>,
}

impl ControlLoop {
    /// Runs until the proxy ends. A predecessor hands over meanwhile.
    pub(super) async fn run(&mut self, predecessor: Option<Predecessor>) -> Result<Exit, AppError> {
        let mut arrival = self.begin(predecessor).await;
        loop {
            if let Some(watch) = &mut self.watch {
                watch.follow(self.pools.users_files());
            }
            let action = tokio::select! {
                action = self.signals.next() => action,
                Some(order) = self.ordered.recv() => self.carry_out(order),
                () = changed(&mut self.watch) => {
                    tracing::info!("the configuration file, or one of users, has changed");
                    SignalAction::Reload
                }
                renewed = self.tls_watch.renewed(&self.pools) => {
                    self.pools.renew_tls(renewed);
                    SignalAction::Handled
                }
                failure = self.workers.failure() => return Err(failure.into()),
                loaded = self.reload.loaded() => {
                    loaded.apply(&mut self.pools, &self.workers, DRAIN_WITHIN).await;
                    self.tls_watch.forget();
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
                        self.upgrade_failed(&error).await;
                        SignalAction::Handled
                    }
                },
                ended = arrival.ended() => self.arrived(ended),
            };
            match action {
                SignalAction::Exit => {
                    self.stop_arrival(&mut arrival).await;
                    return Ok(Exit::Immediate);
                }
                SignalAction::Drain => {
                    self.stop_arrival(&mut arrival).await;
                    self.notifier.stopping("draining");
                    return Ok(self.drain().await);
                }
                SignalAction::Reload => match self.upgrades.exclusion.check("reload") {
                    Ok(()) => {
                        self.notifier.reloading();
                        self.reload
                            .begin(&self.pools, requests::Reload::default(), None);
                    }
                    Err(error) => {
                        tracing::info!("{error}; this process does so then, if it is still there");
                        self.reload.postpone();
                    }
                },
                SignalAction::LogLevel(level) => {
                    let text = format!("log level {level}, by a signal");
                    self.record(EventKind::LogLevelSet, text);
                }
                SignalAction::Handled => {}
            }
        }
    }

    /// Accepts clients, and adopts those of a predecessor if there is one.
    async fn begin(&mut self, predecessor: Option<Predecessor>) -> Arrival {
        let status = self.status();
        let Some(mut predecessor) = predecessor else {
            self.notifier.ready(&status);
            return Arrival::default();
        };
        let (old, new) = (predecessor.welcome.pid, std::process::id());
        // Before an operator can order anything.
        let exclusion = &self.upgrades.exclusion;
        let freeze = exclusion.freeze(Cause::Arrival { old });
        self.upgrades.gate.open();
        self.notifier.ready_as_main(&status);
        tracing::info!(
            old,
            new,
            "take-over: this process serves in the place of the old one"
        );
        // If that has died, this one serves alone.
        let _ = predecessor.serving().await;
        Arrival::begin(predecessor, self.transfer(), freeze)
    }

    /// Goes on alone, or leaves the place to the old process.
    fn arrived(&mut self, ended: Result<Arrived, HandoverError>) -> SignalAction {
        let new = std::process::id();
        match ended {
            Err(HandoverError::GivenUp(reason)) => {
                tracing::error!(
                    new,
                    reason,
                    "take-over: the old process goes on, and this one ends"
                );
                return SignalAction::Drain;
            }
            Err(error) => {
                tracing::warn!(new, %error, "take-over: clients of the old process are lost");
            }
            Ok(Arrived::All(clients)) => {
                tracing::info!(new, clients, "take-over: done");
                let text = format!("took over {clients} clients of the old process");
                self.record(EventKind::TookOver, text);
            }
            Ok(Arrived::Stopped { .. }) => {}
        }
        self.take_files();
        self.reload.begin_again(&self.pools);
        SignalAction::Handled
    }

    /// Ends the old process, too: whoever ends this one while both serve means the proxy.
    async fn stop_arrival(&mut self, arrival: &mut Arrival) {
        let Some(stopping) = arrival.stop() else {
            return;
        };
        if stopping.await {
            self.take_files();
        } else {
            tracing::warn!(
                new = std::process::id(),
                "take-over: the old process goes on"
            );
        }
    }

    /// Owns the files of the sockets from now on. Before, this process might end while the old one goes on, which needs them.
    fn take_files(&self) {
        SocketFiles::take(&self.pools, &self.upgrades.own_sockets);
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
        let pid = std::process::id();
        tracing::info!(pid, within = ?DRAIN_WITHIN, "draining");
        tokio::select! {
            () = self.workers.drain(DRAIN_WITHIN) => Exit::Drained,
            () = self.signals.exit_now() => Exit::Immediate,
        }
    }

    fn carry_out(&mut self, order: Order) -> SignalAction {
        match order {
            Order::Stop => {
                tracing::info!("stop ordered on the admin socket");
                return SignalAction::Drain;
            }
            Order::Reload(wanted, answer) => match self.upgrades.exclusion.check("reload") {
                Ok(()) => {
                    if !wanted.check {
                        self.notifier.reloading();
                    }
                    self.reload.begin(&self.pools, wanted, Some(answer));
                }
                Err(error) => {
                    tracing::info!(check = wanted.check, "{error}");
                    // Who has asked may have gone.
                    let _ = answer.send(Err(error));
                }
            },
            Order::Diff(order) => order.begin(&self.pools, &self.reload),
            Order::Upgrade(wanted, answer) => match self.prepare_upgrade(wanted) {
                Ok((orders, estate)) => self.upgrades.upgrade.begin(orders, estate, answer),
                Err(error) => {
                    tracing::error!("upgrade: {error}");
                    let _ = answer.send(Err(error));
                }
            },
            Order::TakeOver(stream, answer) => {
                let begun = self.begin_take_over(stream);
                let _ = answer.send(begun);
            }
        }
        SignalAction::Handled
    }

    /// Returns an error if this process cannot be replaced now.
    fn check_replaceable(&self) -> Result<(), ControlError> {
        if std::process::id() == 1 {
            return Err(refused(
                "this is process 1 of its container, which ends with it: replace the container by another one instead (a \
                 rolling update)",
            ));
        }
        if self.reload.is_loading() {
            return Err(ControlError::Reloading);
        }
        Ok(())
    }

    fn prepare_upgrade(&self, wanted: requests::Upgrade) -> Result<(Orders, Estate), ControlError> {
        if self.upgrades.upgrade.is_running() {
            return Err(refused("an upgrade is under way already"));
        }
        self.check_replaceable()?;
        let Some(admin) = self.upgrades.admin.clone() else {
            return Err(refused("there is no admin socket (--admin)"));
        };
        let freeze = self.upgrades.exclusion.freeze(Cause::Upgrade)?;
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
    ) -> Result<(), ControlError> {
        let prepared = if self.upgrades.upgrade.is_running() {
            None
        } else {
            self.check_replaceable()?;
            let freeze = self.upgrades.exclusion.freeze(Cause::Upgrade)?;
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
    async fn upgrade_failed(&mut self, error: &ControlError) {
        tracing::error!("upgrade: {error}");
        for detail in error.details() {
            tracing::error!("upgrade: {detail}");
        }
        let event = Event::new(EventKind::UpgradeFailed, error.to_string());
        let reasons = error.details().iter().cloned();
        self.pools.journal().record(event.with_details(reasons));
        self.serve_again();
        self.restore_files().await;
        self.reload.begin_again(&self.pools);
    }

    /// Binds unix sockets anew whose files are gone: a new process of an earlier version removes them at its end.
    async fn restore_files(&mut self) {
        match self.upgrades.own_sockets.restored_admin() {
            Ok(Some(socket)) => self.upgrades.admin_server.serve(socket),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "admin socket not bound"),
        }
        self.pools.restore_files(&self.workers).await;
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
