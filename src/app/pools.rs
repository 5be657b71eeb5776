//! The pools that run, their listeners, and how both change.
//!
//! ```text
//! Config --bind all that is new--> stop listeners --> stores, list, workers --> start listeners
//!               | one fails: nothing has changed
//! ```
//!
//! Invariant: a pool that is served has one acceptor, and a listener that stays is never closed: it is handed from one
//! acceptor to the next, also to that of another pool.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::app::error::AppError;
use crate::app::files;
use crate::app::listeners::{
    OpenListener, OpenListeners, Place, Source, adapt, cannot_listen, log_listener,
};
use crate::config::{Config, PoolConfig};
use crate::control;
use crate::handover::{PoolName, Role};
use crate::hash::name_order;
use crate::journal::Journal;
use crate::net::{AcceptGate, BoundAddr, ConnLimit, Listener};
use crate::proxy::MemoryBudget;
use crate::runtime::{Acceptor, PoolSetup, Workers};
use crate::topology::TopologyStore;

/// The pools that run.
#[derive(Debug)]
pub(super) struct RunningPools {
    /// By name.
    pools: BTreeMap<String, Running>,
    parts: Parts,
}

/// What all pools share.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) started: Instant,
    pub(super) common_memory: Arc<MemoryBudget>,
    /// Counts the clients of all pools, and their dedicated connections.
    pub(super) process: ConnLimit,
    pub(super) journal: Arc<Journal>,
    pub(super) worker_count: usize,
    /// While it is closed, nothing is accepted.
    pub(super) gate: AcceptGate,
    /// Ends all acceptors.
    pub(super) draining: CancellationToken,
}

#[derive(Debug)]
struct Running {
    setup: PoolSetup,
    /// None only while it is replaced, or if that has failed.
    acceptor: Option<AcceptorTask>,
    _watchers: [AbortOnDropHandle<()>; 5],
}

/// A running acceptor.
#[derive(Debug)]
struct AcceptorTask {
    place: Place,
    /// None if the system does not tell.
    bound: Option<BoundAddr>,
    backlog: u32,
    listener: Weak<Listener>,
    stop: CancellationToken,
    /// Returns the listener when it is stopped.
    task: JoinHandle<Option<Listener>>,
}

impl Running {
    fn new(setup: PoolSetup, acceptor: Option<AcceptorTask>) -> Self {
        let watchers = [
            tokio::spawn(control::follow_names(Arc::clone(&setup.store))),
            tokio::spawn(control::probe_servers(Arc::clone(&setup.store))),
            tokio::spawn(control::watch_marks(Arc::clone(&setup.store))),
            tokio::spawn(control::watch_roles(Arc::clone(&setup.store))),
            tokio::spawn(publish_deferred(Arc::clone(&setup.store))),
        ];
        Self {
            setup,
            acceptor,
            _watchers: watchers.map(AbortOnDropHandle::new),
        }
    }
}

/// Publishes what the workers of a large pool leave to this thread.
async fn publish_deferred(store: Arc<TopologyStore>) {
    loop {
        store.publish_deferred().await;
    }
}

impl AcceptorTask {
    /// Returns true if it need not be stopped for this configuration of its pool.
    fn serves(&self, pool: &PoolConfig) -> bool {
        self.place == Place::of(pool) && self.backlog == pool.backlog
    }

    fn has_lost_its_file(&self) -> bool {
        let listener = self.listener.upgrade();
        listener.is_some_and(|listener| listener.has_lost_its_file())
    }
}

impl Parts {
    pub(super) fn setup(&self, config: PoolConfig) -> PoolSetup {
        PoolSetup::new(config, self.started, &self.common_memory, &self.journal)
    }
}

impl RunningPools {
    /// Serves the pools of `setups`, which the workers know already, on their listeners.
    pub(super) fn start(
        parts: Parts,
        setups: Vec<PoolSetup>,
        listeners: Vec<Listener>,
        workers: &Workers,
    ) -> Self {
        let running = |(setup, listener): (PoolSetup, Listener)| {
            let acceptor = Some(accept(&parts, &setup, listener, workers));
            (setup.name.to_string(), Running::new(setup, acceptor))
        };
        Self {
            pools: setups.into_iter().zip(listeners).map(running).collect(),
            parts,
        }
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.parts.journal
    }

    /// The configurations of the pools, sorted as a file's: what was read, with the placement that is in force.
    pub(super) fn configs(&self) -> Vec<PoolConfig> {
        let setups = self.setups().into_iter();
        setups
            .map(|setup| PoolConfig::clone(&setup.store.comparable_config()))
            .collect()
    }

    /// The names of pools in which marks at the servers decide about the placement.
    pub(super) fn marked(&self) -> Vec<String> {
        let pools = self.pools.values().map(|pool| &pool.setup);
        let marked = pools.filter(|setup| setup.store.topology().marked.is_some());
        marked.map(|setup| setup.name.to_string()).collect()
    }

    /// Their listeners.
    pub(super) fn open_listeners(&self) -> OpenListeners {
        let open = self.pools.values().filter_map(|running| {
            let (acceptor, config) = (running.acceptor.as_ref()?, running.setup.config());
            Some(OpenListener {
                place: acceptor.place.clone(),
                bound: acceptor.bound,
                pool: config.name.clone(),
                text: config.listen_text.clone(),
            })
        });
        OpenListeners(open.collect())
    }

    /// Copies of the sockets of [`Self::listeners`], for another process.
    pub(super) fn sockets(&self) -> io::Result<Vec<(Role, OwnedFd)>> {
        let mut sockets = Vec::with_capacity(self.pools.len());
        for (config, listener) in self.listening() {
            let role = Role::Pool {
                pool: config.name.clone(),
                listen: config.listen_text.clone(),
                reuseport: config.reuseport,
            };
            sockets.push((role, listener.as_fd().try_clone_to_owned()?));
        }
        Ok(sockets)
    }

    /// The listeners that are open.
    pub(super) fn listeners(&self) -> Vec<Weak<Listener>> {
        let listening = self.listening();
        listening
            .map(|(_, listener)| Arc::downgrade(&listener))
            .collect()
    }

    fn listening(&self) -> impl Iterator<Item = (Arc<PoolConfig>, Arc<Listener>)> {
        let pools = self.pools.values();
        pools.filter_map(|running| {
            let listener = running.acceptor.as_ref()?.listener.upgrade()?;
            Some((running.setup.config(), listener))
        })
    }

    /// Binds unix sockets anew whose files are gone: nobody can connect to them any more.
    pub(super) async fn restore_files(&mut self, workers: &Workers) {
        for running in self.pools.values_mut() {
            let Some(lost) = running
                .acceptor
                .take_if(|acceptor| acceptor.has_lost_its_file())
            else {
                continue;
            };
            lost.stop.cancel();
            // Its listener is closed, if it has not failed already.
            drop(lost.task.await);
            let config = running.setup.config();
            let bound = Listener::bind(&config.listen, config.backlog, config.reuseport);
            match bound.map_err(|error| cannot_listen(&config, error)) {
                Ok(listener) => {
                    log_listener(&config);
                    let acceptor = accept(&self.parts, &running.setup, listener, workers);
                    running.acceptor = Some(acceptor);
                }
                Err(error) => tracing::error!("{error}"),
            }
        }
    }

    /// The limit of the clients of all pools.
    pub(super) fn process(&self) -> &ConnLimit {
        &self.parts.process
    }

    /// Their names and protocols.
    pub(super) fn names(&self) -> Vec<PoolName> {
        let setups = self.pools.values().map(|pool| &pool.setup);
        setups
            .map(|setup| PoolName {
                pool: setup.name.to_string(),
                protocol: setup.protocol.name().to_owned(),
            })
            .collect()
    }

    /// Completes when what others decide about each pool is known.
    pub(super) async fn ready(&self) {
        for running in self.pools.values() {
            ready(&running.setup.store).await;
        }
    }

    /// The servers that an operator has drained, by pool.
    pub(super) fn drained(&self) -> Vec<(String, String)> {
        let pools = self.pools.values().map(|pool| &pool.setup);
        pools
            .flat_map(|setup| {
                let drained = setup.store.facts().drained.into_keys();
                drained.map(|server| (setup.name.to_string(), server))
            })
            .collect()
    }

    /// Drains these servers, by pool.
    pub(super) fn drain(&self, drained: &[(String, String)]) {
        for (pool, server) in drained {
            let Some(running) = self.pools.get(pool) else {
                continue;
            };
            let store = &running.setup.store;
            let topology = store.topology();
            let mut servers = topology.servers().iter();
            if let Some(found) = servers.find(|found| found.name == *server) {
                store.set_drained(found, true);
            }
        }
    }

    /// The pools, sorted as a file's.
    pub(super) fn setups(&self) -> Vec<PoolSetup> {
        let mut setups: Vec<_> = self.pools.values().map(|pool| pool.setup.clone()).collect();
        setups.sort_by(|a, b| name_order(&a.name, &b.name));
        setups
    }

    /// Changes to the pools of `config`. `Err` if a listener cannot be bound; then nothing has changed. Clients of a removed
    /// pool may finish their requests in flight within `drain_within`.
    pub(super) async fn change(
        &mut self,
        config: Config,
        workers: &Workers,
        drain_within: Duration,
    ) -> Result<(), AppError> {
        let mut sources = self.open_listeners().bind(&config)?;
        let mut stopped = self.stop_listeners(&config).await;
        let names: BTreeSet<_> = config.pools.iter().map(|pool| pool.name.clone()).collect();
        let mut removed = Vec::new();
        self.pools.retain(|name, running| {
            let stays = names.contains(name);
            if !stays {
                removed.push(running.setup.id);
            }
            stays
        });
        for pool in config.pools {
            if let Some(running) = self.pools.get(&pool.name) {
                if *running.setup.config() != pool {
                    running.setup.set_config(pool);
                }
                continue;
            }
            let setup = self.parts.setup(pool);
            workers.add_pool(&setup).await;
            self.pools
                .insert(setup.name.to_string(), Running::new(setup, None));
        }
        for (name, running) in &mut self.pools {
            if running.acceptor.is_none() {
                let config = running.setup.config();
                let listener = match sources.remove(name) {
                    Some(Source::New(listener)) => Some(listener),
                    Some(Source::Handed(place)) => stopped.remove(&place),
                    None => stopped.remove(&Place::of(&config)),
                };
                let listener = listener.map(|listener| adapt(listener, &config));
                running.acceptor =
                    listener.map(|listener| accept(&self.parts, &running.setup, listener, workers));
            }
        }
        workers.pools().store(self.setups(), stopped.len() as u64);
        drop(stopped);
        for pool in removed {
            workers.remove_pool(pool, drain_within).await;
        }
        let limit = files::client_limit(&self.setups(), self.parts.worker_count);
        self.parts.process.set_limit(limit);
        Ok(())
    }

    /// Stops the acceptors that do not serve their pools in `config`, and returns their listeners.
    async fn stop_listeners(&mut self, config: &Config) -> HashMap<Place, Listener> {
        let wanted: HashMap<_, _> = config
            .pools
            .iter()
            .map(|pool| (pool.name.as_str(), pool))
            .collect();
        let mut stopping = Vec::new();
        for (name, running) in &mut self.pools {
            let pool = wanted.get(name.as_str());
            let is_over =
                |acceptor: &mut AcceptorTask| !pool.is_some_and(|pool| acceptor.serves(pool));
            if let Some(acceptor) = running.acceptor.take_if(is_over) {
                acceptor.stop.cancel();
                stopping.push(acceptor);
            }
        }
        let mut stopped = HashMap::new();
        for acceptor in stopping {
            match acceptor.task.await {
                Ok(listener) => stopped.extend(listener.map(|listener| (acceptor.place, listener))),
                Err(error) => tracing::error!(%error, "acceptor failed"),
            }
        }
        stopped
    }
}

/// Completes when what others decide about the pool is known: its primaries, then the marks at them.
async fn ready(store: &TopologyStore) {
    control::roles_read(store).await;
    control::marks_read(store).await;
}

fn accept(parts: &Parts, setup: &PoolSetup, listener: Listener, workers: &Workers) -> AcceptorTask {
    let (stop, end) = (CancellationToken::new(), parts.draining.clone());
    let bound = listener.bound_addr().ok();
    let listener = Arc::new(listener);
    let behind_gate = (Arc::clone(&listener), parts.gate.clone());
    let acceptor = Acceptor::new(setup.clone(), behind_gate, parts.process.clone(), workers);
    let config = setup.config();
    let (store, stopped) = (Arc::clone(&setup.store), stop.clone());
    let accepting = async move {
        tokio::select! {
            () = ready(&store) => {}
            () = stopped.cancelled() => {}
            () = end.cancelled() => {}
        }
        acceptor.run(stopped, end).await
    };
    AcceptorTask {
        place: Place::of(&config),
        bound,
        backlog: config.backlog,
        listener: Arc::downgrade(&listener),
        task: tokio::spawn(accepting),
        stop,
    }
}
