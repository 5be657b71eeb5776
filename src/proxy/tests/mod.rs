//! Invariants of the data plane that only its internals show.

pub(crate) mod exactly_once;
pub(crate) mod kill;
pub(crate) mod panics;
pub(crate) mod profiles;
pub(crate) mod push;
pub(crate) mod reentry;
pub(crate) mod replicas;
pub(crate) mod stall_timer;
pub(crate) mod turn;
pub(crate) mod view;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::{Builder, LocalOptions};

use crate::config::{Config, PoolConfig};
use crate::protocol::Protocol;
use crate::protocol::redis::{Redis, Settings};
use crate::proxy::pool::LocalPool;
use crate::proxy::pool::handle::ServerHandle;
use crate::proxy::worker::memory::MemoryBudgets;
use crate::quota::{Scope, Tenant};
use crate::stats::{CommandId, WorkerCells};
use crate::topology::TopologyStore;

/// Runs `test` on a worker, with a pool of one server that is never connected to.
fn with_pool<T>(test: impl AsyncFnOnce(Rc<LocalPool<Redis>>) -> T) -> T {
    with_pool_at("127.0.0.1:2", test)
}

/// As [`with_pool`], with the address of the server.
fn with_pool_at<T>(address: &str, test: impl AsyncFnOnce(Rc<LocalPool<Redis>>) -> T) -> T {
    let yaml = format!("p: {{listen: 127.0.0.1:1, redis: true, servers: ['{address}:1 s']}}");
    with_pool_of(&pool_config(&yaml), test)
}

/// A pool of this many servers, each of which is ejected after one failure.
fn ejecting(servers: u16) -> PoolConfig {
    let servers: Vec<_> = (1..=servers)
        .map(|port| format!("'127.0.0.1:{port}:1 s{port}'"))
        .collect();
    pool_config(&format!(
        "p: {{listen: 127.0.0.1:1, redis: true, auto_eject_hosts: true, server_failure_limit: 1, servers: [{}]}}",
        servers.join(", ")
    ))
}

fn pool_config(yaml: &str) -> PoolConfig {
    Config::parse(yaml, "F").unwrap().pools.remove(0)
}

/// As [`with_pool`], with the pool that `config` describes.
fn with_pool_of<T>(config: &PoolConfig, test: impl AsyncFnOnce(Rc<LocalPool<Redis>>) -> T) -> T {
    let store = TopologyStore::new(Arc::new(config.clone()), Instant::now());
    let cells = WorkerCells::new().add_pool("p", Redis::COMMANDS);
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap()
        .block_on(async {
            let context = Rc::default();
            let settings = |_: &PoolConfig| Settings::new("p");
            let store = Arc::new(store);
            let pool = LocalPool::start(
                settings,
                store,
                &cells,
                context,
                MemoryBudgets::default(),
                Arc::default(),
                Arc::new(Tenant::new(Scope::Pool, b"p")),
            );
            test(Rc::new(pool)).await
        })
}

/// The settings and command of a gather.
fn gather_context() -> (Rc<Settings>, CommandId, &'static [u8]) {
    (Rc::new(Settings::new("p")), CommandId::NONE, b"")
}

/// The only server of the pool.
fn the_server<P: Protocol>(pool: &LocalPool<P>) -> Rc<ServerHandle<P>> {
    let view = pool.backends.view();
    Rc::clone(view.servers().next().unwrap().1)
}
