//! Probes notice a server that does not answer, and bring it back without a client's request as its trial.

use super::OK;
use crate::support::{Memcached, Pool, Proxy, RedisServer, eventually, show};

fn probed(pool: Pool) -> Pool {
    pool.with("hash", "murmur")
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 3_600_000)
        .with("server_probe_interval", 50)
}

#[test]
fn ejected_server_returns_without_an_error() {
    let mut servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&probed(Pool::of(&servers)));
    let mut client = proxy.client();
    let mut fails = || {
        let mut replies = (0..60).map(|key| client.ask(&format!("SET key-{key} 1")));
        replies.any(|reply| reply != OK.as_bytes())
    };
    assert!(!fails());
    servers[1].kill();
    eventually("the server is ejected", || (!fails()).then_some(()));
    servers[1].restart();
    eventually("the server is back", || {
        assert!(!fails());
        (!servers[1].keys().is_empty()).then_some(())
    });
    assert_eq!(proxy.stat(&["server_ejects"]), 1);
}

#[test]
fn hung_server_is_ejected_without_a_request() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&probed(Pool::of(&servers)).with("redis_auth", "secret"));
    for server in &servers {
        server
            .client()
            .converse(&[("CONFIG SET requirepass secret", OK)]);
    }
    // Ejected until the password was set.
    eventually("the servers answer", || {
        let mut client = proxy.client();
        client.converse(&[("AUTH secret", OK)]);
        let mut replies = (0..60).map(|key| client.ask(&format!("SET key-{key} 1")));
        replies.all(|reply| reply == OK.as_bytes()).then_some(())
    });
    let before = proxy.stat(&["server_ejects"]);
    servers[0].stop();
    eventually("the server is ejected", || {
        (proxy.stat(&["server_ejects"]) > before).then_some(())
    });
    let mut client = proxy.client();
    client.converse(&[("AUTH secret", OK)]);
    for key in 0..60 {
        client.converse(&[(&format!("SET key-{key} 1"), OK)]);
    }
    servers[0].cont();
}

#[test]
fn memcached_servers_are_probed() {
    let mut servers: [_; 2] = Memcached::several();
    let proxy = Proxy::ringroad(&probed(Pool::memcached(&servers)));
    servers[0].kill();
    eventually("the server is ejected", || {
        (proxy.stat(&["server_ejects"]) == 1).then_some(())
    });
    let mut client = proxy.client();
    let set = |client: &mut crate::support::Client| {
        (0..60).for_each(|key| {
            client.send(format!("set key-{key} 0 0 1\r\n1\r\n").as_bytes());
            assert_eq!(show(&client.answer()), "STORED\\r\\n");
        });
    };
    set(&mut client);
    servers[0].restart();
    eventually("the server is back", || {
        set(&mut client);
        (!servers[0].keys().is_empty()).then_some(())
    });
}
