//! What a replica is certified to show, it shows.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use ringroad::config::Config;
use ringroad::control::watch_roles;
use ringroad::topology::{PoolReplica, ServerIndex, TopologyStore, process_us};
use tokio::runtime::Builder;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::roles::static_pool;
use super::*;

/// The watchers of a pool, without a proxy.
struct Watched {
    store: Arc<TopologyStore>,
    _stop: DropGuard,
}

impl Watched {
    fn start(pool: &Pool) -> Self {
        let yaml = pool.yaml("127.0.0.1:1".parse().unwrap());
        let config = Config::parse(&yaml, "F").unwrap().pools.remove(0);
        let store = Arc::new(TopologyStore::new(Arc::new(config), Instant::now()));
        let (watching, stop) = (Arc::clone(&store), CancellationToken::new());
        let stopped = stop.clone();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(stopped.run_until_cancelled(watch_roles(watching)));
        });
        Self {
            store,
            _stop: stop.drop_guard(),
        }
    }

    fn replicas(&self) -> Vec<Arc<PoolReplica>> {
        self.store.topology().replicas(ServerIndex::new(0)).to_vec()
    }
}

/// Writes a rising number at a primary. What was acknowledged is in the list, with the time after it.
fn write(address: SocketAddr, acknowledged: &Mutex<Vec<(u64, u64)>>, is_over: &AtomicBool) {
    let mut client = Client::connect(address);
    let mut number = 0;
    while !is_over.load(Ordering::SeqCst) {
        number += 1;
        assert_eq!(client.ask(&format!("SET n {number}")), OK.as_bytes());
        let at = process_us(Instant::now());
        acknowledged.lock().unwrap().push((at, number));
    }
}

/// A replica is stopped, and synchronizes anew, meanwhile.
#[test]
fn certified_replica_shows_what_was_acknowledged_before() {
    let shard = Shard::start(1);
    let pool = static_pool(&shard)
        .with("read_from", "any")
        .with("replica_max_lag", 100);
    let watched = Watched::start(&pool);
    let (acknowledged, is_over) = (Mutex::default(), AtomicBool::new(false));
    let (primary, replica) = (shard.primary().address(), &shard.servers[1]);
    thread::scope(|scope| {
        scope.spawn(|| write(primary, &acknowledged, &is_over));
        let mut disturber = replica.client();
        let mut reader = replica.client();
        let (mut checked, mut last) = (0, 0);
        while checked < 120 {
            let fresh_to = watched
                .replicas()
                .first()
                .map_or(0, |known| known.fresh_to_us());
            if fresh_to == last {
                thread::yield_now();
                continue;
            }
            last = fresh_to;
            let shown = number(&reader.ask("GET n"));
            if fresh_to == 0 || shown.is_none() {
                continue;
            }
            checked += 1;
            let acknowledged = acknowledged.lock().unwrap();
            let before = acknowledged.partition_point(|(at, _)| *at < fresh_to);
            let expected = before
                .checked_sub(1)
                .map_or(0, |index| acknowledged[index].1);
            drop(acknowledged);
            assert!(shown.unwrap() >= expected, "{shown:?} of {expected}");
            match checked % 40 {
                10 => drop(disturber.ask("DEBUG SLEEP 0.3")),
                20 => {
                    disturber.ask("REPLICAOF NO ONE");
                    eventually("nothing is certain of another history", || {
                        let known = watched.replicas();
                        (known[0].fresh_to_us() == 0).then_some(())
                    });
                    disturber.ask(&format!("REPLICAOF {} {}", primary.ip(), primary.port()));
                }
                30 => {
                    replica.stop();
                    eventually("a stopped replica is not certified", || {
                        let known = watched.replicas();
                        let lag = known[0].lag(Instant::now());
                        lag.is_none_or(|lag| lag.as_millis() > 100).then_some(())
                    });
                    replica.cont();
                }
                _ => {}
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

fn number(reply: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(reply).ok()?;
    text.split("\r\n").nth(1)?.parse().ok()
}
