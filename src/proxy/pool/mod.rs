//! One worker's view of a pool: where its keys go, and the connections to get there.

pub(crate) mod backends;
pub(crate) mod dedicated;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;

use crate::config::PoolConfig;
use crate::protocol::ClientState as _;
use crate::protocol::{ConnProfile, Limits, Protocol};
use crate::proxy::pool::backends::Backends;
use crate::proxy::pool::dedicated::Leases;
use crate::proxy::pubsub;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{PoolCellSet, PoolCells};
use crate::topology::PoolHealth;
use crate::topology::ServerId;

/// One pool, as one worker serves it.
pub struct LocalPool<P: Protocol> {
    /// The pool's name.
    pub name: Rc<str>,
    pub(crate) settings: Rc<P::Settings>,
    pub(crate) limits: Limits,
    pub(crate) flow: FlowLimits,
    /// Where this worker counts what concerns the pool.
    pub cells: Rc<PoolCells>,
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) plan_buffers: Cell<PlanBuffers>,
    pub(crate) backends: Rc<Backends<P>>,
    /// What its clients are subscribed to.
    pub(crate) pubsub: Rc<PubSub<P>>,
    /// Connections that one client has for itself.
    pub(crate) leases: Rc<Leases<P>>,
}

impl<P: Protocol> LocalPool<P> {
    /// Knows the servers of `config`. No connection is opened before it is wanted, unless the pool says `preconnect`:
    /// then one to each server, in the first lane.
    pub fn start(
        config: &PoolConfig,
        settings: P::Settings,
        health: Arc<PoolHealth>,
        cells: &PoolCellSet,
        context: Rc<WorkerContext>,
    ) -> Self {
        let name: Rc<str> = config.name.as_str().into();
        let settings = Rc::new(settings);
        let flow = context.flow;
        let servers = config.servers.iter().zip(ServerId::all());
        let servers: Vec<_> = servers
            .zip(&cells.servers)
            .map(|((server, id), cell)| {
                Rc::new(Server {
                    pool: Rc::clone(&name),
                    name: server.name.clone(),
                    id,
                    address: server.address.clone(),
                    timeout: config.timeout,
                    keepalive: config.tcpkeepalive,
                    settings: Rc::clone(&settings),
                    cells: Rc::clone(cell),
                    pool_cells: Rc::clone(&cells.cells),
                    health: Arc::clone(&health),
                    ejects: config.auto_eject_hosts,
                })
            })
            .collect();
        let pubsub = PubSub::new(
            (&name, &settings),
            &context,
            &cells.cells,
            config.pubsub_buffer_limit,
            &health,
            &servers,
            |conn, pubsub| spawn_local(pubsub::driver::drive(conn, pubsub)),
        );
        let leases = Leases::new(&servers, config.server_leases);
        let backends = Rc::new(Backends::new(
            &name,
            servers,
            (
                config.server_connections.max(1),
                P::Clients::profiles(&settings),
            ),
            flow,
            &context,
            health,
            &pubsub,
        ));
        let pool = Self {
            name,
            settings,
            limits: Limits::default(),
            flow,
            cells: Rc::clone(&cells.cells),
            context,
            plan_buffers: Cell::default(),
            backends,
            pubsub,
            leases,
        };
        if config.preconnect {
            let servers = ServerId::all().take(pool.backends.server_count());
            servers
                .filter_map(|server| pool.backends.upstream(server, ConnProfile::FIRST, 0))
                .for_each(|first| first.want());
        }
        pool
    }
}

impl<P: Protocol> fmt::Debug for LocalPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
