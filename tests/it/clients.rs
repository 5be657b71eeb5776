//! Client libraries that people use today, current versions, in their default configuration, before one server and four.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Pool, Proxy, RedisServer};

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
fn rust_redis() {
    for count in [1, 4] {
        let (_servers, proxy) = before(count);
        let client = redis::Client::open(format!("redis://{}/", proxy.address())).unwrap();
        let mut connection = client.get_connection().unwrap();
        let () = redis::cmd("SET")
            .arg("greeting")
            .arg("hello")
            .query(&mut connection)
            .unwrap();
        let greeting: String = redis::cmd("GET")
            .arg("greeting")
            .query(&mut connection)
            .unwrap();
        assert_eq!(greeting, "hello");
        let mut pipeline = redis::pipe();
        for n in 0..100 {
            pipeline
                .set(format!("key-{n}"), n)
                .ignore()
                .get(format!("key-{n}"));
        }
        let numbers: Vec<u32> = pipeline.query(&mut connection).unwrap();
        assert_eq!(numbers, (0..100).collect::<Vec<u32>>());
        let names: Vec<String> = (0..100).map(|n| format!("key-{n}")).collect();
        let all: Vec<u32> = redis::cmd("MGET")
            .arg(&names)
            .query(&mut connection)
            .unwrap();
        assert_eq!(all, numbers);
        let gone: u32 = redis::cmd("DEL")
            .arg(&names)
            .query(&mut connection)
            .unwrap();
        assert_eq!(gone, 100);
    }
}

/// Runs one of the programs in `tests/clients`; they exit with 0 when everything was as they expected.
fn through_one_and_four(interpreter: &str, program: &str, more: &[&str]) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let installed = root.join("target/clients");
    assert!(
        installed.exists(),
        "the client libraries are not installed: run `make setup`"
    );
    let local = installed.join(interpreter);
    let interpreter = if local.exists() {
        local
    } else {
        PathBuf::from(interpreter)
    };
    for count in [1, 4] {
        let (servers, proxy) = before(count);
        let output = Command::new("timeout")
            .arg("60")
            .arg(&interpreter)
            .arg(root.join("tests/clients").join(program))
            .args([
                proxy.address().ip().to_string(),
                proxy.address().port().to_string(),
            ])
            .args(more)
            .env("CLIENTS", installed.join("node_modules"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program} before {count}: {output:#?}"
        );
        let held: Vec<usize> = servers.iter().map(|server| server.keys().len()).collect();
        assert!(
            held.iter().all(|keys| *keys > 0),
            "{program} before {count}: {held:?}"
        );
    }
}

fn before(count: usize) -> (Vec<RedisServer>, Proxy) {
    let servers: Vec<RedisServer> = (0..count).map(|_| RedisServer::start()).collect();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    (servers, proxy)
}
