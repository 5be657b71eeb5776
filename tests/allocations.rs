//! In steady state the data plane allocates nothing for a request with one key.
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
use std::time::Instant;

use ringroad::config::{Config, PoolConfig};
use ringroad::net::{Accepted, Stream};
use ringroad::pool::PoolHealth;
use ringroad::protocol::Protocol;
use ringroad::protocol::memcached::{self, Figures, Memcached};
use ringroad::protocol::redis::{self, Redis};
use ringroad::proxy::{Commons, LocalPool, Pipeline, Session};
use ringroad::routing::{Member, Router};
use ringroad::stats::{Shape, Snapshot, WorkerCells};
use support::{Memcached as MemcachedServer, PATIENCE, Pool, RedisServer, words};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

/// Requests of the shorter run; the longer one has ten times as many.
const REQUESTS: usize = 2000;

/// Requests for which one allocation is forgiven. Not all: a turn that is larger than any before it grows a buffer, and
/// a buffer that was large is given up when it runs empty. Both come once a turn, and seldom; what is allocated for a
/// request comes once a request, or once a pipeline of at most 200.
const FORGIVEN_EVERY: usize = 500;

#[test]
fn a_request_with_one_key_allocates_nothing() {
    let servers: [RedisServer; 3] = RedisServer::several();
    let settings = redis::Settings {
        pool: "p".to_owned(),
        auth: None,
        db: 0,
        port: 0,
        started: Instant::now(),
    };
    let worker = Worker::start::<Redis>(Pool::of(&servers), settings);
    worker.allocates_only_for(mget, set_and_get);
}

#[test]
fn a_request_of_memcached_with_one_key_allocates_nothing() {
    let servers = [(); 3].map(|()| MemcachedServer::start());
    let settings = memcached::Settings {
        pool: "p".to_owned(),
        started: Instant::now(),
        figures: Figures {
            pool: 0,
            snapshot: Box::new(|| Snapshot::zero(Arc::default())),
        },
    };
    let worker = Worker::start::<Memcached>(Pool::memcached(&servers), settings);
    worker.allocates_only_for(multi_get, silent_and_shown);
}

/// The nth request, and its reply.
type Exchange = fn(usize) -> (Vec<u8>, Vec<u8>);

/// A worker's runtime on this thread, with one client, who lives on a thread of its own.
struct Worker {
    runtime: LocalRuntime,
    runs: Sender<Run>,
}

/// So many requests, in pipelines so deep, and whom to tell when all are answered.
struct Run {
    requests: usize,
    depth: usize,
    exchange: Exchange,
    done: oneshot::Sender<()>,
}

impl Worker {
    fn start<P: Protocol>(pool: Pool, settings: P::Settings) -> Self {
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
            let commons = Rc::default();
            let pool = Rc::new(local_pool::<P>(&config, settings, &commons));
            let pipeline = Rc::new(Pipeline::new(Rc::clone(&pool.cells), Rc::clone(&commons)));
            spawn_local(Session::new(stream, pool, pipeline, 0));
        });
        Self { runtime, runs }
    }

    /// Fails if requests with one key cost more allocations the more there are, or requests with several cost none.
    fn allocates_only_for(&self, several: Exchange, one: Exchange) {
        for depth in [1, 16, 200] {
            // The first run grows every buffer to the size that it keeps.
            self.count(REQUESTS, depth, one);
            let few = self.count(REQUESTS, depth, one);
            let many = self.count(REQUESTS * 10, depth, one);
            assert!(
                many.saturating_sub(few) <= REQUESTS * 9 / FORGIVEN_EVERY,
                "in pipelines of {depth}: {few} for {REQUESTS}, {many} for ten times as many"
            );
        }
        // A request that is split allocates, and shows that the allocations of this thread are counted.
        let split = self.count(REQUESTS, 16, several);
        assert!(
            split > REQUESTS,
            "only {split} for {REQUESTS} split requests"
        );
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
    settings: P::Settings,
    commons: &Rc<Commons>,
) -> LocalPool<P> {
    let started = Instant::now();
    let members: Vec<_> = config
        .servers
        .iter()
        .map(|server| Member {
            name: server.name.clone(),
            weight: server.weight,
        })
        .collect();
    let router = Router::new(config.hash, config.hash_tag, config.distribution, &members);
    let names: Vec<_> = members.into_iter().map(|member| member.name).collect();
    let cells = WorkerCells::new(Arc::new(Shape::new([(config.name.as_str(), names)])));
    let health = Arc::new(PoolHealth::new(router, None, started));
    LocalPool::start(
        config,
        settings,
        health,
        &cells.pools[0],
        Rc::clone(commons),
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

/// Reads six keys that nobody has set.
fn mget(_: usize) -> (Vec<u8>, Vec<u8>) {
    let reply = format!("*6\r\n{}", "$-1\r\n".repeat(6));
    (words("MGET a b c d e f"), reply.into_bytes())
}

/// A set that asks for silence, and reads of what it has set: by `get`, and by `mg` with the key as it is and in base64.
fn silent_and_shown(n: usize) -> (Vec<u8>, Vec<u8>) {
    const KEYS: [[&str; 2]; 4] = [
        ["foo", "Zm9v"],
        ["bar", "YmFy"],
        ["baz", "YmF6"],
        ["qux", "cXV4"],
    ];
    let [key, encoded] = KEYS[n / 4 % 4];
    let (request, reply) = match n % 4 {
        // In pipelines of one the client would wait for nothing at all.
        0 => (
            format!("set {key} 0 0 5 noreply\r\nvalue\r\nmn\r\n"),
            "MN\r\n".to_owned(),
        ),
        1 => (
            format!("get {key}\r\n"),
            format!("VALUE {key} 0 5\r\nvalue\r\nEND\r\n"),
        ),
        2 => (format!("mg {key} q v\r\n"), "VA 5\r\nvalue\r\n".to_owned()),
        _ => (
            format!("mg {encoded} b v\r\n"),
            "VA 5\r\nvalue\r\n".to_owned(),
        ),
    };
    (request.into_bytes(), reply.into_bytes())
}

/// Reads six keys that nobody has set.
fn multi_get(_: usize) -> (Vec<u8>, Vec<u8>) {
    (b"get a b c d e f\r\n".to_vec(), b"END\r\n".to_vec())
}
