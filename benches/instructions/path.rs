//! The whole path of a request: a session and its server connections on a worker's runtime, over unix sockets, with the
//! client and the servers on the same thread.
//!
//! A written byte is available at once on such a socket, so every run takes the same turns. The kernel is not counted.
//! The peers are: they have a row of their own, to be subtracted from the paths of a single request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringroad::config::{Config, PoolConfig};
use ringroad::net::Stream;
use ringroad::protocol::Protocol;
use ringroad::protocol::memcached;
use ringroad::protocol::memcached::Memcached;
use ringroad::protocol::redis::Redis;
use ringroad::proxy::{LocalPool, MemoryBudgets, ReplyQueue, Session, WorkerContext};
use ringroad::quota::{Scope, Tenant};
use ringroad::stats::WorkerCells;
use ringroad::topology::TopologyStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::{spawn_local, yield_now};

use crate::samples;
use crate::script::Script;

/// Servers of the pool.
const SERVERS: usize = 4;

/// Consecutive empty polls after which the servers are taken to have received everything. The runtime polls its sockets
/// once in 61 turns.
const QUIET: u32 = 1000;

/// The requests and replies of one server in one exchange.
#[derive(Default)]
struct Share {
    request_bytes: usize,
    reply: Vec<u8>,
}

/// A pool of redis-servers.
pub(crate) fn redis(calls: u32, script: &Script) {
    exchange::<Redis>(calls, script, samples::settings, "redis: true");
}

/// A pool of redis-servers with quotas that are not reached.
pub(crate) fn redis_metered(calls: u32, script: &Script) {
    let options = "redis: true, requests_per_second: 2147483647, bytes_per_second: 1024gb";
    exchange::<Redis>(calls, script, samples::settings, options);
}

/// A pool of memcacheds.
pub(crate) fn memcached(calls: u32, script: &Script) {
    let settings = || memcached::Settings {
        pool: "p".to_owned(),
        started: Instant::now(),
        stats: Rc::default(),
        slow_log: Arc::default(),
        slow_from: Duration::MAX,
    };
    exchange::<Memcached>(calls, script, settings, "redis: false");
}

/// The part of a path outside of the proxy: the client is connected to a server.
pub(crate) fn peers_alone(calls: u32) {
    let runtime = runtime();
    runtime.block_on(async {
        let (client, server) = UnixStream::pair().unwrap();
        let script = Script::redis_get(1);
        let share = Share {
            request_bytes: script.requests.len(),
            reply: script.replies.clone(),
        };
        let mut peers = Peers {
            client,
            servers: vec![server],
        };
        peers.converse(calls, &script, &[share]).await;
    });
}

fn exchange<P: Protocol>(
    calls: u32,
    script: &Script,
    settings: fn() -> P::Settings,
    options: &str,
) {
    let dir = TempDir::new().unwrap();
    let paths = (0..SERVERS).map(|n| dir.path().join(format!("s{n}")));
    let servers: Vec<_> = (0..)
        .zip(paths.clone())
        .map(|(nth, path)| format!("{}:1 s{nth}", path.display()))
        .collect();
    let yaml = format!(
        "p: {{listen: 127.0.0.1:1, {options}, hash: murmur, timeout: 5000, preconnect: true, servers: {servers:?}}}"
    );
    let config = Config::parse(&yaml, "p.yml").unwrap().pools.remove(0);
    runtime().block_on(async {
        let listeners: Vec<_> = paths
            .map(|path| UnixListener::bind(path).unwrap())
            .collect();
        let (client, accepted) = UnixStream::pair().unwrap();
        let context = Rc::<WorkerContext>::default();
        let pool = Rc::new(local_pool::<P>(&config, settings, Rc::clone(&context)));
        let mut servers = Vec::new();
        for listener in listeners {
            servers.push(listener.accept().await.unwrap().0);
        }
        let replies = Rc::new(ReplyQueue::new(Rc::clone(&pool.cells), context));
        spawn_local(Session::new(Stream::Unix(accepted), pool, replies, 0));
        let mut peers = Peers { client, servers };
        let shares = peers.rehearse(script).await;
        peers.converse(calls, script, &shares).await;
    });
}

fn runtime() -> LocalRuntime {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap()
}

fn local_pool<P: Protocol>(
    config: &PoolConfig,
    settings: fn() -> P::Settings,
    context: Rc<WorkerContext>,
) -> LocalPool<P> {
    let cells = WorkerCells::new().add_pool("p", P::COMMANDS);
    let store = TopologyStore::new(Arc::new(config.clone()), Instant::now());
    let (settings, store) = (move |_: &PoolConfig| settings(), Arc::new(store));
    let tenant = Tenant::new(Scope::Pool, b"p");
    tenant.set_quota(&config.quota);
    LocalPool::start(
        settings,
        store,
        &cells,
        context,
        MemoryBudgets::default(),
        Arc::default(),
        Arc::new(tenant),
    )
}

struct Peers {
    client: UnixStream,
    servers: Vec<UnixStream>,
}

impl Peers {
    /// Has the first exchange, in which a client may not yet have as much in flight as later, and determines what each
    /// server receives. A server that receives nothing is dropped.
    async fn rehearse(&mut self, script: &Script) -> Vec<Share> {
        self.client.write_all(&script.requests).await.unwrap();
        let mut shares: Vec<_> = self.servers.iter().map(|_| Share::default()).collect();
        let mut replies = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        let mut quiet = 0;
        while quiet < QUIET {
            quiet += 1;
            for (server, share) in self.servers.iter_mut().zip(&mut shares) {
                if let Ok(len) = server.try_read(&mut buffer) {
                    let requests = std::str::from_utf8(buffer.get(..len).unwrap()).unwrap();
                    let reply = script.serve(requests);
                    server.write_all(&reply).await.unwrap();
                    share.request_bytes += len;
                    share.reply.extend(reply);
                    quiet = 0;
                }
            }
            if let Ok(len) = self.client.try_read(&mut buffer) {
                replies.extend(buffer.drain(..len));
                buffer.resize(1 << 16, 0);
                quiet = 0;
            }
            yield_now().await;
        }
        assert!(
            replies == script.replies,
            "the client got {} bytes that begin with {}",
            replies.len(),
            replies.get(..100).unwrap_or(&replies).escape_ascii()
        );
        let mut in_turn = shares.iter();
        self.servers
            .retain(|_| in_turn.next().is_some_and(|share| share.request_bytes > 0));
        shares.retain(|share| share.request_bytes > 0);
        shares
    }

    async fn converse(&mut self, calls: u32, script: &Script, shares: &[Share]) {
        let most = shares.iter().map(|share| share.request_bytes).max();
        let mut buffer = vec![0; script.replies.len().max(most.unwrap_or_default())];
        for _ in 0..calls {
            self.client.write_all(&script.requests).await.unwrap();
            for (server, share) in self.servers.iter_mut().zip(shares) {
                let (request, _) = buffer.split_at_mut(share.request_bytes);
                server.read_exact(request).await.unwrap();
                server.write_all(&share.reply).await.unwrap();
            }
            let (replies, _) = buffer.split_at_mut(script.replies.len());
            self.client.read_exact(replies).await.unwrap();
        }
    }
}
