//! The whole way of a request: a session and its upstreams on a worker's runtime, over unix sockets, with the client and
//! the servers on the same thread.
//!
//! A written byte is there at once on such a socket, so every run takes the same turns. The kernel's work is not counted.
//! What the peers do is: it is a row of its own, to be taken off from the paths of a single request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ringroad::config::{Config, PoolConfig};
use ringroad::net::Stream;
use ringroad::pool::PoolHealth;
use ringroad::protocol::Protocol;
use ringroad::protocol::memcached::{self, Figures, Memcached};
use ringroad::protocol::redis::Redis;
use ringroad::proxy::{Commons, LocalPool, Pipeline, Session};
use ringroad::routing::{Member, Router};
use ringroad::stats::{Shape, WorkerCells};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::{spawn_local, yield_now};

use crate::samples;

/// Servers of the pool.
const SERVERS: usize = 4;

/// Looks in a row that must bring nothing before the servers are held to have all. The runtime looks at its sockets
/// once in 61 turns.
const QUIET: u32 = 1000;

const VALUE: &str = "hello, world";

/// What is said in one exchange.
pub(crate) struct Script {
    /// What the client sends at once. Keys are `key:` and four digits.
    requests: Vec<u8>,
    /// What it gets for it.
    replies: Vec<u8>,
    /// What a server replies to what it gets, which has these keys.
    serve: fn(&[&str]) -> Vec<u8>,
}

/// What one server gets in one exchange, and replies.
#[derive(Default)]
struct Share {
    request_bytes: usize,
    reply: Vec<u8>,
}

impl Script {
    pub(crate) fn redis_get(depth: u32) -> Self {
        let get = |key: String| samples::command(["GET", &key]);
        let serve = |keys: &[&str]| format!("$12\r\n{VALUE}\r\n").repeat(keys.len()).into();
        Self {
            requests: keys(depth).flat_map(get).collect(),
            replies: serve(&vec![""; depth as usize]),
            serve,
        }
    }

    pub(crate) fn redis_get_large() -> Self {
        let serve = |_: &[&str]| format!("$16384\r\n{}\r\n", "v".repeat(16384)).into_bytes();
        Self {
            requests: samples::command(["GET", "key:0000"]),
            replies: serve(&[]),
            serve,
        }
    }

    pub(crate) fn redis_set() -> Self {
        Self {
            requests: samples::command(["SET", "key:0000", VALUE]),
            replies: b"+OK\r\n".to_vec(),
            serve: |_| b"+OK\r\n".to_vec(),
        }
    }

    pub(crate) fn redis_mget(count: u16) -> Self {
        let words = ["MGET".to_owned()].into_iter().chain(keys(count.into()));
        Self {
            requests: samples::command(words),
            replies: samples::array(count.into()),
            serve: |keys| samples::array(keys.len()),
        }
    }

    pub(crate) fn memcached_get(depth: u32) -> Self {
        let serve = |keys: &[&str]| {
            let reply = |key: &&str| format!("VALUE {key} 0 12\r\n{VALUE}\r\nEND\r\n");
            let replies: Vec<_> = keys.iter().map(reply).collect();
            replies.concat().into()
        };
        let keys: Vec<_> = keys(depth).collect();
        Self {
            requests: keys
                .iter()
                .flat_map(|key| format!("get {key}\r\n").into_bytes())
                .collect(),
            replies: serve(&keys.iter().map(String::as_str).collect::<Vec<_>>()),
            serve,
        }
    }

    pub(crate) fn memcached_set() -> Self {
        Self {
            requests: format!("set key:0000 0 0 12\r\n{VALUE}\r\n").into(),
            replies: b"STORED\r\n".to_vec(),
            serve: |_| b"STORED\r\n".to_vec(),
        }
    }

    /// All but the last are silent; that one is the end that the client waits for.
    pub(crate) fn memcached_set_noreply(depth: u32) -> Self {
        let set = |key: String| format!("set {key} 0 0 12 noreply\r\n{VALUE}\r\n");
        let mut requests = keys(depth).map(set).collect::<Vec<_>>().concat();
        if let Some(last) = requests.rfind(" noreply") {
            requests.replace_range(last..last + " noreply".len(), "");
        }
        Self {
            requests: requests.into(),
            replies: b"STORED\r\n".to_vec(),
            serve: |keys| b"STORED\r\n".repeat(keys.len()),
        }
    }

    pub(crate) fn memcached_multi_get(count: u16) -> Self {
        let serve = |keys: &[&str]| {
            let value = |key: &&str| format!("VALUE {key} 0 12\r\n{VALUE}\r\n");
            let values: Vec<_> = keys.iter().map(value).collect();
            (values.concat() + "END\r\n").into()
        };
        let keys: Vec<_> = keys(count.into()).collect();
        Self {
            requests: format!("get {}\r\n", keys.join(" ")).into(),
            replies: serve(&keys.iter().map(String::as_str).collect::<Vec<_>>()),
            serve,
        }
    }
}

fn keys(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("key:{n:04}"))
}

/// A pool of redis-servers.
pub(crate) fn redis(calls: u32, script: &Script) {
    exchange::<Redis>(calls, script, samples::settings(), true);
}

/// A pool of memcacheds.
pub(crate) fn memcached(calls: u32, script: &Script) {
    let settings = memcached::Settings {
        pool: "p".to_owned(),
        started: Instant::now(),
        figures: Figures {
            pool: 0,
            snapshot: Box::new(|| WorkerCells::new(shape(Vec::new())).snapshot()),
        },
    };
    exchange::<Memcached>(calls, script, settings, false);
}

/// What of a path is none of the proxy's: the client is wired to a server.
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

fn exchange<P: Protocol>(calls: u32, script: &Script, settings: P::Settings, is_redis: bool) {
    let dir = TempDir::new().unwrap();
    let paths = (0..SERVERS).map(|n| dir.path().join(format!("s{n}")));
    let servers: Vec<_> = (0..)
        .zip(paths.clone())
        .map(|(nth, path)| format!("{}:1 s{nth}", path.display()))
        .collect();
    let yaml = format!(
        "p: {{listen: 127.0.0.1:1, redis: {is_redis}, hash: murmur, timeout: 5000, preconnect: true, servers: {servers:?}}}"
    );
    let config = Config::parse(&yaml, "p.yml").unwrap().pools.remove(0);
    runtime().block_on(async {
        let listeners: Vec<_> = paths
            .map(|path| UnixListener::bind(path).unwrap())
            .collect();
        let (client, accepted) = UnixStream::pair().unwrap();
        let commons = Rc::<Commons>::default();
        let pool = Rc::new(local_pool::<P>(&config, settings, Rc::clone(&commons)));
        let mut servers = Vec::new();
        for listener in listeners {
            servers.push(listener.accept().await.unwrap().0);
        }
        let pipeline = Rc::new(Pipeline::new(Rc::clone(&pool.cells), commons));
        spawn_local(Session::new(Stream::Unix(accepted), pool, pipeline, 0));
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

fn shape(servers: Vec<String>) -> Arc<Shape> {
    Arc::new(Shape::new([("p", servers)]))
}

fn local_pool<P: Protocol>(
    config: &PoolConfig,
    settings: P::Settings,
    commons: Rc<Commons>,
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
    let cells = WorkerCells::new(shape(names));
    let health = Arc::new(PoolHealth::new(router, None, started));
    let cells = cells.pools.first().unwrap();
    LocalPool::start(config, settings, health, cells, commons)
}

struct Peers {
    client: UnixStream,
    servers: Vec<UnixStream>,
}

impl Peers {
    /// Has the first exchange, in which a client may not yet have as much in flight as later, and finds out what each
    /// server gets of it. A server that gets nothing leaves.
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
                    let reply = (script.serve)(&keys_of(requests));
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

fn keys_of(requests: &str) -> Vec<&str> {
    requests
        .match_indices("key:")
        .filter_map(|(at, _)| requests.get(at..at + "key:0000".len()))
        .collect()
}
