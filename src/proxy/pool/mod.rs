//! One worker's view of a pool: the routing of its keys, and its connections.

pub(crate) mod backends;
pub(crate) mod barrier;
pub(crate) mod dedicated;
pub(crate) mod handle;
pub(crate) mod hedges;
pub(crate) mod leases;
pub(crate) mod view;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;

use crate::config::PoolConfig;
use crate::observe::{PoolObservation, WorkerObserver};
use crate::protocol::{ClientState as _, PubSub as _};
use crate::protocol::{ConnProfile, Limits, Protocol};
use crate::proxy::pool::backends::{Backends, MakeHandle, Makers};
use crate::proxy::pool::handle::ServerHandle;
use crate::proxy::pool::hedges::Hedges;
use crate::proxy::pool::leases::Leases;
use crate::proxy::pubsub;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::server::ServerParts;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::memory::{MemoryBudgets, PoolMemory};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::quota::{Tenant, WorkerTenant};
use crate::stats::{PoolCellSet, PoolCells};
use crate::topology::TopologyStore;

/// One pool, as one worker serves it.
pub struct LocalPool<P: Protocol> {
    /// The pool's name.
    pub name: Rc<str>,
    pub(crate) limits: Limits,
    pub(crate) flow: FlowLimits,
    /// This worker's counters of the pool.
    pub cells: Rc<PoolCells>,
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) memory: Rc<PoolMemory>,
    /// The quota of all its clients.
    pub(crate) tenant: WorkerTenant,
    /// Requests count towards quotas.
    pub(crate) is_metered: Rc<Cell<bool>>,
    pub(crate) plan_buffers: Cell<PlanBuffers>,
    pub(crate) backends: Rc<Backends<P>>,
    /// The pub/sub registry of its clients.
    pub(crate) pubsub: Rc<PubSub<P>>,
    /// Dedicated connections, each leased to one client.
    pub(crate) leases: Rc<Leases<P>>,
    /// Reads at replicas that may be asked of another server.
    pub(crate) hedges: Rc<Hedges>,
    /// Looks at requests for operators.
    pub(crate) observer: Rc<WorkerObserver>,
}

impl<P: Protocol> LocalPool<P> {
    /// Starts the pool of `store`; `settings` makes the protocol's settings of each of its configurations. No connection
    /// is opened before it is needed, unless `preconnect` is set: then one to each server, in the first profile.
    pub fn start(
        settings: impl Fn(&PoolConfig) -> P::Settings + 'static,
        store: Arc<TopologyStore>,
        cells: &Rc<PoolCellSet>,
        context: Rc<WorkerContext>,
        budgets: MemoryBudgets,
        observation: Arc<PoolObservation>,
        tenant: Arc<Tenant>,
    ) -> Self {
        let config = Arc::clone(&store.topology().config);
        let name: Rc<str> = config.name.as_str().into();
        let flow = context.flow;
        let memory = PoolMemory::new(budgets, config.memory_limit, &cells.cells);
        let memory = Rc::new(memory);
        let is_metered = Rc::new(Cell::new(config.is_metered()));
        let observer = Rc::new(WorkerObserver::new(observation));
        let first_settings = Rc::new(settings(&config));
        let pubsub = PubSub::new(
            (&name, &first_settings),
            &context,
            &cells.cells,
            config.pubsub_buffer_limit,
            |conn, pubsub| spawn_local(pubsub::driver::drive(conn, pubsub)),
        );
        if let Some((turns, worker)) = P::Stateful::turns(&first_settings) {
            spawn_local(pubsub::turns::keep_turns(turns.join(worker)));
        }
        let parts = ServerParts {
            pool: Rc::clone(&name),
            pool_cells: Rc::clone(&cells.cells),
            store: Arc::clone(&store),
            memory: Rc::clone(&memory),
            observer: Rc::clone(&observer),
        };
        let makers = Makers {
            settings: Box::new(settings),
            handle: make_handle(parts, cells, &context),
            adopt: {
                let (memory, pubsub) = (Rc::clone(&memory), Rc::downgrade(&pubsub));
                let (cells, is_metered) = (Rc::clone(cells), Rc::clone(&is_metered));
                Box::new(move |config| {
                    is_metered.set(config.is_metered());
                    cells.retain(config.servers.iter().map(|server| server.name.as_str()));
                    memory.set_limit(config.memory_limit);
                    if let Some(pubsub) = pubsub.upgrade() {
                        pubsub.limit.set(config.pubsub_buffer_limit);
                    }
                })
            },
        };
        let backends = Backends::new(&name, store, &pubsub, makers);
        let leases = Leases::new(&backends, &context);
        let blocked = Rc::downgrade(&leases);
        backends.on_change(move || {
            if let Some(leases) = blocked.upgrade() {
                leases.wake_waiting();
            }
        });
        Self {
            name,
            limits: Limits::default(),
            flow,
            cells: Rc::clone(&cells.cells),
            context,
            memory,
            tenant: WorkerTenant::new(tenant),
            is_metered,
            plan_buffers: Cell::default(),
            backends,
            pubsub,
            leases,
            hedges: Rc::default(),
            observer,
        }
    }
}

impl<P: Protocol> LocalPool<P> {
    /// Returns true if connections of clients use TCP keepalive.
    #[must_use]
    pub fn keepalive(&self) -> bool {
        self.backends.view().topology.config.tcpkeepalive
    }

    /// The current configuration, which this worker may not have adopted yet.
    #[must_use]
    pub fn published_config(&self) -> Arc<PoolConfig> {
        self.backends.published_config()
    }
}

/// Creates the handles of the servers of a pool.
fn make_handle<P: Protocol>(
    parts: ServerParts,
    cells: &Rc<PoolCellSet>,
    context: &Rc<WorkerContext>,
) -> Box<MakeHandle<P>> {
    let (context, cells) = (Rc::clone(context), Rc::clone(cells));
    // Clients stay in their databases when a configuration has fewer.
    let most_profiles = Cell::new(0);
    Box::new(move |shared, config, settings| {
        let profiles = P::Clients::profiles(settings).max(most_profiles.get());
        most_profiles.set(profiles);
        let connections = (config.server_connections.max(1), profiles);
        let server = parts.server(shared, (config, settings), cells.server(&shared.name));
        let handle = ServerHandle::new(server, connections, config.server_leases, &context);
        if config.preconnect
            && let Some(first) = handle.upstream(ConnProfile::FIRST, 0)
        {
            first.want();
        }
        Rc::new(handle)
    })
}

impl<P: Protocol> fmt::Debug for LocalPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
