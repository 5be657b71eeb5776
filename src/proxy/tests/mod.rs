//! Invariants of the data plane that only its insides show.

pub(crate) mod exactly_once;
pub(crate) mod kill;
pub(crate) mod lanes;
pub(crate) mod panics;
pub(crate) mod patience;
pub(crate) mod push;
pub(crate) mod reentry;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::{Builder, LocalOptions};

use crate::config::Config;
use crate::protocol::redis::{CommandTag, Redis, Settings};
use crate::proxy::pool::LocalPool;
use crate::stats::{StatsLayout, WorkerCells};
use crate::topology::PoolHealth;
use crate::topology::{Member, Router};

/// Runs `test` on a worker, with a pool of one server that is never called.
fn with_pool<T>(test: impl AsyncFnOnce(Rc<LocalPool<Redis>>) -> T) -> T {
    with_pool_at("127.0.0.1:2", test)
}

/// As [`with_pool`], with the address of the server.
fn with_pool_at<T>(address: &str, test: impl AsyncFnOnce(Rc<LocalPool<Redis>>) -> T) -> T {
    let yaml = format!("p: {{listen: 127.0.0.1:1, redis: true, servers: ['{address}:1 s']}}");
    let config = Config::parse(&yaml, "F").unwrap().pools.remove(0);
    let member = Member {
        name: "s".to_owned(),
        weight: 1,
    };
    let router = Router::new(config.hash, None, config.distribution, &[member]);
    let started = Instant::now();
    let health = Arc::new(PoolHealth::new(router, None, started));
    let cells = WorkerCells::new(Arc::new(StatsLayout::new([("p", ["s"])])));
    let settings = Settings::new("p");
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap()
        .block_on(async {
            let context = Rc::default();
            let pool = LocalPool::start(&config, settings, health, &cells.pools[0], context);
            test(Rc::new(pool)).await
        })
}

/// What a gather knows of its pool and request.
fn nothing_known() -> (Rc<Settings>, CommandTag) {
    (Rc::new(Settings::new("p")), CommandTag::default())
}
