//! One worker's view of a pool: the routing of its keys, and its connections.

pub(crate) mod backends;
pub(crate) mod dedicated;
pub(crate) mod handle;
pub(crate) mod leases;
pub(crate) mod view;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;

use crate::config::PoolConfig;
use crate::protocol::{ClientState as _, PubSub as _};
use crate::protocol::{ConnProfile, Limits, Protocol};
use crate::proxy::pool::backends::Backends;
use crate::proxy::pool::handle::ServerHandle;
use crate::proxy::pool::leases::Leases;
use crate::proxy::pubsub;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::server::ServerDefaults;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::memory::{MemoryBudget, PoolMemory};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{PoolCellSet, PoolCells};
use crate::topology::{PoolHealth, PoolServer, ServerIndex};

/// One pool, as one worker serves it.
pub struct LocalPool<P: Protocol> {
    /// The pool's name.
    pub name: Rc<str>,
    pub(crate) settings: Rc<P::Settings>,
    pub(crate) limits: Limits,
    pub(crate) flow: FlowLimits,
    /// This worker's counters of the pool.
    pub cells: Rc<PoolCells>,
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) memory: Rc<PoolMemory>,
    pub(crate) plan_buffers: Cell<PlanBuffers>,
    pub(crate) backends: Rc<Backends<P>>,
    /// The pub/sub registry of its clients.
    pub(crate) pubsub: Rc<PubSub<P>>,
    /// Dedicated connections, each leased to one client.
    pub(crate) leases: Rc<Leases<P>>,
}

impl<P: Protocol> LocalPool<P> {
    /// Starts the pool of `config`. No connection is opened before it is needed, unless `preconnect` is set: then one
    /// to each server, in the first profile.
    pub fn start(
        config: &PoolConfig,
        settings: P::Settings,
        health: Arc<PoolHealth>,
        cells: &Rc<PoolCellSet>,
        context: Rc<WorkerContext>,
        budget: Arc<MemoryBudget>,
    ) -> Self {
        let name: Rc<str> = config.name.as_str().into();
        let settings = Rc::new(settings);
        let flow = context.flow;
        let memory = Rc::new(PoolMemory::new(budget, &cells.cells));
        let pubsub = PubSub::new(
            (&name, &settings),
            &context,
            &cells.cells,
            config.pubsub_buffer_limit,
            |conn, pubsub| spawn_local(pubsub::driver::drive(conn, pubsub)),
        );
        if let Some((turns, worker)) = P::Stateful::turns(&settings) {
            spawn_local(pubsub::turns::keep_turns(turns.join(worker)));
        }
        let connections = (
            config.server_connections.max(1),
            P::Clients::profiles(&settings),
        );
        let server = ServerDefaults::<P> {
            pool: Rc::clone(&name),
            timeout: config.timeout,
            keepalive: config.tcpkeepalive,
            settings: Rc::clone(&settings),
            pool_cells: Rc::clone(&cells.cells),
            health: Arc::clone(&health),
            memory: Rc::clone(&memory),
            ejects: config.auto_eject_hosts,
        };
        let make = {
            let (context, leases) = (Rc::clone(&context), config.server_leases);
            let cells = Rc::clone(cells);
            move |_: ServerIndex, shared: &Arc<PoolServer>| {
                let server = server.server(shared, cells.server(&shared.name));
                Rc::new(ServerHandle::new(server, connections, leases, &context))
            }
        };
        let backends = Backends::new(&name, health, &pubsub, Box::new(make));
        let leases = Leases::new(&backends, &context);
        if config.preconnect {
            for (_, server) in backends.view().servers() {
                if let Some(first) = server.upstream(ConnProfile::FIRST, 0) {
                    first.want();
                }
            }
        }
        Self {
            name,
            settings,
            limits: Limits::default(),
            flow,
            cells: Rc::clone(&cells.cells),
            context,
            memory,
            plan_buffers: Cell::default(),
            backends,
            pubsub,
            leases,
        }
    }
}

impl<P: Protocol> fmt::Debug for LocalPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
