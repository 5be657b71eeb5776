//! Shards with replicas, and real sentinels that watch them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tempfile::TempDir;

use super::redis::{Place, valkey_server};
use super::{Client, Process, RedisServer, eventually, resp};

const PORT: u16 = 16379;

/// A primary and its replicas, connected when the constructor returns.
#[derive(Debug)]
pub(crate) struct Shard {
    /// The first is the primary at the start.
    pub servers: Vec<RedisServer>,
}

impl Shard {
    pub(crate) fn start(replicas: usize) -> Self {
        Self::start_with(replicas, &[])
    }

    /// With these command-line options of every server.
    pub(crate) fn start_with(replicas: usize, options: &[&str]) -> Self {
        let places = (0..=replicas).map(|_| Place::fresh());
        Self::of("redis-server".as_ref(), options, places.collect())
    }

    /// With the primary at the first of these places.
    pub(crate) fn at(places: Vec<Place>) -> Self {
        Self::of("redis-server".as_ref(), &["--protected-mode", "no"], places)
    }

    /// Of valkey-servers.
    pub(crate) fn valkey(replicas: usize) -> Self {
        let places = (0..=replicas).map(|_| Place::fresh());
        Self::of(&valkey_server(), &[], places.collect())
    }

    fn of(program: &Path, options: &[&str], places: Vec<Place>) -> Self {
        let mut places = places.into_iter();
        let first = places.next().expect("a place for the primary");
        let primary = RedisServer::announced(program, options, first);
        let address = primary.address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut options = options.to_vec();
        options.extend(["--replicaof", &ip, &port]);
        let replicas = places.map(|place| RedisServer::announced(program, &options, place));
        let shard = Self {
            servers: std::iter::once(primary).chain(replicas).collect(),
        };
        eventually("all replicas are online", || {
            let primary = shard.primary();
            let info = primary
                .client()
                .ask_with(primary.password(), "INFO replication");
            let online = String::from_utf8(info)
                .unwrap()
                .matches("state=online")
                .count();
            (online == shard.servers.len() - 1).then_some(())
        });
        shard
    }

    pub(crate) fn primary(&self) -> &RedisServer {
        &self.servers[0]
    }

    /// The first server other than this that says that it is a primary.
    pub(crate) fn promoted(&self, other_than: &RedisServer) -> Option<&RedisServer> {
        let mut others = self.servers.iter();
        others.find(|server| {
            server.address() != other_than.address()
                && server.is_running()
                && role(server).as_deref() == Some("master")
        })
    }
}

/// The role that a server says it has; none if it does not answer.
pub(crate) fn role(server: &RedisServer) -> Option<String> {
    let mut client = Client::try_connect(server.address()).ok()?;
    let reply = client.ask_with(server.password(), "ROLE");
    // An array, whose first element is a bulk string.
    let role = String::from_utf8(reply).ok()?;
    role.split("\r\n").nth(2).map(str::to_owned)
}

/// Sentinels of one quorum.
#[derive(Debug)]
pub(crate) struct Sentinels {
    pub sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
pub(crate) struct Sentinel {
    ip: Ipv4Addr,
    process: Process,
    _dir: TempDir,
}

impl Sentinels {
    /// Three, which agree by two on what is down after half a second; ready for a failover when the constructor returns.
    pub(crate) fn watching(shards: &[(&str, &Shard)]) -> Self {
        Self::watching_then(shards, "", "")
    }

    /// Sentinels of valkey.
    pub(crate) fn valkey(shards: &[(&str, &Shard)]) -> Self {
        let places = [(); 3].map(|()| Place::fresh());
        Self::of(&valkey_server(), shards, ["", ""], places)
    }

    /// With these further lines in their files, before and after the names of shards.
    pub(crate) fn watching_then(shards: &[(&str, &Shard)], lines: &str, then: &str) -> Self {
        let places = [(); 3].map(|()| Place::fresh());
        Self::of("redis-server".as_ref(), shards, [lines, then], places)
    }

    /// At these places.
    pub(crate) fn at(places: [Place; 3], shards: &[(&str, &Shard)]) -> Self {
        Self::of("redis-server".as_ref(), shards, ["", ""], places)
    }

    fn of(
        program: &Path,
        shards: &[(&str, &Shard)],
        [lines, then]: [&str; 2],
        places: [Place; 3],
    ) -> Self {
        let mut text = format!("{lines}\n");
        for (name, shard) in shards {
            let address = shard.primary().address();
            let (ip, port) = (address.ip(), address.port());
            let _ = write!(
                text,
                "sentinel monitor {name} {ip} {port} 2\n\
                 sentinel down-after-milliseconds {name} 500\n\
                 sentinel failover-timeout {name} 6000\n"
            );
        }
        let _ = writeln!(text, "{then}");
        let sentinels = Self {
            sentinels: places
                .map(|place| Sentinel::start(program, &text, &place))
                .into(),
        };
        for (name, shard) in shards {
            for sentinel in &sentinels.sentinels {
                sentinel.await_company(name, shard.servers.len() - 1, 2);
            }
        }
        sentinels
    }

    /// As in `sentinels` of a pool.
    pub(crate) fn list(&self) -> String {
        let addresses = self.sentinels.iter();
        let addresses = addresses.map(|sentinel| format!("'{}'", sentinel.address()));
        format!("[{}]", addresses.collect::<Vec<_>>().join(", "))
    }
}

impl Sentinel {
    fn start(program: &Path, lines: &str, place: &Place) -> Self {
        let ip = place.ip;
        let dir = TempDir::new().unwrap();
        let conf = dir.path().join("sentinel.conf");
        let text = format!(
            "bind {ip}\nport {PORT}\ndir {}\nsentinel announce-ip {ip}\nprotected-mode no\n{lines}",
            dir.path().display()
        );
        std::fs::write(&conf, text).unwrap();
        let mut command = place.command(program);
        command.arg(&conf).arg("--sentinel");
        let process = Process::spawn(command);
        process.await_output("Sentinel ID is");
        let sentinel = Self {
            ip,
            process,
            _dir: dir,
        };
        eventually("the sentinel listens", || {
            Client::try_connect(sentinel.address()).ok().map(drop)
        });
        sentinel
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, PORT))
    }

    pub(crate) fn ask(&self, request: &str) -> Vec<u8> {
        Client::connect(self.address()).ask(request)
    }

    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    fn await_company(&self, name: &str, replicas: usize, others: usize) {
        if self.ask("PING").starts_with(b"-NOAUTH") {
            return;
        }
        eventually("the sentinel knows all of the shard", || {
            let list = self.ask(&format!("SENTINEL REPLICAS {name}"));
            let known = resp::array_items(&list).len();
            let text = String::from_utf8_lossy(&list).into_owned();
            let are_linked = text.matches("\r\nok\r\n").count() == known;
            let sentinels = self.ask(&format!("SENTINEL SENTINELS {name}"));
            let company = resp::array_items(&sentinels).len();
            (known == replicas && are_linked && company == others).then_some(())
        });
    }
}
