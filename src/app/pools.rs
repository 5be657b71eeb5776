//! The pools that run, their listeners, and how both change.
//!
//! ```text
//! Config --bind all that is new--> stop listeners --> stores, list, workers --> start listeners
//!               | one fails: nothing has changed
//! ```
//!
//! Invariant: a pool that is served has one acceptor for each of its addresses, and a listener that stays is never closed: it is handed from one
//! acceptor to the next, also to that of another pool.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::mem;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::app::error::AppError;
use crate::app::files;
use crate::app::listeners::{
    OpenListener, OpenListeners, Place, Source, Wanted, adapt, cannot_listen, log_listener,
};
use crate::app::tls_renewal::{Renewed, renew_tls};
use crate::config::{Config, PoolConfig, PoolTls, Transport};
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
    /// One for each address; fewer only while they are replaced, or if that has failed.
    acceptors: BTreeMap<Transport, AcceptorTask>,
    _watchers: [AbortOnDropHandle<()>; 5],
}

/// A running acceptor.
#[derive(Debug)]
struct AcceptorTask {
    place: Place,
    /// The address as it was written.
    text: String,
    /// None if the system does not tell.
    bound: Option<BoundAddr>,
    backlog: u32,
    listener: Weak<Listener>,
    stop: CancellationToken,
    /// Returns the listener when it is stopped.
    task: JoinHandle<Option<Listener>>,
}

impl Running {
    fn new(setup: PoolSetup, acceptors: BTreeMap<Transport, AcceptorTask>) -> Self {
        let watchers = [
            tokio::spawn(control::follow_names(Arc::clone(&setup.store))),
            tokio::spawn(control::probe_servers(Arc::clone(&setup.store))),
            tokio::spawn(control::watch_marks(Arc::clone(&setup.store))),
            tokio::spawn(control::watch_roles(Arc::clone(&setup.store))),
            tokio::spawn(publish_deferred(Arc::clone(&setup.store))),
        ];
        Self {
            setup,
            acceptors,
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
    fn serves(&self, wanted: Wanted<'_>) -> bool {
        self.place == Place::of(wanted) && self.backlog == wanted.pool.backlog
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
        listeners: Vec<BTreeMap<Transport, Listener>>,
        workers: &Workers,
    ) -> Self {
        let running = |(setup, listeners): (PoolSetup, BTreeMap<Transport, Listener>)| {
            let config = setup.config();
            let acceptors = listeners.into_iter().filter_map(|(transport, listener)| {
                let listen = config.listener(transport)?;
                let wanted = Wanted {
                    pool: &config,
                    transport,
                    listen,
                };
                Some((transport, accept(&parts, &setup, wanted, listener, workers)))
            });
            let acceptors = acceptors.collect();
            (setup.name.to_string(), Running::new(setup, acceptors))
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

    /// What those pools say of TLS that say something, by name.
    pub(super) fn tls(&self) -> Vec<(String, PoolTls)> {
        let pools = self.pools.iter();
        let tls = pools.map(|(name, running)| (name.clone(), running.setup.config().tls.clone()));
        tls.filter(|(_, tls)| tls.is_used()).collect()
    }

    /// The files of users, as the configuration names them.
    pub(super) fn users_files(&self) -> impl Iterator<Item = String> {
        let configs = self.pools.values().map(|running| running.setup.config());
        configs.filter_map(|config| config.users_file.clone())
    }

    /// Has pools use files of TLS that were read again. Those of a pool that are faulty leave its old ones in use.
    pub(super) fn renew_tls(&self, renewed: Vec<Renewed>) {
        for (name, renewed) in renewed {
            if let Some(running) = self.pools.get(&name) {
                renew_tls(&running.setup, renewed);
            }
        }
    }

    /// Their listeners.
    pub(super) fn open_listeners(&self) -> OpenListeners {
        let open = self.acceptors().map(|(running, acceptor)| OpenListener {
            place: acceptor.place.clone(),
            bound: acceptor.bound,
            pool: running.setup.name.to_string(),
            text: acceptor.text.clone(),
        });
        OpenListeners(open.collect())
    }

    /// Copies of the sockets of [`Self::listeners`], for another process.
    pub(super) fn sockets(&self) -> io::Result<Vec<(Role, OwnedFd)>> {
        let mut sockets = Vec::with_capacity(self.pools.len());
        for (running, acceptor, listener) in self.listening() {
            let role = Role::Pool {
                pool: running.setup.name.to_string(),
                listen: acceptor.text.clone(),
                reuseport: acceptor.place.reuseport,
            };
            sockets.push((role, listener.as_fd().try_clone_to_owned()?));
        }
        Ok(sockets)
    }

    /// The listeners that are open.
    pub(super) fn listeners(&self) -> Vec<Weak<Listener>> {
        let listening = self.listening();
        listening
            .map(|(.., listener)| Arc::downgrade(&listener))
            .collect()
    }

    fn listening(&self) -> impl Iterator<Item = (&Running, &AcceptorTask, Arc<Listener>)> {
        let acceptors = self.acceptors();
        acceptors.filter_map(|(running, acceptor)| {
            Some((running, acceptor, acceptor.listener.upgrade()?))
        })
    }

    /// The acceptors of all pools.
    fn acceptors(&self) -> impl Iterator<Item = (&Running, &AcceptorTask)> {
        let pools = self.pools.values();
        pools.flat_map(|running| running.acceptors.values().map(move |one| (running, one)))
    }

    /// Binds unix sockets anew whose files are gone: nobody can connect to them any more.
    pub(super) async fn restore_files(&mut self, workers: &Workers) {
        for running in self.pools.values_mut() {
            let (lost, kept) = mem::take(&mut running.acceptors)
                .into_iter()
                .partition(|(_, acceptor)| acceptor.has_lost_its_file());
            running.acceptors = kept;
            let lost: BTreeMap<_, AcceptorTask> = lost;
            for (transport, lost) in lost {
                lost.stop.cancel();
                // Its listener is closed, if it has not failed already.
                drop(lost.task.await);
                let config = running.setup.config();
                let Some(listen) = config.listener(transport) else {
                    continue;
                };
                let wanted = Wanted {
                    pool: &config,
                    transport,
                    listen,
                };
                let bound = Listener::bind(&listen.address, config.backlog, config.reuseport);
                match bound.map_err(|error| cannot_listen(wanted, error)) {
                    Ok(listener) => {
                        log_listener(wanted);
                        let acceptor =
                            accept(&self.parts, &running.setup, wanted, listener, workers);
                        running.acceptors.insert(transport, acceptor);
                    }
                    Err(error) => tracing::error!("{error}"),
                }
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
                .insert(setup.name.to_string(), Running::new(setup, BTreeMap::new()));
        }
        for (name, running) in &mut self.pools {
            let config = running.setup.config();
            for wanted in Wanted::of(&config) {
                if running.acceptors.contains_key(&wanted.transport) {
                    continue;
                }
                let listener = match sources.remove(&(name.clone(), wanted.transport)) {
                    Some(Source::New(listener)) => Some(listener),
                    Some(Source::Handed(place)) => stopped.remove(&place),
                    None => stopped.remove(&Place::of(wanted)),
                };
                if let Some(listener) = listener {
                    let listener = adapt(listener, wanted);
                    let acceptor = accept(&self.parts, &running.setup, wanted, listener, workers);
                    running.acceptors.insert(wanted.transport, acceptor);
                }
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
            let serves = |transport: &Transport, acceptor: &AcceptorTask| {
                let mut wanted = pool.into_iter().flat_map(|pool| Wanted::of(pool));
                wanted.any(|wanted| wanted.transport == *transport && acceptor.serves(wanted))
            };
            let (staying, over) = mem::take(&mut running.acceptors)
                .into_iter()
                .partition(|(transport, acceptor)| serves(transport, acceptor));
            running.acceptors = staying;
            let over: BTreeMap<_, AcceptorTask> = over;
            for acceptor in over.into_values() {
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

fn accept(
    parts: &Parts,
    setup: &PoolSetup,
    wanted: Wanted<'_>,
    listener: Listener,
    workers: &Workers,
) -> AcceptorTask {
    let (stop, end) = (CancellationToken::new(), parts.draining.clone());
    let bound = listener.bound_addr().ok();
    let listener = Arc::new(listener);
    let behind_gate = (Arc::clone(&listener), parts.gate.clone());
    let served = (setup.clone(), wanted.transport);
    let acceptor = Acceptor::new(served, behind_gate, parts.process.clone(), workers);
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
        place: Place::of(wanted),
        text: wanted.listen.text.clone(),
        bound,
        backlog: wanted.pool.backlog,
        listener: Arc::downgrade(&listener),
        task: tokio::spawn(accepting),
        stop,
    }
}
