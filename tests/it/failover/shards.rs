//! Clients of real shards whose primaries fail, under Sentinel.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::books::Load;
use crate::support::{
    Client, Kind, Launch, Pool, Proxy, Sentinels, Shard, eventually, role, show, words,
};

const OK: &[u8] = b"+OK\r\n";

/// Ends clients, also when a check has failed.
pub(super) struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Two shards with two replicas each, their sentinels, and two proxies.
pub(super) struct Stage {
    pub shards: [Shard; 2],
    _sentinels: Sentinels,
    pub proxies: [Proxy; 2],
}

impl Stage {
    pub(super) fn new(settings: &[(&str, &str)]) -> Self {
        let options = [
            "--repl-diskless-sync-delay",
            "0",
            "--enable-debug-command",
            "yes",
        ];
        let shards = [(); 2].map(|()| Shard::start_with(2, &options));
        let [first, second] = &shards;
        let sentinels = Sentinels::watching(&[("shard0", first), ("shard1", second)]);
        let named = shards.iter().enumerate();
        let named = named.map(|(nth, shard)| format!("{}:1 shard{nth}", shard.primary().address()));
        let mut pool = Pool::named(named).with("sentinels", sentinels.list());
        for (name, value) in settings {
            pool = pool.with(name, value);
        }
        let launch = Launch {
            args: vec!["--workers".to_owned(), "2".to_owned()],
            ..Launch::default()
        };
        let proxies = [(); 2].map(|()| Proxy::start(Kind::Ringroad, &pool, &launch));
        Self {
            shards,
            _sentinels: sentinels,
            proxies,
        }
    }

    /// Waits until both proxies use a primary other than the first one.
    pub(super) fn await_switch(&self) {
        let line = format!("was {}: sentinel", self.shards[0].primary().address());
        for proxy in &self.proxies {
            proxy.process().await_output(&line);
        }
    }
}

/// A key of the first shard: found by asking for it there.
fn key_of(stage: &Stage, shard: usize) -> String {
    let mut client = stage.proxies[0].client();
    let numbers = 0..1000;
    let mut keys = numbers.map(|n| format!("probe{n}"));
    let is_there = |key: &String| {
        assert_eq!(client.ask(&format!("SET {key} 1")), OK);
        stage.shards[shard].primary().ask(&format!("EXISTS {key}")) == b":1\r\n"
    };
    keys.find(is_there).unwrap()
}

#[test]
fn requests_after_the_death_of_a_primary_wait_and_succeed() {
    let stage = Stage::new(&[("server_failover_timeout", "20000")]);
    let load = Load::start(stage.proxies.iter().map(Proxy::address));
    load.begin(1, &mut stage.proxies[0].client());
    load.wait_for_rounds(300);
    let closed = load.close();
    // What was acknowledged is at both replicas.
    let mut direct = stage.shards[0].primary().client();
    assert_eq!(direct.ask("SET before 1"), OK);
    assert_eq!(direct.ask("WAIT 2 10000"), b":2\r\n");
    stage.shards[0].primary().kill();
    drop(closed);
    // No request was in flight: none fails.
    load.wait_for_rounds(300);
    let primary = stage.shards[0].primary();
    assert!(stage.shards[0].promoted(primary).is_some());
    load.check(&mut stage.proxies[1].client());
    load.end();
}

#[test]
fn killed_primary_loses_only_what_was_in_flight() {
    let stage = Stage::new(&[("server_failover_timeout", "20000")]);
    let is_over = AtomicBool::new(false);
    let (failures, rounds) = (AtomicU64::new(0), AtomicU64::new(0));
    // By key: increments that both replicas had, and those that may have been made.
    let counts = Mutex::new(BTreeMap::<String, (u64, u64)>::new());
    let addresses = stage.proxies.each_ref().map(Proxy::address);
    let work = |nth: usize| {
        let mut client = Client::connect(addresses[nth % 2]);
        while !is_over.load(Ordering::SeqCst) {
            let key = format!("count:{nth}:{}", fastrand::u8(..20));
            let increment = client.ask(&format!("INCR {key}"));
            let waited = client.ask("WAIT 2 20");
            let is_safe = increment.starts_with(b":") && waited == b":2\r\n";
            for reply in [&increment, &waited] {
                failures.fetch_add(u64::from(reply.starts_with(b"-")), Ordering::SeqCst);
            }
            let mut counts = counts.lock().unwrap();
            let (safe, most) = counts.entry(key).or_default();
            *most += 1;
            if is_safe {
                *safe = *most;
            }
            rounds.fetch_add(1, Ordering::SeqCst);
        }
    };
    let await_rounds = |more: u64| {
        let until = rounds.load(Ordering::SeqCst) + more;
        eventually("clients go on", || {
            (rounds.load(Ordering::SeqCst) >= until).then_some(())
        });
    };
    thread::scope(|scope| {
        let (work, end) = (&work, End(&is_over));
        let clients: Vec<_> = (0..8).map(|nth| scope.spawn(move || work(nth))).collect();
        await_rounds(200);
        stage.shards[0].primary().kill();
        await_rounds(200);
        stage.await_switch();
        await_rounds(200);
        drop(end);
        for client in clients {
            client.join().unwrap();
        }
    });
    let failures = failures.load(Ordering::SeqCst);
    // Each client had one request in flight; WAIT asks all servers.
    assert!(failures <= 16, "{failures}");
    let mut client = stage.proxies[1].client();
    for (key, (safe, most)) in &*counts.lock().unwrap() {
        let found = client.ask(&format!("GET {key}"));
        let text = String::from_utf8_lossy(&found).into_owned();
        let number: u64 = text.lines().nth(1).unwrap_or("0").parse().unwrap();
        assert!(
            (*safe..=*most).contains(&number),
            "{key}: {number}, {safe} to {most}"
        );
    }
}

#[test]
fn stopped_primary_gets_nothing_after_the_switch() {
    let stage = Stage::new(&[("timeout", "400"), ("server_failover_timeout", "20000")]);
    let key = key_of(&stage, 0);
    let old = stage.shards[0].primary();
    let mut client = stage.proxies[0].client();
    assert_eq!(client.ask(&format!("SET {key} before")), OK);
    old.stop();
    // In flight: it may be executed when the server wakes.
    client.send(&words(&format!("APPEND {key} x")));
    let late = client.reply();
    assert!(late.starts_with(b"-"), "{}", show(&late));
    stage.await_switch();
    assert_eq!(client.ask(&format!("SET {key} after")), OK);
    old.cont();
    for n in 0..50 {
        assert_eq!(client.ask(&format!("SET {key} after{n}")), OK);
        let value = format!("after{n}");
        let expected = format!("${}\r\n{value}\r\n", value.len());
        assert_eq!(client.ask(&format!("GET {key}")), expected.as_bytes());
    }
    if role(old).as_deref() == Some("master") {
        let found = old.ask(&format!("GET {key}"));
        assert!(!String::from_utf8_lossy(&found).contains("after"));
    }
}

#[test]
fn replicas_answer_most_reads_and_none_too_old() {
    const MAX_LAG: Duration = Duration::from_secs(1);
    let stage = Stage::new(&[("read_from", "replica")]);
    let key = key_of(&stage, 0);
    let is_over = AtomicBool::new(false);
    // When each version was acknowledged.
    let acked = Mutex::new(vec![Instant::now()]);
    let reads = AtomicU64::new(0);
    let addresses = stage.proxies.each_ref().map(Proxy::address);
    let write = || {
        let mut client = Client::connect(addresses[0]);
        while !is_over.load(Ordering::SeqCst) {
            let version = acked.lock().unwrap().len();
            assert_eq!(client.ask(&format!("SET {key} {version}")), OK);
            acked.lock().unwrap().push(Instant::now());
            // What it wrote itself.
            let own = number(&client.ask(&format!("GET {key}")));
            assert_eq!(own, version);
            thread::park_timeout(Duration::from_millis(5));
        }
    };
    let read = |nth: usize| {
        let mut client = Client::connect(addresses[nth % 2]);
        while !is_over.load(Ordering::SeqCst) {
            let version = number(&client.ask(&format!("GET {key}")));
            let now = Instant::now();
            let next = acked.lock().unwrap().get(version + 1).copied();
            // The clock of the proxy stops before that of the client.
            let age = next.map(|next| now.saturating_duration_since(next));
            assert!(age <= Some(2 * MAX_LAG), "{version}: {age:?}");
            reads.fetch_add(1, Ordering::SeqCst);
        }
    };
    assert_eq!(stage.proxies[0].client().ask(&format!("SET {key} 0")), OK);
    let await_reads = |more: u64| {
        let until = reads.load(Ordering::SeqCst) + more;
        eventually("clients read", || {
            (reads.load(Ordering::SeqCst) >= until).then_some(())
        });
    };
    thread::scope(|scope| {
        let (read, end) = (&read, End(&is_over));
        scope.spawn(write);
        for nth in 0..4 {
            scope.spawn(move || read(nth));
        }
        await_reads(500);
        // It answers nothing for three seconds, and has old values when it wakes.
        let mut sleeper = stage.shards[0].servers[1].client();
        sleeper.send(&words("DEBUG SLEEP 3"));
        await_reads(2000);
        assert_eq!(sleeper.reply(), OK);
        await_reads(2000);
        drop(end);
    });
    let of_replicas: u64 = stage.proxies.iter().map(replica_reads).sum();
    let all = reads.load(Ordering::SeqCst);
    assert!(of_replicas > all / 2, "{of_replicas} of {all}");
}

fn number(reply: &[u8]) -> usize {
    let text = String::from_utf8_lossy(reply).into_owned();
    let digits = text.lines().nth(1).unwrap_or_else(|| panic!("{text}"));
    digits.parse().unwrap()
}

fn replica_reads(proxy: &Proxy) -> u64 {
    proxy.metric("ringroad_server_replica_reads_total{pool=\"p\",server=\"shard0\"}")
}

#[test]
fn waiting_clients_learn_of_a_failover_as_from_redis() {
    let stage = Stage::new(&[("server_failover_timeout", "20000")]);
    let key = key_of(&stage, 0);
    let mut watcher = stage.proxies[0].client();
    watcher.converse(&[(&format!("WATCH {key}"), "+OK\r\n"), ("MULTI", "+OK\r\n")]);
    watcher.converse(&[(&format!("SET {key} 2"), "+QUEUED\r\n")]);
    let mut subscriber = stage.proxies[0].client();
    let _ = subscriber.ask("SUBSCRIBE news");
    stage.shards[0].primary().kill();
    stage.await_switch();
    // Nobody can tell whether the key was changed.
    let reply = watcher.ask("EXEC");
    assert!(
        reply == b"*-1\r\n" || reply.starts_with(b"-EXECABORT"),
        "{}",
        show(&reply)
    );
    assert_eq!(watcher.ask(&format!("GET {key}")), b"$1\r\n1\r\n");
    eventually("the message arrives", || {
        let mut publisher = Client::connect(stage.proxies[1].address());
        (publisher.ask("PUBLISH news hello") == b":1\r\n").then_some(())
    });
    let message = subscriber.reply();
    assert!(show(&message).contains("hello"), "{}", show(&message));
}
