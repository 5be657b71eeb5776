//! Names of servers that stand for another address are followed.

use std::net::IpAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use super::OK;
use crate::support::{Kind, Launch, Pool, Proxy, RedisServer, eventually, show};

/// A resolver that knows one name, and a proxy with a server of that name.
struct Named {
    hosts: PathBuf,
    proxy: Proxy,
    _dir: TempDir,
}

impl Named {
    fn start(server: &RedisServer, interval: u32) -> Self {
        let dir = TempDir::new().unwrap();
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, line(server)).unwrap();
        let launch = Launch {
            hosts: Some(hosts.clone()),
            ..Launch::default()
        };
        let port = server.address().port();
        let pool = Pool::named([format!("cache.test:{port}:1 s0")])
            .with("server_resolve_interval", interval);
        Self {
            hosts,
            proxy: Proxy::start(Kind::Ringroad, &pool, &launch),
            _dir: dir,
        }
    }

    fn point_to(&self, server: &RedisServer) {
        std::fs::write(&self.hosts, line(server)).unwrap();
    }
}

fn line(server: &RedisServer) -> String {
    let ip: IpAddr = server.address().ip();
    format!("{ip} cache.test\n")
}

#[test]
fn moved_name_is_followed_without_an_error() {
    let servers: [_; 2] = RedisServer::several();
    for (server, value) in servers.iter().zip(["old", "new"]) {
        server.client().converse(&[(&format!("SET k {value}"), OK)]);
    }
    let named = Named::start(&servers[0], 50);
    let mut client = named.proxy.client();
    client.converse(&[("GET k", "$3\r\nold\r\n")]);
    named.point_to(&servers[1]);
    eventually("the new address is used", || {
        let reply = show(&client.ask("GET k"));
        assert!(reply.starts_with("$3"), "{reply}");
        reply.contains("new").then_some(())
    });
    eventually("the old server has no connection", || {
        let list = servers[0].ask("CLIENT LIST");
        (String::from_utf8_lossy(&list).matches(" addr=").count() == 1).then_some(())
    });
}

#[test]
fn name_of_a_dead_server_is_looked_up_at_once() {
    let servers: [_; 2] = RedisServer::several();
    let named = Named::start(&servers[0], 3_600_000);
    let mut client = named.proxy.client();
    client.converse(&[("SET k 1", OK)]);
    named.point_to(&servers[1]);
    servers[0].kill();
    eventually("the new address is used", || {
        (client.ask("SET k 2") == OK.as_bytes()).then_some(())
    });
    assert_eq!(show(&servers[1].ask("GET k")), "$1\\r\\n2\\r\\n");
}

#[test]
fn name_of_a_read_only_server_is_looked_up_at_once() {
    let servers: [_; 2] = RedisServer::several();
    let named = Named::start(&servers[0], 3_600_000);
    let mut client = named.proxy.client();
    client.converse(&[("SET k 1", OK)]);
    let (ip, port) = (servers[1].address().ip(), servers[1].address().port());
    servers[0].ask(&format!("REPLICAOF {ip} {port}"));
    named.point_to(&servers[1]);
    let refused = client.ask("SET k 2");
    assert!(refused.starts_with(b"-READONLY"), "{}", show(&refused));
    eventually("the new primary is used", || {
        (client.ask("SET k 2") == OK.as_bytes()).then_some(())
    });
}

#[test]
fn failed_lookup_keeps_the_last_address() {
    let server = RedisServer::start();
    let named = Named::start(&server, 50);
    let mut client = named.proxy.client();
    client.converse(&[("SET k 1", OK)]);
    std::fs::write(&named.hosts, "").unwrap();
    named
        .proxy
        .process()
        .await_output("the last address stays in use");
    client.converse(&[("GET k", "$1\r\n1\r\n")]);
}
