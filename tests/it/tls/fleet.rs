//! Servers and sentinels that speak nothing but TLS, and only with those who have a certificate.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Place, Pool, Process, RedisServer, array_items, eventually, fresh_ip};

use super::certificates::{Ca, Files};
use super::{SERVER_NAME, Setup, tls_options, with_server_tls};

/// The port of each server and sentinel.
const PORT: u16 = 16379;

/// A CA whose certificates all of them have, and the proxy too.
pub(super) struct Fleet {
    ca: Ca,
    own: Files,
    proxy: Files,
    setup: Setup,
}

/// A sentinel.
pub(super) struct Sentinel {
    address: SocketAddr,
    _process: Process,
}

impl Fleet {
    pub(super) fn new() -> Self {
        let ca = Ca::new();
        let own = ca.issue("server", &[SERVER_NAME]);
        let proxy = ca.issue("proxy", &["proxy.test"]);
        let setup = Setup::new(&ca.file(), Some(&proxy));
        Self {
            ca,
            own,
            proxy,
            setup,
        }
    }

    pub(super) fn server(&self) -> RedisServer {
        let at_once = ["--repl-diskless-sync-delay", "0"].map(str::to_owned);
        let options = [self.options(), at_once.into()].concat();
        RedisServer::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A primary and its replicas, which are connected.
    pub(super) fn shard(&self, replicas: usize) -> Vec<RedisServer> {
        let primary = self.server();
        let ip = primary.address().ip().to_string();
        let of_primary = ["--replicaof".to_owned(), ip, PORT.to_string()];
        let options = [self.options(), of_primary.into()].concat();
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let mut servers = vec![primary];
        servers.extend((0..replicas).map(|_| replica(&options)));
        eventually("all replicas are online", || {
            let info = String::from_utf8(self.ask(&servers[0], "INFO replication")).unwrap();
            (info.matches("state=online").count() == replicas).then_some(())
        });
        servers
    }

    /// Three sentinels of a shard, which agree by two, and know each other.
    pub(super) fn sentinels(&self, name: &str, shard: &[RedisServer]) -> Vec<Sentinel> {
        let (ip, port) = (shard[0].address().ip(), PORT);
        let lines = format!(
            "sentinel monitor {name} {ip} {port} 2\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 6000\n"
        );
        let sentinels: Vec<_> = (0..3).map(|nth| self.sentinel(nth, &lines)).collect();
        for sentinel in &sentinels {
            eventually("the sentinel knows all of the shard", || {
                let ask =
                    |what: &str| self.ask_at(sentinel.address, &format!("SENTINEL {what} {name}"));
                let [replicas, others] = ["REPLICAS", "SENTINELS"].map(ask);
                let all = String::from_utf8_lossy(&[&replicas[..], &others].concat()).into_owned();
                let are_linked = all.matches("\r\nok\r\n").count() == shard.len() - 1;
                let is_alone = all.contains("disconnected");
                let is_complete = array_items(&replicas).len() == shard.len() - 1
                    && array_items(&others).len() == 2;
                (is_complete && are_linked && !is_alone).then_some(())
            });
        }
        sentinels
    }

    fn sentinel(&self, nth: usize, lines: &str) -> Sentinel {
        let ip = fresh_ip(&[PORT]);
        let mut text = format!("bind {ip}\nsentinel announce-ip {ip}\nprotected-mode no\n{lines}");
        for option in self.options().chunks(2) {
            let _ = writeln!(text, "{} {}", option[0].trim_start_matches('-'), option[1]);
        }
        let mut command = Command::new("redis-server");
        command
            .arg(self.ca.write(&format!("sentinel{nth}.conf"), &text))
            .arg("--sentinel");
        let process = Process::spawn(command);
        process.await_output("Sentinel ID is");
        Sentinel {
            address: SocketAddr::from((ip, PORT)),
            _process: process,
        }
    }

    /// The options of a server or a sentinel.
    fn options(&self) -> Vec<String> {
        let replicates = ["--tls-replication", "yes"].map(str::to_owned);
        [tls_options(&self.ca, &self.own), replicates.into()].concat()
    }

    /// A pool with what its servers want.
    pub(super) fn pool(&self, pool: Pool) -> Pool {
        with_server_tls(pool, &self.ca)
            .with("server_tls_cert", self.proxy.cert.display())
            .with("server_tls_key", self.proxy.key.display())
    }

    /// Sends one request on its own connection.
    pub(super) fn ask(&self, server: &RedisServer, request: &str) -> Vec<u8> {
        self.ask_at(server.address(), request)
    }

    fn ask_at(&self, address: SocketAddr, request: &str) -> Vec<u8> {
        self.try_ask_at(address, request).unwrap()
    }

    /// As [`Self::ask`]; `None` if the server closes the connection, as one that is promoted does.
    pub(super) fn try_ask(&self, server: &RedisServer, request: &str) -> Option<Vec<u8>> {
        self.try_ask_at(server.address(), request).ok()
    }

    fn try_ask_at(&self, address: SocketAddr, request: &str) -> io::Result<Vec<u8>> {
        let mut client = self.setup.try_connect(address, SERVER_NAME)?;
        client.try_ask(request)
    }

    /// A file in a directory that lives as long as this.
    pub(super) fn write(&self, file: &str, text: &str) -> PathBuf {
        self.ca.write(file, text)
    }
}

/// As in `sentinels` of a pool.
pub(super) fn list(sentinels: &[Sentinel]) -> String {
    let addresses = sentinels.iter();
    let addresses = addresses.map(|sentinel| format!("'{}'", sentinel.address));
    format!("[{}]", addresses.collect::<Vec<_>>().join(", "))
}

fn replica(options: &[&str]) -> RedisServer {
    RedisServer::announced("redis-server".as_ref(), options, Place::fresh())
}
