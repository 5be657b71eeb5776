//! Facts and the topologies that follow from them.

mod deferred;
mod roles;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::topology::ServerIndex;

const SERVERS: usize = 4;
const RETRY_TIMEOUT: Duration = Duration::from_millis(100);
const WALL: SystemTime = UNIX_EPOCH;

fn config(text: &str) -> Arc<PoolConfig> {
    let servers: Vec<_> = (0..SERVERS)
        .map(|index| format!("'127.0.0.1:{}:1 s{index}'", index + 1))
        .collect();
    let yaml = format!(
        "p: {{listen: 127.0.0.1:1, hash: murmur, {text}, servers: [{}]}}",
        servers.join(", ")
    );
    Arc::new(Config::parse(&yaml, "F").unwrap().pools.remove(0))
}

fn server(pool: &TopologyStore, index: u16) -> Arc<PoolServer> {
    let topology = pool.topology();
    Arc::clone(topology.server(ServerIndex::new(index)).unwrap())
}

fn ejecting_pool(failure_limit: u32, start: Instant) -> TopologyStore {
    let ms = RETRY_TIMEOUT.as_millis();
    let text = format!(
        "auto_eject_hosts: true, server_failure_limit: {failure_limit}, server_retry_timeout: {ms}, server_probe_interval: 0"
    );
    TopologyStore::new(config(&text), start)
}

fn owners(topology: &Topology) -> Vec<bool> {
    let mut owners = vec![false; SERVERS];
    for key in 0..200_u32 {
        if let Some(server) = topology.router.route(&key.to_le_bytes()) {
            owners[server.index()] = true;
        }
    }
    owners
}

#[test]
fn ejection_and_return_are_published_and_counted() {
    let start = Instant::now();
    let pool = ejecting_pool(2, start);
    let server = server(&pool, 2);
    let wall = UNIX_EPOCH + Duration::from_micros(1_234_567);
    assert_eq!(pool.on_failure(&server, start, start, WALL), None);
    assert_eq!((pool.epoch(), pool.ejections()), (0, 0));

    assert!(pool.on_failure(&server, start, start, wall).is_some());
    assert_eq!((pool.epoch(), pool.ejections()), (1, 1));
    assert_eq!(pool.ejected_at_us(), [("s2".to_owned(), 1_234_567)]);
    assert_eq!(pool.topology().live, [true, true, false, true]);

    assert_eq!(pool.on_request(start + RETRY_TIMEOUT), []);
    let later = start + RETRY_TIMEOUT + Duration::from_micros(1);
    let returned = pool.on_request(later);
    assert_eq!(returned.len(), 1);
    assert_eq!(returned[0].server, server.id);
    assert_eq!((pool.epoch(), pool.ejections()), (2, 1));
    assert_eq!(pool.ejected_at_us(), [("s2".to_owned(), 1_234_567)]);
    assert_eq!(pool.topology().live, [true; SERVERS]);
}

#[test]
fn watchers_are_notified_of_changes_only() {
    let start = Instant::now();
    let pool = ejecting_pool(2, start);
    let server = server(&pool, 2);
    let changes = pool.changes();
    let is_notified = |changes: &watch::Receiver<()>| changes.has_changed().unwrap();
    assert!(pool.on_failure(&server, start, start, WALL).is_none());
    assert!(!is_notified(&changes));
    assert!(pool.on_failure(&server, start, start, WALL).is_some());
    assert!(is_notified(&changes));
    let changes = pool.changes();
    assert!(!is_notified(&changes));
    assert_eq!(pool.on_request(start + 2 * RETRY_TIMEOUT).len(), 1);
    assert!(is_notified(&changes));
}

#[test]
fn first_reply_after_a_failure_resets_it() {
    let start = Instant::now();
    let pool = ejecting_pool(2, start);
    let server = server(&pool, 0);
    for _ in 0..5 {
        assert_eq!(pool.on_failure(&server, start, start, WALL), None);
        pool.on_reply(&server);
    }
    assert_eq!(pool.epoch(), 0);
}

#[test]
fn all_ejected_leaves_keys_without_an_owner() {
    let start = Instant::now();
    let pool = ejecting_pool(1, start);
    for index in 0..SERVERS {
        let server = server(&pool, u16::try_from(index).unwrap());
        assert!(pool.on_failure(&server, start, start, WALL).is_some());
    }
    assert_eq!(pool.topology().router.route(b"any"), None);
    let later = start + RETRY_TIMEOUT + Duration::from_millis(1);
    assert_eq!(pool.on_request(later).len(), SERVERS);
    assert!(pool.topology().router.route(b"any").is_some());
}

#[test]
fn without_a_policy_the_topology_never_changes() {
    let start = Instant::now();
    let pool = TopologyStore::new(config("redis: true"), start);
    for _ in 0..100 {
        assert_eq!(pool.on_failure(&server(&pool, 1), start, start, WALL), None);
    }
    assert_eq!(pool.on_request(start + Duration::from_secs(3600)), []);
    assert_eq!((pool.epoch(), pool.ejections()), (0, 0));
}

#[test]
fn server_of_no_pool_changes_nothing() {
    let start = Instant::now();
    let pool = ejecting_pool(1, start);
    let stranger = PoolServer::new("s0".into(), "127.0.0.1:1".parse().unwrap());
    assert_eq!(pool.on_failure(&stranger, start, start, WALL), None);
    pool.on_reply(&stranger);
    assert_eq!(pool.epoch(), 0);
}

#[test]
fn only_one_worker_reports_each_transition() {
    const WORKERS: usize = 8;
    const ROUNDS: u32 = 50;
    let start = Instant::now();
    let pool = ejecting_pool(1, start);
    let server = server(&pool, 1);
    let barrier = Barrier::new(WORKERS);
    let work = || {
        let (mut ejected, mut returned) = (0, 0);
        for round in 0..ROUNDS {
            let now = start + 2 * round * RETRY_TIMEOUT;
            barrier.wait();
            ejected += usize::from(pool.on_failure(&server, now, now, WALL).is_some());
            barrier.wait();
            let topology = pool.topology();
            assert_eq!(topology.epoch, pool.epoch());
            assert!(!topology.live[1]);
            barrier.wait();
            let later = now + RETRY_TIMEOUT + Duration::from_millis(1);
            returned += pool.on_request(later).len();
            barrier.wait();
            assert!(pool.topology().live[1]);
            pool.on_reply(&server);
        }
        (ejected, returned)
    };
    let (ejected, returned) = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let rounds = ROUNDS as usize;
    assert_eq!((ejected, returned), (rounds, rounds));
    assert_eq!(pool.ejections(), u64::from(ROUNDS));
    assert_eq!(pool.epoch(), 2 * u64::from(ROUNDS));
}

#[derive(Debug, Clone)]
enum Event {
    Failure { server: u16, age_ms: u64 },
    Reply { server: u16 },
    Request,
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let server = 0..u16::try_from(SERVERS).unwrap();
    let event = prop_oneof![
        3 => (server.clone(), 0..30_u64).prop_map(|(server, age_ms)| Event::Failure { server, age_ms }),
        1 => server.prop_map(|server| Event::Reply { server }),
        2 => Just(Event::Request),
    ];
    (0..40_u64, event)
}

proptest! {
    /// Whatever happens, workers see the set that the transitions add up to, and a router that agrees with it.
    #[test]
    fn router_live_set_and_transitions_agree(
        limit in 0..4_u32,
        events in prop::collection::vec(event(), 1..60),
    ) {
        let start = Instant::now();
        let pool = ejecting_pool(limit, start);
        let mut live = vec![true; SERVERS];
        let (mut changes, mut ejections) = (0, 0);
        let mut now = start;
        for (pause_ms, event) in events {
            now += Duration::from_millis(pause_ms);
            let transitions = match event {
                Event::Failure { server, age_ms } => {
                    let age = Duration::from_millis(age_ms);
                    let since = now.checked_sub(age).unwrap_or(start);
                    Vec::from_iter(pool.on_failure(&self::server(&pool, server), since, now, WALL))
                }
                Event::Reply { server } => {
                    pool.on_reply(&self::server(&pool, server));
                    Vec::new()
                }
                Event::Request => pool.on_request(now),
            };
            changes += u64::from(!transitions.is_empty());
            for transition in transitions {
                let index = pool.topology().index_of(transition.server).unwrap();
                let is_live = &mut live[index.index()];
                let returns = transition.change == HealthChange::Returned;
                prop_assert_ne!(*is_live, returns, "a transition changes something");
                *is_live = returns;
                ejections += u64::from(!returns);
            }
            let topology = pool.topology();
            prop_assert_eq!(&topology.live, &live);
            prop_assert_eq!(&owners(&topology), &live);
            prop_assert_eq!((topology.epoch, pool.epoch()), (changes, changes));
            prop_assert_eq!(pool.ejections(), ejections);
        }
    }
}

/// What one source says.
#[derive(Debug, Clone)]
enum Word {
    File { weight: u32, hash: &'static str },
    Operator { server: u16, drained: bool },
    Health { server: u16, ejected: bool },
}

fn word() -> impl Strategy<Value = Word> {
    let server = 0..u16::try_from(SERVERS).unwrap();
    let hash = prop::sample::select(&["murmur", "md5"][..]);
    prop_oneof![
        (1..4_u32, hash).prop_map(|(weight, hash)| Word::File { weight, hash }),
        (server.clone(), any::<bool>())
            .prop_map(|(server, drained)| Word::Operator { server, drained }),
        (server, any::<bool>()).prop_map(|(server, ejected)| Word::Health { server, ejected }),
    ]
}

fn tell(pool: &TopologyStore, word: &Word, now: Instant) {
    match *word {
        Word::File { weight, hash } => {
            let text = format!("auto_eject_hosts: true, timeout: {weight}");
            let mut config = PoolConfig::clone(&config(&text));
            config.hash = crate::hash::HashKind::from_name(hash).unwrap();
            config.servers[0].weight = weight;
            pool.set_config(Arc::new(config));
        }
        Word::Operator { server, drained } => {
            pool.set_drained(&self::server(pool, server), drained);
        }
        Word::Health { server, ejected } => {
            let server = self::server(pool, server);
            if ejected {
                let _ = pool.eject(&server, now, WALL);
            } else {
                let _ = pool.admit(&server);
            }
        }
    }
}

proptest! {
    /// Only the last word of each source counts, in whatever order the sources speak.
    #[test]
    fn topology_follows_from_the_last_word_of_each_source(
        words in prop::collection::vec(word(), 1..30),
    ) {
        let start = Instant::now();
        let first = Word::File { weight: 1, hash: "murmur" };
        let pool = ejecting_pool(1, start);
        tell(&pool, &first, start);
        for word in &words {
            tell(&pool, word, start);
        }
        let is_file = |word: &&Word| matches!(word, Word::File { .. });
        let last_file = words.iter().rev().find(is_file).unwrap_or(&first);
        let other = ejecting_pool(1, start);
        tell(&other, last_file, start);
        // The other sources in reverse, each with its last word about each server.
        let mut heard = Vec::new();
        for word in words.iter().rev() {
            let about = match *word {
                Word::File { .. } => continue,
                Word::Operator { server, .. } => (0, server),
                Word::Health { server, .. } => (1, server),
            };
            if !heard.contains(&about) {
                heard.push(about);
                tell(&other, word, start);
            }
        }
        let (one, other) = (pool.topology(), other.topology());
        prop_assert_eq!(&one.live, &other.live);
        for key in 0..100_u32 {
            let key = key.to_le_bytes();
            prop_assert_eq!(one.router.route(&key), other.router.route(&key));
        }
    }
}
