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
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::app::error::AppError;
use crate::app::files;
use crate::app::listeners::{OpenListener, OpenListeners, Place, Source};
use crate::config::{Config, PoolConfig};
use crate::control;
use crate::hash::name_order;
use crate::net::{BoundAddr, ConnLimit, Listener};
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
    pub(super) worker_count: usize,
    /// Ends all acceptors.
    pub(super) draining: CancellationToken,
}

#[derive(Debug)]
struct Running {
    setup: PoolSetup,
    /// None only while it is replaced.
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
}

impl Parts {
    pub(super) fn setup(&self, config: PoolConfig) -> PoolSetup {
        PoolSetup::new(config, self.started, &self.common_memory)
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

/// Has a listener do what this configuration says, which may not be the one that it was bound for.
fn adapt(mut listener: Listener, config: &PoolConfig) -> Listener {
    let pool = &config.name;
    if let Err(error) = listener.set_backlog(config.backlog) {
        tracing::warn!(pool, %error, "backlog not changed");
    }
    if let Err(error) = listener.readdress(&config.listen) {
        tracing::warn!(pool, %error, "mode of the socket not changed");
    }
    listener
}

/// Completes when what others decide about the pool is known: its primaries, then the marks at them.
async fn ready(store: &TopologyStore) {
    control::roles_read(store).await;
    control::marks_read(store).await;
}

fn accept(parts: &Parts, setup: &PoolSetup, listener: Listener, workers: &Workers) -> AcceptorTask {
    let (stop, end) = (CancellationToken::new(), parts.draining.clone());
    let bound = listener.bound_addr().ok();
    let acceptor = Acceptor::new(setup.clone(), listener, parts.process.clone(), workers);
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
        task: tokio::spawn(accepting),
        stop,
    }
}
