//! In steady state the data plane allocates nothing for a request with one key, and for a split one a number that
//! hardly grows with its keys. Nor does a worker allocate when it publishes its counts.
//!
//! A binary of its own, since the counting allocator serves the whole process. The worker's runtime runs on the thread
//! whose allocations are counted; the client and the servers are elsewhere.

#![cfg(test)]

#[path = "it/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the integration binary uses the rest"
)]
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ringroad::config::{Config, PoolConfig};
use ringroad::net::{Accepted, Stream};
use ringroad::protocol::Protocol;
use ringroad::protocol::memcached;
use ringroad::protocol::redis;
use ringroad::protocol::redis::Redis;
use ringroad::proxy::{LocalPool, MemoryBudgets, ReplyQueue, Session, WorkerContext};
use ringroad::quota::{Scope, Tenant};
use ringroad::stats::{NO_COMMANDS, ServerMetric, WorkerCells, WorkerSlot};
use ringroad::topology::TopologyStore;
use support::{Memcached, PATIENCE, Pool, RedisServer, words};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

/// Requests of the shorter run; the longer one has ten times as many.
const REQUESTS: usize = 2000;

const SERVERS: usize = 3;

/// The number of requests per tolerated allocation. A turn that is larger than any before it grows a buffer, and a
/// large buffer is released when it runs empty. Both happen at most once per turn, and rarely; an allocation for a
/// request happens once per request, or once per pipeline of at most 200.
const FORGIVEN_EVERY: usize = 500;

/// The maximum number of allocations for a request that is split over all servers: for each, a fragment in flight and
/// the reply that is kept until the last has arrived; and for the whole, the routing of its keys, and the merge. It is
/// 22 to 30.
const SPLIT_MOST: usize = 32;

/// The maximum that ten times as many keys add: lists that grow by doubling, never one per key.
const SPLIT_GROWTH: usize = 8;

#[test]
fn redis_single_key_request_does_not_allocate() {
    let servers: [RedisServer; SERVERS] = RedisServer::several();
    let worker = Worker::of_redis(&servers);
    for depth in [1, 16, 200] {
        worker.assert_none("SET and GET", depth, set_and_get);
    }
}

#[test]
fn memcached_single_key_request_does_not_allocate() {
    let servers: [Memcached; SERVERS] = Memcached::several();
    let worker = Worker::of_memcached(&servers);
    for depth in [1, 16, 200] {
        worker.assert_none("set and get", depth, memcached_set_and_get);
    }
    worker.assert_none("ms and mg", 16, meta_set_and_get);
    worker.assert_none("set with noreply, and get", 16, silent_set_and_get);
}

#[test]
fn redis_split_request_does_not_allocate_per_key() {
    let servers: [RedisServer; SERVERS] = RedisServer::several();
    let worker = Worker::of_redis(&servers);
    // The keys that are read later.
    worker.count(REQUESTS, 16, set_and_get);
    worker.assert_split(mget::<12>, mget::<120>);
}

#[test]
fn memcached_split_request_does_not_allocate_per_key() {
    let servers: [Memcached; SERVERS] = Memcached::several();
    let worker = Worker::of_memcached(&servers);
    // The keys that are read later.
    worker.count(REQUESTS, 16, memcached_set_and_get);
    worker.assert_split(multi_get::<12>, multi_get::<120>);
}

#[test]
fn publishing_counts_allocates_only_for_new_names() {
    let (cells, slot) = (WorkerCells::new(), WorkerSlot::default());
    let pool = cells.add_pool("p", &NO_COMMANDS);
    let publish = || {
        let counted = allocation_counter::measure(|| slot.publish(&cells));
        counted.count_total
    };
    for server in ["one", "two"] {
        pool.server(server).bump(ServerMetric::Requests);
        assert!(publish() > 0, "it names the new server");
        pool.server(server).bump(ServerMetric::Requests);
        assert_eq!(publish(), 0);
    }
    pool.retain(["two"]);
    assert!(publish() > 0, "it no longer names the other");
    assert_eq!(publish(), 0);
}

/// The nth request, and its reply.
type Exchange = fn(usize) -> (Vec<u8>, Vec<u8>);

/// A worker's runtime on this thread, with one client on its own thread.
struct Worker {
    runtime: LocalRuntime,
    runs: Sender<Run>,
}

/// The number of requests, the depth of their pipelines, and the channel to notify when all are answered.
struct Run {
    requests: usize,
    depth: usize,
    exchange: Exchange,
    done: oneshot::Sender<()>,
}

impl Worker {
    fn of_redis(servers: &[RedisServer]) -> Self {
        Self::start::<Redis>(&Pool::of(servers), |_| {
            let settings = redis::Settings::new("p");
            // Beside other load, any request may be slow, and is then logged.
            settings.shared.stop_slow_log();
            settings
        })
    }

    fn of_memcached(servers: &[Memcached]) -> Self {
        Self::start::<memcached::Memcached>(&Pool::memcached(servers), |started| {
            memcached::Settings {
                pool: "p".to_owned(),
                started,
                stats: Rc::default(),
                slow_log: Arc::default(),
                slow_from: Duration::MAX,
            }
        })
    }

    fn start<P: Protocol>(
        pool: &Pool,
        settings: impl Fn(Instant) -> P::Settings + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (runs, orders) = channel::<Run>();
        thread::spawn(move || {
            for run in orders {
                converse(&mut client, &run);
                run.done.send(()).unwrap();
            }
        });
        let yaml = pool
            .clone()
            .with("hash", "murmur")
            .with("timeout", 10_000)
            .yaml(([127, 0, 0, 1], 1).into());
        let config = Config::parse(&yaml, "p.yml").unwrap().pools.remove(0);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let stream = Stream::adopt(Accepted::Tcp(accepted), true).unwrap();
            let context = Rc::default();
            let pool = Rc::new(local_pool::<P>(&config, settings, &context));
            let replies = Rc::new(ReplyQueue::new(Rc::clone(&pool.cells), Rc::clone(&context)));
            spawn_local(Session::new(stream, pool, replies, 0));
        });
        Self { runtime, runs }
    }

    fn assert_none(&self, what: &str, depth: usize, exchange: Exchange) {
        // The first run grows every buffer to the size that it keeps.
        self.count(REQUESTS, depth, exchange);
        let few = self.count(REQUESTS, depth, exchange);
        let many = self.count(REQUESTS * 10, depth, exchange);
        assert!(
            many.saturating_sub(few) <= REQUESTS * 9 / FORGIVEN_EVERY,
            "{what} in pipelines of {depth}: {few} for {REQUESTS}, {many} for ten times as many"
        );
    }

    /// Measures requests of which all servers have a share, and others with ten times as many keys.
    fn assert_split(&self, few_keys: Exchange, many_keys: Exchange) {
        for depth in [1, 16] {
            let [few, many] = [few_keys, many_keys].map(|exchange| {
                self.count(REQUESTS, depth, exchange);
                self.count(REQUESTS, depth, exchange)
            });
            // At least one for each server: this shows that allocations are counted.
            assert!(
                few >= REQUESTS * SERVERS
                    && many <= REQUESTS * SPLIT_MOST
                    && many.saturating_sub(few) <= REQUESTS * SPLIT_GROWTH,
                "in pipelines of {depth}: {few} for {REQUESTS} with few keys, {many} with many"
            );
        }
    }

    /// Allocations of this thread while so many requests are served.
    fn count(&self, requests: usize, depth: usize, exchange: Exchange) -> usize {
        let (done, finished) = oneshot::channel();
        let run = Run {
            requests,
            depth,
            exchange,
            done,
        };
        self.runs.send(run).unwrap();
        let counted = allocation_counter::measure(|| {
            self.runtime.block_on(finished).expect("the client failed");
        });
        usize::try_from(counted.count_total).unwrap()
    }
}

fn local_pool<P: Protocol>(
    config: &PoolConfig,
    settings: impl Fn(Instant) -> P::Settings + 'static,
    context: &Rc<WorkerContext>,
) -> LocalPool<P> {
    let started = Instant::now();
    let cells = WorkerCells::new().add_pool(&config.name, P::COMMANDS);
    let store = Arc::new(TopologyStore::new(Arc::new(config.clone()), started));
    let settings = move |_: &PoolConfig| settings(started);
    let context = Rc::clone(context);
    LocalPool::start(
        settings,
        store,
        &cells,
        context,
        MemoryBudgets::default(),
        Arc::default(),
        Arc::new(Tenant::new(Scope::Pool, b"p")),
    )
}

/// Every pipeline is sent at once and answered whole before the next.
fn converse(client: &mut TcpStream, run: &Run) {
    for first in (0..run.requests).step_by(run.depth) {
        let (mut batch, mut replies) = (Vec::new(), Vec::new());
        for n in first..first + run.depth {
            let (request, reply) = (run.exchange)(n);
            batch.extend(request);
            replies.extend(reply);
        }
        client.write_all(&batch).unwrap();
        let mut seen = vec![0; replies.len()];
        client.read_exact(&mut seen).unwrap();
        assert!(seen == replies, "{}", seen.escape_ascii());
    }
}

/// SETs and GETs in turn, over so many keys that all servers have their share.
fn set_and_get(n: usize) -> (Vec<u8>, Vec<u8>) {
    let key = n / 2 % 500;
    if n.is_multiple_of(2) {
        let set = words(&format!("SET key-{key:03} value-{key:03}"));
        (set, b"+OK\r\n".to_vec())
    } else {
        let value = format!("$9\r\nvalue-{key:03}\r\n");
        (words(&format!("GET key-{key:03}")), value.into_bytes())
    }
}

fn memcached_set_and_get(n: usize) -> (Vec<u8>, Vec<u8>) {
    let key = n / 2 % 500;
    if n.is_multiple_of(2) {
        let set = format!("set key-{key:03} 0 0 9\r\nvalue-{key:03}\r\n");
        (set.into(), b"STORED\r\n".to_vec())
    } else {
        let value = format!("VALUE key-{key:03} 0 9\r\nvalue-{key:03}\r\nEND\r\n");
        (format!("get key-{key:03}\r\n").into(), value.into())
    }
}

fn meta_set_and_get(n: usize) -> (Vec<u8>, Vec<u8>) {
    let key = n / 2 % 500;
    if n.is_multiple_of(2) {
        let set = format!("ms key-{key:03} 9 T0\r\nvalue-{key:03}\r\n");
        (set.into(), b"HD\r\n".to_vec())
    } else {
        let value = format!("VA 9 kkey-{key:03}\r\nvalue-{key:03}\r\n");
        (format!("mg key-{key:03} v k\r\n").into(), value.into())
    }
}

fn silent_set_and_get(n: usize) -> (Vec<u8>, Vec<u8>) {
    let key = n / 2 % 500;
    if n.is_multiple_of(2) {
        let set = format!("set key-{key:03} 0 0 9 noreply\r\nvalue-{key:03}\r\n");
        (set.into(), Vec::new())
    } else {
        memcached_set_and_get(n)
    }
}

/// Reads the keys of [`set_and_get`].
fn mget<const KEYS: usize>(_: usize) -> (Vec<u8>, Vec<u8>) {
    let values: Vec<_> = (0..KEYS)
        .map(|key| format!("$9\r\nvalue-{key:03}\r\n"))
        .collect();
    let reply = format!("*{KEYS}\r\n{}", values.concat());
    let request = words(&format!("MGET {}", keys::<KEYS>()));
    (request, reply.into_bytes())
}

/// Reads the keys of [`memcached_set_and_get`].
fn multi_get<const KEYS: usize>(_: usize) -> (Vec<u8>, Vec<u8>) {
    let value = |key| format!("VALUE key-{key:03} 0 9\r\nvalue-{key:03}\r\n");
    let values: Vec<_> = (0..KEYS).map(value).collect();
    let request = format!("get {}\r\n", keys::<KEYS>());
    (request.into(), (values.concat() + "END\r\n").into())
}

fn keys<const KEYS: usize>() -> String {
    let keys: Vec<_> = (0..KEYS).map(|key| format!("key-{key:03}")).collect();
    keys.join(" ")
}
