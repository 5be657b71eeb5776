//! Ejection in memcached pools: the keys of a dead server move as with nutcracker, and move back on its return.

use super::fleet::pool;
use crate::support::{Memcached, Proxy, eventually, show};

const EJECTED: usize = 2;

#[test]
fn ejected_keys_move_as_in_nutcracker() {
    let servers: [Memcached; 4] = Memcached::several();
    let pool = pool(&servers)
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 600_000);
    let proxies = [Proxy::nutcracker(&pool), Proxy::ringroad(&pool)];
    servers[EJECTED].kill();
    for proxy in &proxies {
        // The errors that eject it: nothing after them fails.
        let mut client = proxy.client();
        for n in 0..40 {
            client.say(&format!("get key-{n}"));
        }
    }
    let [mut there, mut here] = [proxies[0].client(), proxies[1].client()];
    for n in 0..200 {
        there.chat(&[(&format!("set key-{n} 0 0 3\r\n{n:03}\r\n"), "STORED\r\n")]);
        let expected = format!("VALUE key-{n} 0 3\r\n{n:03}\r\nEND\r\n");
        here.chat(&[(&format!("get key-{n}\r\n"), &expected)]);
    }
    let keys: Vec<String> = (0..200).map(|n| format!("key-{n}")).collect();
    let all = here.say(&format!("get {}", keys.join(" ")));
    assert_eq!(String::from_utf8_lossy(&all).matches("VALUE ").count(), 200);
}

#[test]
fn returned_server_gets_its_keys_back() {
    let mut servers: [Memcached; 3] = Memcached::several();
    let pool = pool(&servers)
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 100);
    let ringroad = Proxy::ringroad(&pool);
    let mut client = ringroad.client();
    let keys: Vec<String> = (0..60).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        client.chat(&[(&format!("set {key} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    let ejected_keys = servers[EJECTED].keys();
    let key = String::from_utf8(ejected_keys[0].clone()).unwrap();
    servers[EJECTED].kill();
    eventually("another server takes over", || {
        let answer = client.say(&format!("get {key}"));
        let is_error = answer.starts_with(b"SERVER_ERROR ");
        assert!(is_error || answer == b"END\r\n", "{}", show(&answer));
        (!is_error).then_some(())
    });
    servers[EJECTED].restart();
    eventually("the server is used again", || {
        let set = format!("set {key} 0 0 1\r\n2\r\n");
        client.send(set.as_bytes());
        client.answer();
        (servers[EJECTED].keys() == [key.as_bytes()]).then_some(())
    });
    assert!(ringroad.stat(&["server_ejects"]) >= 1);
}

#[test]
fn all_servers_ejected_fails_fast_and_keeps_the_connection() {
    let servers: [Memcached; 2] = Memcached::several();
    let pool = pool(&servers)
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 600_000);
    let ringroad = Proxy::ringroad(&pool);
    servers.iter().for_each(Memcached::kill);
    let mut client = ringroad.client();
    let refused = "SERVER_ERROR Connection refused\r\n";
    for n in 0..10 {
        client.chat(&[(&format!("get key-{n}\r\n"), refused)]);
    }
    let conversation = [
        "get a b c d\r\n",
        "set a 0 0 1\r\nx\r\n",
        "mg a v\r\n",
        "incr a 1\r\n",
    ];
    client.chat(&conversation.map(|request| (request, refused)));
    client.chat(&[("set a 0 0 1 noreply\r\nx\r\nmn\r\n", "MN\r\n")]);
}
