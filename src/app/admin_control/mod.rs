//! The proxy as the admin socket sees it: answers from what workers share and publish; orders to the control loop.

mod clients;
mod counts;
mod observed;
mod overview;
mod tap;
mod users;

use std::collections::HashMap;
use std::fmt;
use std::path;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::admin::api::answers::{
    ChangedServer, Clients, Commands, Differences, FailedOver, Killed, LogLevel, Moves, Pool,
    Pools, ProxyState, Refusals, Reloaded, Servers, Status, Stopping, Topologies, Unlisted,
    Upgraded,
};
use crate::admin::api::requests::{
    ClientRef, Diff, Failover, KillClient, LevelStep, Reload, ServerChange, ServerRef, SetLogLevel,
    Upgrade,
};
use crate::admin::api::{Answer, Control, ControlError};
use crate::app::exclusion::Exclusion;
use crate::app::facts;
use crate::app::failovers;
use crate::app::moves::Looks;
use crate::app::reload::DiffOrder;
use crate::app::servers;
use crate::app::times::unix_ms;
use crate::config::ProtocolKind;
use crate::control;
use crate::journal::{Event, EventKind, Journal};
use crate::log;
use crate::runtime::{PoolList, PoolSetup, StatsCollector};
use crate::stats::{PoolMetric, PoolSnapshot, Sample};
use crate::topology::PoolServer;

/// The proxy, for operators.
pub(super) struct AppControl {
    pub(super) pools: Arc<PoolList>,
    pub(super) stats: StatsCollector,
    pub(super) started: Instant,
    pub(super) workers: usize,
    pub(super) config_file: PathBuf,
    /// The time limit for requests in flight after [`Order::Stop`].
    pub(super) drain_within: Duration,
    pub(super) draining: CancellationToken,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) journal: Arc<Journal>,
    /// One comparison of files at a time.
    pub(super) diffs: Arc<Semaphore>,
    pub(super) moves: Arc<Looks>,
    pub(super) exclusion: Exclusion,
}

/// An order of an operator, which the control loop carries out.
#[derive(Debug)]
pub(super) enum Order {
    /// Drain, then end.
    Stop,
    /// Apply the configuration file.
    Reload(Reload, oneshot::Sender<Result<Reloaded, ControlError>>),
    /// Compare a file with what runs.
    Diff(DiffOrder),
    /// Replace the process.
    Upgrade(Upgrade, oneshot::Sender<Result<Upgraded, ControlError>>),
    /// Let a new process take over, on this connection.
    TakeOver(
        oneshot::Receiver<UnixStream>,
        oneshot::Sender<Result<(), ControlError>>,
    ),
}

/// The path from the root, as far as the system tells it.
pub(super) fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl AppControl {
    /// What is wrong with files of TLS, pool by pool.
    fn tls_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for setup in &*self.pools.load() {
            let refused = setup.tls_refusals.reasons().into_iter();
            let refused = refused.map(|reason| format!("{reason}; the old one is in use"));
            let expiries = control::expiry_warnings(&setup.config().tls);
            let found = refused.chain(expiries);
            problems.extend(found.map(|problem| format!("pool {}: {problem}", setup.name)));
        }
        problems
    }
}

impl Control for AppControl {
    fn status(&self) -> Answer<'_, Status> {
        Box::pin(async {
            let snapshot = self.stats.collect().await;
            let clients = snapshot.pools().map(|(_, pool)| clients_of(pool));
            let last_load = self.journal.last_load();
            Ok(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_seconds: self.started.elapsed().as_secs(),
                state: if self.draining.is_cancelled() {
                    ProxyState::Stopping
                } else {
                    ProxyState::Serving
                },
                config_file: self.config_file.display().to_string(),
                config_applied_ms: unix_ms(last_load.applied),
                config_refusal: last_load.refusal,
                tls_problems: self.tls_problems(),
                workers: self.workers,
                pools: self.pools.load().len(),
                clients: clients.sum(),
                log_level: log::level(),
            })
        })
    }

    fn pools(&self) -> Answer<'_, Pools> {
        Box::pin(async {
            let snapshot = self.stats.collect().await;
            let counts: HashMap<_, _> = snapshot.pools().collect();
            let setups = self.pools.load();
            let pools = setups
                .iter()
                .map(|setup| self.pool(setup, counts.get(&*setup.name).copied()));
            Ok(Pools {
                pools: pools.collect(),
            })
        })
    }

    fn servers(&self, pool: Option<String>) -> Answer<'_, Servers> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            let snapshot = self.stats.collect().await;
            let counts = servers::by_server(&snapshot);
            let servers = setups
                .iter()
                .flat_map(|setup| servers::servers_of(setup, &counts));
            Ok(Servers {
                servers: servers.collect(),
            })
        })
    }

    fn clients(&self, pool: Option<String>) -> Answer<'_, Clients> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            let snapshot = self.stats.collect().await;
            let counts: HashMap<_, _> = snapshot.pools().collect();
            let mut answer = Clients::default();
            for setup in &setups {
                if is_listed(setup) {
                    let entries = setup.shared.clients.all();
                    let clients = entries.iter().map(|entry| clients::client(setup, entry));
                    answer.clients.extend(clients);
                } else {
                    answer.unlisted.push(Unlisted {
                        pool: setup.name.to_string(),
                        clients: counts.get(&*setup.name).map_or(0, |pool| clients_of(pool)),
                    });
                }
            }
            Ok(answer)
        })
    }

    fn kill_client(&self, kill: KillClient) -> Answer<'_, Killed> {
        Box::pin(async move {
            let mut setups = self.find(kill.pool.as_deref())?;
            if kill.pool.is_some()
                && let Some(unlisted) = setups.iter().find(|setup| !is_listed(setup))
            {
                return Err(ControlError::NoClientList(unlisted.name.to_string()));
            }
            setups.retain(is_listed);
            let killed: Vec<_> = setups
                .iter()
                .flat_map(|setup| clients::kill_in(setup, &kill.client))
                .collect();
            if killed.is_empty() {
                return Err(ControlError::UnknownClient(match kill.client {
                    ClientRef::Id(id) => format!("id {id}"),
                    ClientRef::Address(address) => format!("address '{address}'"),
                }));
            }
            Ok(Killed { killed })
        })
    }

    fn topology(&self, pool: Option<String>) -> Answer<'_, Topologies> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            let now = Instant::now();
            let pools = setups.iter().map(|setup| facts::topology(setup, now));
            Ok(Topologies {
                pools: pools.collect(),
            })
        })
    }

    fn moves(&self, pool: Option<String>) -> Answer<'_, Moves> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            let topologies = setups.iter().map(|setup| setup.store.topology());
            let configs = topologies.map(|topology| Arc::clone(&topology.config));
            let guarded = configs.filter(|config| config.placement_guard).collect();
            self.moves.look(pool, guarded).await
        })
    }

    fn commands(&self, pool: Option<String>) -> Answer<'_, Commands> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            Ok(counts::commands(&setups, &self.stats.collect().await))
        })
    }

    fn refusals(&self, pool: Option<String>) -> Answer<'_, Refusals> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            Ok(counts::refusals(&setups, &self.stats.collect().await))
        })
    }

    fn change_server(&self, change: ServerChange, server: ServerRef) -> Answer<'_, ChangedServer> {
        Box::pin(async move {
            let (setup, server) = self.find_server(&server)?;
            let _change = self.exclusion.change_server()?;
            change_server(change, &setup, &server)?;
            Ok(ChangedServer {
                pool: setup.name.to_string(),
                state: facts::state(&setup.store.facts(), &server),
                server: server.name.clone(),
            })
        })
    }

    fn fail_over(&self, failover: Failover) -> Answer<'_, FailedOver> {
        Box::pin(async move {
            let (setup, server) = self.find_server(&failover.server)?;
            let permit = self.exclusion.fail_over()?;
            // To its end, whether or not anybody waits for the answer: writes may be paused.
            let made = tokio::spawn(failovers::fail_over(setup, server, failover.to, permit));
            made.await.map_err(|_| ControlError::Stopping)?
        })
    }

    fn reload(&self, reload: Reload) -> Answer<'_, Reloaded> {
        Box::pin(async move { self.order(|answer| Order::Reload(reload, answer)).await })
    }

    fn diff(&self, wanted: Diff) -> Answer<'_, Differences> {
        Box::pin(async move {
            let permit = Arc::clone(&self.diffs).acquire_owned().await;
            let permit = permit.map_err(|_| ControlError::Stopping)?;
            self.order(|answer| {
                Order::Diff(DiffOrder {
                    wanted,
                    answer,
                    permit,
                })
            })
            .await
        })
    }

    fn log_level(&self) -> Answer<'_, LogLevel> {
        Box::pin(async { Ok(level(log::level())) })
    }

    fn set_log_level(&self, wanted: SetLogLevel) -> Answer<'_, LogLevel> {
        Box::pin(async move {
            let new = match wanted {
                SetLogLevel::To(level) => log::set_level(level),
                SetLogLevel::Step(LevelStep::Up) => log::raise(),
                SetLogLevel::Step(LevelStep::Down) => log::lower(),
            };
            tracing::info!(level = new, "log level set by an operator");
            let text = format!("log level {new}, by an operator");
            let event = Event::new(EventKind::LogLevelSet, text);
            self.journal.record(event);
            Ok(level(new))
        })
    }

    fn upgrade(&self, upgrade: Upgrade) -> Answer<'_, Upgraded> {
        Box::pin(async move { self.order(|answer| Order::Upgrade(upgrade, answer)).await })
    }

    fn take_over(&self, stream: oneshot::Receiver<UnixStream>) -> Answer<'_, ()> {
        Box::pin(async move { self.order(|answer| Order::TakeOver(stream, answer)).await })
    }

    fn stop(&self) -> Answer<'_, Stopping> {
        Box::pin(async {
            let is_new = !self.draining.is_cancelled() && self.orders.try_send(Order::Stop).is_ok();
            if !is_new {
                return Err(ControlError::Stopping);
            }
            Ok(Stopping {
                within_seconds: self.drain_within.as_secs(),
            })
        })
    }
}

impl AppControl {
    /// Has the control loop carry out an order that is answered.
    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, ControlError>>) -> Order,
    ) -> Result<T, ControlError> {
        if self.draining.is_cancelled() {
            return Err(ControlError::Stopping);
        }
        let (answer, answered) = oneshot::channel();
        let answered = async {
            let ordered = self.orders.send(order(answer)).await;
            ordered.map_err(|_| ControlError::Stopping)?;
            answered.await.unwrap_or(Err(ControlError::Stopping))
        };
        tokio::select! {
            // An upgrade that has succeeded is followed by a drain.
            biased;
            answer = answered => answer,
            () = self.draining.cancelled() => Err(ControlError::Stopping),
        }
    }

    /// The pool of this name, or all.
    fn find(&self, wanted: Option<&str>) -> Result<Vec<PoolSetup>, ControlError> {
        let setups = self.pools.load();
        let Some(wanted) = wanted else {
            return Ok(setups.to_vec());
        };
        match setups.iter().find(|setup| &*setup.name == wanted) {
            Some(setup) => Ok(vec![setup.clone()]),
            None => Err(ControlError::UnknownPool(wanted.to_owned())),
        }
    }

    /// The server, and its pool.
    fn find_server(
        &self,
        wanted: &ServerRef,
    ) -> Result<(PoolSetup, Arc<PoolServer>), ControlError> {
        let setups = self.find(wanted.pool.as_deref())?;
        let mut found: Vec<_> = setups
            .into_iter()
            .filter_map(|setup| {
                let topology = setup.store.topology();
                let mut servers = topology.servers().iter();
                let server = servers.find(|server| server.name == wanted.server)?;
                Some((setup, Arc::clone(server)))
            })
            .collect();
        match (found.pop(), found.as_slice()) {
            (Some(only), []) => Ok(only),
            (Some(last), others) => Err(ControlError::AmbiguousServer {
                server: wanted.server.clone(),
                pools: others
                    .iter()
                    .chain([&last])
                    .map(|(setup, _)| setup.name.to_string())
                    .collect(),
            }),
            (None, _) => Err(ControlError::UnknownServer {
                server: wanted.server.clone(),
                pool: wanted.pool.clone(),
            }),
        }
    }

    fn pool(&self, setup: &PoolSetup, counts: Option<&PoolSnapshot>) -> Pool {
        let topology = setup.store.topology();
        let config = &topology.config;
        let rates = counts.and_then(|counts| {
            let before = self.stats.sampled(&setup.name)?;
            Sample::of(counts, Instant::now()).rates_since(&before)
        });
        Pool {
            pool: setup.name.to_string(),
            protocol: setup.protocol.name().to_owned(),
            listen: config.listen_text(),
            hash: config.hash.name().to_owned(),
            distribution: config.distribution.name().to_owned(),
            servers: topology.servers().len(),
            live_servers: topology.live.iter().filter(|is_live| **is_live).count(),
            clients: counts.map_or(0, clients_of),
            requests_per_second: rates.map(|rates| rates.requests),
        }
    }
}

impl fmt::Debug for AppControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppControl").finish_non_exhaustive()
    }
}

/// Does what an operator wants with a server.
fn change_server(
    change: ServerChange,
    setup: &PoolSetup,
    server: &PoolServer,
) -> Result<(), ControlError> {
    let store = &setup.store;
    let (pool, name) = (&*setup.name, &server.name);
    match change {
        ServerChange::Drain if store.topology().moving.is_some() => {
            return Err(ControlError::Refused {
                reason: format!(
                    "keys of pool '{pool}' are being moved; a server is drained when that is done ('ringroad reshard status')"
                ),
                details: Vec::new(),
            });
        }
        ServerChange::Drain => {
            store.set_drained(server, true);
            tracing::warn!(pool, server = name, "server drained by an operator");
        }
        ServerChange::Eject if !store.ejects() => {
            return Err(ControlError::Refused {
                reason: format!(
                    "pool '{pool}' has no 'auto_eject_hosts': nothing would bring the server back; drain it"
                ),
                details: Vec::new(),
            });
        }
        ServerChange::Eject => {
            if let Some(transition) = store.eject(server, Instant::now(), SystemTime::now()) {
                tracing::warn!(pool, server = name, "server {}", transition.change);
            }
        }
        ServerChange::Admit => {
            store.set_drained(server, false);
            let _returned = store.admit(server);
            tracing::warn!(pool, server = name, "server admitted by an operator");
        }
    }
    Ok(())
}

/// Returns true if the pool keeps a list of its clients.
fn is_listed(setup: &PoolSetup) -> bool {
    setup.protocol == ProtocolKind::Redis
}

fn clients_of(pool: &PoolSnapshot) -> u64 {
    servers::gauge(pool.values.get(PoolMetric::ClientConnections))
}

fn level(level: u8) -> LogLevel {
    LogLevel {
        level,
        shows: log::shown_at(level),
    }
}
