//! Quotas over several workers.

use std::thread;

use super::{flood, proxy_with_workers};
use crate::support::{Pool, RedisServer};

const RATE: u32 = 400;

/// The number of requests that may pass in so many seconds: a burst, the time, and a batch of each worker.
fn most(seconds: f64) -> f64 {
    f64::from(RATE) * (1.0 + seconds) + 8.0
}

#[test]
fn one_worker_gets_the_whole_quota() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("requests_per_second", RATE);
    let proxy = proxy_with_workers(&pool, 4);
    // A client is one worker's.
    let (passed, seconds) = flood(&mut proxy.client(), "GET a", 100);
    assert!(passed >= RATE, "{passed} passed");
    assert!(
        f64::from(passed) <= most(seconds),
        "{passed} in {seconds} s"
    );
}

#[test]
fn workers_together_keep_to_the_quota() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("requests_per_second", RATE);
    let proxy = proxy_with_workers(&pool, 4);
    let clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    let floods = clients
        .into_iter()
        .map(|mut client| thread::spawn(move || flood(&mut client, "GET a", 60)));
    let floods: Vec<_> = floods.collect();
    let floods: Vec<_> = floods
        .into_iter()
        .map(|flood| flood.join().unwrap())
        .collect();
    let passed: u32 = floods.iter().map(|(passed, _)| passed).sum();
    let seconds = floods.iter().map(|(_, seconds)| *seconds);
    let seconds = seconds.fold(0.0, f64::max);
    assert!(passed >= RATE, "{passed} passed");
    assert!(
        f64::from(passed) <= most(seconds),
        "{passed} in {seconds} s"
    );
}
