//! Popular job queues with few jobs; `make jobs` runs ten thousand jobs of each.

use std::net::SocketAddr;

use crate::support::{Pool, Proxy, RedisServer, run_client};

/// RQ names its keys itself: all begin with `rq:`, and many are in one transaction.
#[test]
fn rq_job_queue() {
    process("venv/bin/python", "rq_jobs.py", "r:", &[]);
}

#[test]
fn bullmq_job_queue() {
    process("node", "bullmq_jobs.js", "{}", &[]);
}

/// As `conf/ringroad.frameworks.yml`: the name of the queue is between the first two colons.
#[test]
fn bullmq_job_queue_with_the_default_prefix() {
    process("node", "bullmq_jobs.js", "::", &["untagged"]);
}

fn process(interpreter: &str, program: &str, hash_tag: &str, options: &[&str]) {
    let alone = RedisServer::start();
    finish(interpreter, program, alone.address(), options);
    let servers = RedisServer::several::<4>();
    let pool = Pool::of(&servers).with("hash", "murmur");
    let proxy = Proxy::ringroad(&pool.with("hash_tag", format!("\"{hash_tag}\"")));
    finish(interpreter, program, proxy.address(), options);
}

fn finish(interpreter: &str, program: &str, address: SocketAddr, options: &[&str]) {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let args = [&[ip.as_str(), port.as_str(), "400"], options].concat();
    run_client(interpreter, program, &args);
}
