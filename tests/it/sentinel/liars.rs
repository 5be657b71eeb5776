//! Sentinels that are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::support::{FakeServer, Kind, Launch, Peer, RedisServer, command};

/// A sentinel that says what the test wants: one primary after another, and its epoch.
struct FakeSentinel {
    server: FakeServer,
    script: Arc<Script>,
}

struct Script {
    /// Hosts and ports.
    addresses: Vec<(String, String)>,
    place: AtomicUsize,
    epoch: AtomicU64,
    /// After its next answer it says the second primary, by the next epoch.
    switches: AtomicBool,
    /// Answers so far.
    answers: AtomicUsize,
}

impl FakeSentinel {
    fn start(addresses: &[SocketAddr], epoch: u64) -> Self {
        let word = |address: &SocketAddr| (address.ip().to_string(), address.port().to_string());
        Self::saying(addresses.iter().map(word).collect(), epoch)
    }

    fn saying(addresses: Vec<(String, String)>, epoch: u64) -> Self {
        let script = Arc::new(Script {
            addresses,
            place: AtomicUsize::new(0),
            epoch: AtomicU64::new(epoch),
            switches: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
        });
        let own = Arc::clone(&script);
        Self {
            server: FakeServer::start(move |_, peer| own.serve(peer)),
            script,
        }
    }

    fn say(&self, place: usize, epoch: u64) {
        // Whoever asks for the epoch first finds both, or an old epoch.
        self.script.place.store(place, Ordering::SeqCst);
        self.script.epoch.store(epoch, Ordering::SeqCst);
    }

    /// Waits until it was asked twice more: then what it says was heard.
    fn await_heard(&self) {
        let before = self.script.answers.load(Ordering::SeqCst);
        eventually("the sentinel is asked again", || {
            (self.script.answers.load(Ordering::SeqCst) >= before + 3).then_some(())
        });
    }
}

impl Script {
    fn serve(&self, mut peer: Peer) {
        while let Some(request) = peer.request() {
            let text = String::from_utf8_lossy(&request).to_uppercase();
            let (host, port) = self.addresses[self.place.load(Ordering::SeqCst)].clone();
            if text.contains("GET-MASTER-ADDR") {
                peer.send(&command(&[host, port]));
            } else if text.contains("MASTER") && !text.contains("SUBSCRIBE") {
                let epoch = self.epoch.load(Ordering::SeqCst).to_string();
                self.answers.fetch_add(1, Ordering::SeqCst);
                peer.send(&command(&["config-epoch", epoch.as_str()]));
            } else {
                continue;
            }
            if self.switches.swap(false, Ordering::SeqCst) {
                self.place.store(1, Ordering::SeqCst);
                self.epoch.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

fn list(sentinels: &[&FakeSentinel]) -> String {
    let addresses = sentinels.iter();
    let addresses = addresses.map(|sentinel| format!("'{}'", sentinel.server.address()));
    format!("[{}]", addresses.collect::<Vec<_>>().join(", "))
}

fn pool_at(server: &RedisServer, sentinels: &[&FakeSentinel]) -> Pool {
    Pool::named([format!("{}:1 shard0", server.address())]).with("sentinels", list(sentinels))
}

#[test]
fn sentinel_with_an_old_epoch_changes_nothing() {
    let servers: [_; 2] = RedisServer::several();
    let addresses = servers.each_ref().map(RedisServer::address);
    let honest = FakeSentinel::start(&addresses, 5);
    let liar = FakeSentinel::start(&addresses, 5);
    let third = FakeSentinel::start(&addresses, 5);
    let proxy = Proxy::ringroad(&pool_at(&servers[0], &[&honest, &liar, &third]));
    liar.say(1, 4);
    liar.await_heard();
    liar.say(1, 5);
    liar.await_heard();
    proxy.client().converse(&[("SET k 1", OK)]);
    assert_eq!(servers[1].ask("EXISTS k"), b":0\r\n");
    honest.say(1, 6);
    await_writes_to(&proxy, addresses[1]);
    proxy.process().await_output(&format!(
        "primary is {} now, was {}: sentinel {} says so (epoch 6)",
        addresses[1],
        addresses[0],
        honest.server.address()
    ));
}

#[test]
fn failover_between_two_questions_is_followed() {
    let servers: [_; 2] = RedisServer::several();
    let addresses = servers.each_ref().map(RedisServer::address);
    let sentinels = [(); 3].map(|()| FakeSentinel::start(&addresses, 5));
    let proxy = Proxy::ringroad(&pool_at(&servers[0], &sentinels.each_ref()));
    for sentinel in &sentinels {
        sentinel.script.switches.store(true, Ordering::SeqCst);
    }
    await_writes_to(&proxy, addresses[1]);
}

#[test]
fn address_that_is_a_replica_is_never_adopted() {
    let shard = Shard::start(1);
    let addresses = [shard.primary().address(), shard.servers[1].address()];
    let sentinel = FakeSentinel::start(&addresses, 1);
    let proxy = Proxy::ringroad(&pool_at(shard.primary(), &[&sentinel]));
    sentinel.say(1, 2);
    sentinel.await_heard();
    proxy.client().converse(&[("SET k 1", OK)]);
    // As soon as it is promoted, it is.
    shard.servers[1].ask("REPLICAOF NO ONE");
    await_writes_to(&proxy, addresses[1]);
}

#[test]
fn lower_epoch_is_believed_by_majority_of_a_lost_primary() {
    let servers: [_; 2] = RedisServer::several();
    let addresses = servers.each_ref().map(RedisServer::address);
    let sentinels = [(); 3].map(|()| FakeSentinel::start(&addresses, 9));
    let proxy = Proxy::ringroad(&pool_at(&servers[0], &sentinels.each_ref()));
    proxy.client().converse(&[("SET k 1", OK)]);
    sentinels[0].say(1, 0);
    sentinels[0].await_heard();
    assert_eq!(servers[1].ask("DBSIZE"), b":0\r\n");
    for sentinel in &sentinels[1..] {
        sentinel.say(1, 0);
        sentinel.await_heard();
    }
    // As after the sentinel that led a failover was lost.
    assert_eq!(servers[1].ask("DBSIZE"), b":0\r\n");
    assert_eq!(proxy.ask("SET k 2"), OK.as_bytes());
    servers[0].kill();
    await_writes_to(&proxy, addresses[1]);
}

#[test]
fn sentinel_that_hangs_does_not_keep_the_pool_closed() {
    let server = RedisServer::start();
    let silent = FakeServer::start(|_, mut peer| peer.ignore());
    let pool = Pool::named([format!("{}:1 shard0", server.address())])
        .with("sentinels", format!("['{}']", silent.address()));
    let proxy = Proxy::ringroad(&pool);
    proxy.client().converse(&[("SET k 1", OK)]);
    proxy.process().await_output("sentinel does not answer");
}

#[test]
fn name_that_a_sentinel_says_is_resolved() {
    let servers: [_; 2] = RedisServer::several();
    let port = servers[0].address().port().to_string();
    let names = ["old.test", "new.test"].map(|host| (host.to_owned(), port.clone()));
    let sentinel = FakeSentinel::saying(names.to_vec(), 1);
    let dir = TempDir::new().unwrap();
    let hosts = dir.path().join("hosts");
    let lines = ["old.test", "new.test"].into_iter().zip(&servers);
    let lines = lines.map(|(host, server)| format!("{} {host}\n", server.address().ip()));
    std::fs::write(&hosts, lines.collect::<String>()).unwrap();
    let launch = Launch {
        hosts: Some(hosts),
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &pool_at(&servers[0], &[&sentinel]), &launch);
    proxy.client().converse(&[("SET k 1", OK)]);
    sentinel.say(1, 2);
    await_writes_to(&proxy, servers[1].address());
}
