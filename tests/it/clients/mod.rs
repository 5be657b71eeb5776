//! Popular client libraries, current versions, in their default configuration, with one server and with four.

mod rust;

use std::net::SocketAddr;

use crate::support::{Pool, Proxy, RedisServer, run_client};

#[test]
fn redis_py() {
    through_one_and_four("venv/bin/python", "redis_py.py", &[]);
}

#[test]
fn redis_py_with_resp2() {
    through_one_and_four("venv/bin/python", "redis_py.py", &["2"]);
}

#[test]
fn ioredis() {
    through_one_and_four("node", "ioredis.js", &[]);
}

#[test]
fn node_redis() {
    through_one_and_four("node", "node_redis.js", &[]);
}

#[test]
fn node_redis_with_resp2() {
    through_one_and_four("node", "node_redis.js", &["2"]);
}

#[test]
fn redis_py_frameworks() {
    features("venv/bin/python", "redis_py_features.py", &["-"]);
}

#[test]
fn redis_py_frameworks_with_resp2() {
    features("venv/bin/python", "redis_py_features.py", &["2"]);
}

#[test]
fn ioredis_frameworks() {
    features("node", "ioredis_features.js", &[]);
}

#[test]
fn node_redis_frameworks() {
    features("node", "node_redis_features.js", &["-"]);
}

#[test]
fn node_redis_frameworks_with_resp2() {
    features("node", "node_redis_features.js", &["2"]);
}

#[test]
fn rust_redis_applications() {
    for protocol in ["", "?protocol=resp3"] {
        rust::try_all(RedisServer::start().address(), protocol);
        for count in [1, 4] {
            let (_servers, proxy) = before(count);
            rust::try_all(proxy.address(), protocol);
        }
    }
}

/// Runs a program with a plain server, which shows that the program is correct, and through the proxy.
fn features(interpreter: &str, program: &str, options: &[&str]) {
    let server = RedisServer::start();
    try_features(interpreter, program, server.address(), options);
    for count in [1, 4] {
        let (_servers, proxy) = before(count);
        try_features(interpreter, program, proxy.address(), options);
    }
}

fn try_features(interpreter: &str, program: &str, address: SocketAddr, options: &[&str]) {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let args = [&[ip.as_str(), port.as_str()], options].concat();
    run_client(interpreter, program, &args);
}

fn through_one_and_four(interpreter: &str, program: &str, more: &[&str]) {
    for count in [1, 4] {
        let (servers, proxy) = before(count);
        let (ip, port) = (proxy.address().ip(), proxy.address().port());
        let address = [ip.to_string(), port.to_string()];
        let args = address
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied());
        let args: Vec<&str> = args.collect();
        run_client(interpreter, program, &args);
        let held: Vec<usize> = servers.iter().map(|server| server.keys().len()).collect();
        assert!(
            held.iter().all(|keys| *keys > 0),
            "{program} before {count}: {held:?}"
        );
    }
}

fn before(count: usize) -> (Vec<RedisServer>, Proxy) {
    let servers: Vec<RedisServer> = (0..count).map(|_| RedisServer::start()).collect();
    let proxy = Proxy::ringroad(
        &Pool::of(&servers)
            .with("hash", "murmur")
            .with("hash_tag", "\"{}\""),
    );
    (servers, proxy)
}
