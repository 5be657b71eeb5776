//! Client libraries that people use today, current versions, in their default configuration, before one server and four.

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
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    (servers, proxy)
}
