//! The pools that run, their listeners, and how both change.
//!
//! ```text
//! Config --bind all that is new--> stop listeners --> stores, list, workers --> start listeners
//!               | one fails: nothing has changed
//! ```
//!
//! Invariant: a pool that is served has one acceptor, and a listener that stays is never closed: it is handed from one
//! acceptor to the next, also to that of another pool.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::app::error::AppError;
use crate::app::files;
use crate::config::{Config, PoolConfig};
use crate::control;
use crate::hash::name_order;
use crate::net::{Binding, BoundAddr, ConnLimit, ListenAddr, Listener};
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
    _watchers: [AbortOnDropHandle<()>; 3],
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

/// What the file says of a listener. One of which it says the same is not bound again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    address: ListenAddr,
    reuseport: bool,
}

impl Place {
    fn of(config: &PoolConfig) -> Self {
        Self {
            address: config.listen.clone(),
            reuseport: config.reuseport,
        }
    }
}

impl Running {
    fn new(setup: PoolSetup, acceptor: Option<AcceptorTask>) -> Self {
        let watchers = [
            tokio::spawn(control::follow_names(Arc::clone(&setup.store))),
            tokio::spawn(control::probe_servers(Arc::clone(&setup.store))),
            tokio::spawn(publish_deferred(Arc::clone(&setup.store))),
        ];
        Self {
            setup,
            acceptor,
            _watchers: watchers.map(AbortOnDropHandle::new),
        }
    }
}

/// The listener of a pool that is to get another one.
#[derive(Debug)]
enum Source {
    /// A new one.
    New(Listener),
    /// The one of this place, which is stopped there.
    Handed(Place),
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

    /// Returns true if its listener, which is bound to `address`, can become that of this pool.
    fn fits(&self, pool: &PoolConfig, address: &BoundAddr) -> bool {
        let is_bound_alike =
            self.bound.as_ref() == Some(address) && self.place.reuseport == pool.reuseport;
        match (&self.place.address, &pool.listen) {
            // What the umask would leave of the mode is not known.
            (ListenAddr::Unix { mode, .. }, ListenAddr::Unix { mode: new, .. }) => {
                is_bound_alike && (mode == new || new.is_some())
            }
            _ => is_bound_alike,
        }
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

    /// The configurations of the pools, sorted as a file's.
    pub(super) fn configs(&self) -> Vec<PoolConfig> {
        let setups = self.setups().into_iter();
        setups
            .map(|setup| PoolConfig::clone(&setup.config()))
            .collect()
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
        let mut sources = self.bind_new(&config)?;
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

    /// Binds the listeners that no pool has yet, by the names of their pools. One that is open, by another name of its
    /// address, is not bound again.
    fn bind_new(&self, config: &Config) -> Result<HashMap<String, Source>, AppError> {
        let acceptors = self
            .pools
            .values()
            .filter_map(|pool| pool.acceptor.as_ref());
        let wanted: HashSet<_> = config.pools.iter().map(Place::of).collect();
        let (taken, mut free): (Vec<_>, Vec<_>) =
            acceptors.partition(|acceptor| wanted.contains(&acceptor.place));
        let taken: HashSet<_> = taken.iter().map(|acceptor| &acceptor.place).collect();
        let mut sources = HashMap::new();
        for pool in &config.pools {
            if taken.contains(&Place::of(pool)) {
                continue;
            }
            let fits = |address: &BoundAddr| free.iter().any(|free| free.fits(pool, address));
            let binding = bind_unless(pool, fits).map_err(|error| self.explain(pool, error))?;
            let source = match binding {
                Binding::New(listener) => Source::New(listener),
                Binding::Open(address) => {
                    let found = free.iter().position(|free| free.fits(pool, &address));
                    match found.map(|found| free.swap_remove(found)) {
                        Some(acceptor) => Source::Handed(acceptor.place.clone()),
                        None => continue,
                    }
                }
            };
            sources.insert(pool.name.clone(), source);
        }
        Ok(sources)
    }

    /// Names the pool that is in the way, if an address is in use by the proxy itself.
    fn explain(&self, pool: &PoolConfig, error: AppError) -> AppError {
        let is_in_use = matches!(&error, AppError::Listen { error, .. } if error.kind() == io::ErrorKind::AddrInUse);
        let mut configs = self.pools.values().map(|running| running.setup.config());
        let own = configs.find(|config| may_overlap(&config.listen, &pool.listen));
        match own.filter(|_| is_in_use) {
            Some(own) => AppError::ListensAlready {
                pool: pool.name.clone(),
                address: pool.listen_text.clone(),
                owner: own.name.clone(),
                own: own.listen_text.clone(),
            },
            None => error,
        }
    }
}

fn may_overlap(one: &ListenAddr, other: &ListenAddr) -> bool {
    match (one, other) {
        (ListenAddr::Tcp { port, .. }, ListenAddr::Tcp { port: other, .. }) => port == other,
        (ListenAddr::Unix { path, .. }, ListenAddr::Unix { path: other, .. }) => path == other,
        _ => false,
    }
}

/// Binds the listener of a pool.
pub(super) fn bind(config: &PoolConfig) -> Result<Listener, AppError> {
    let listener = Listener::bind(&config.listen, config.backlog, config.reuseport);
    let listener = listener.map_err(|error| cannot_listen(config, error))?;
    log_listener(config);
    Ok(listener)
}

/// Binds the listener of a pool, unless one that fits has its address.
fn bind_unless(
    config: &PoolConfig,
    fits: impl Fn(&BoundAddr) -> bool,
) -> Result<Binding, AppError> {
    let binding = Listener::bind_unless(&config.listen, config.backlog, config.reuseport, fits);
    let binding = binding.map_err(|error| cannot_listen(config, error))?;
    if let Binding::New(_) = binding {
        log_listener(config);
    }
    Ok(binding)
}

fn cannot_listen(config: &PoolConfig, error: io::Error) -> AppError {
    AppError::Listen {
        pool: config.name.clone(),
        address: config.listen_text.clone(),
        error,
    }
}

fn log_listener(config: &PoolConfig) {
    let (pool, address) = (&config.name, &config.listen_text);
    tracing::info!(pool, address, servers = config.servers.len(), "listening");
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

fn accept(parts: &Parts, setup: &PoolSetup, listener: Listener, workers: &Workers) -> AcceptorTask {
    let (stop, end) = (CancellationToken::new(), parts.draining.clone());
    let bound = listener.bound_addr().ok();
    let acceptor = Acceptor::new(setup.clone(), listener, parts.process.clone(), workers);
    let config = setup.config();
    AcceptorTask {
        place: Place::of(&config),
        bound,
        backlog: config.backlog,
        task: tokio::spawn(acceptor.run(stop.clone(), end)),
        stop,
    }
}
