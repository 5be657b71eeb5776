//! Job queues that people use, in small; `make jobs` has ten thousand jobs of each.

use std::net::SocketAddr;

use crate::support::{RedisServer, run_client};

#[test]
fn a_queue_of_rq() {
    let server = RedisServer::start();
    process("venv/bin/python", "rq_jobs.py", server.address());
}

#[test]
fn a_queue_of_bullmq() {
    let server = RedisServer::start();
    process("node", "bullmq_jobs.js", server.address());
}

fn process(interpreter: &str, program: &str, address: SocketAddr) {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    run_client(interpreter, program, &[&ip, &port, "400"]);
}
