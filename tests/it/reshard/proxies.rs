//! Moves under proxies whose clients work all the time: no write is lost, done twice, or done where nobody looks for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::{Files, START, all_contents, guarded};
use crate::mover::keys::{server, write_all_types};
use crate::support::{Client, Proxy, RedisServer, eventually};

/// The keys of each client.
const KEYS: usize = 150;

/// A client that counts on its own keys and believes no reply that is not the next number.
struct Counting {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl Counting {
    fn start(proxy: &Proxy, name: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut client = proxy.client();
        let thread = thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(name as u64);
            let mut counts = vec![0_u64; KEYS];
            while !stopped.load(Ordering::Relaxed) {
                count_once(&mut client, name, &mut random, &mut counts);
            }
            counts
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Counts up some keys at once, one of a stream too, and reads another one.
fn count_once(client: &mut Client, name: usize, random: &mut fastrand::Rng, counts: &mut [u64]) {
    let keys: Vec<_> = (0..random.usize(1..6))
        .map(|_| random.usize(..KEYS))
        .collect();
    let requests = keys.iter().map(|key| format!("INCR c{name}:{key}\r\n"));
    client.send(requests.collect::<String>().as_bytes());
    for key in keys {
        counts[key] += 1;
        let reply = String::from_utf8(client.reply()).unwrap();
        assert_eq!(reply, format!(":{}\r\n", counts[key]), "c{name}:{key}");
    }
    let key = random.usize(..KEYS);
    client.send(format!("GET c{name}:{key}\r\n").as_bytes());
    let reply = String::from_utf8(client.reply()).unwrap();
    let digits = counts[key].to_string();
    let expected = match counts[key] {
        0 => "$-1\r\n".to_owned(),
        _ => format!("${}\r\n{digits}\r\n", digits.len()),
    };
    assert_eq!(reply, expected, "c{name}:{key}");
}

/// Compares what the servers have with what the clients have counted.
fn check(servers: &[RedisServer], counts: &[Vec<u64>]) {
    for (name, counts) in counts.iter().enumerate() {
        for (key, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let request = format!("GET c{name}:{key}");
            let replies: Vec<_> = servers.iter().map(|server| server.ask(&request)).collect();
            let found: Vec<_> = replies
                .iter()
                .filter(|reply| **reply != b"$-1\r\n")
                .collect();
            let digits = count.to_string();
            let expected = format!("${}\r\n{digits}\r\n", digits.len());
            assert_eq!(found, [expected.as_bytes()], "{request}");
        }
    }
}

#[test]
fn no_count_is_lost_while_keys_move_there_and_back() {
    let servers = [server(), server(), server()];
    let (small, large) = (guarded(&servers[..2]), guarded(&servers));
    let proxies = [Proxy::ringroad(&small), Proxy::ringroad(&small)];
    let mut client = proxies[0].client();
    for n in 0..30 {
        write_all_types(&mut client, &format!("k{n}"));
    }
    let clients: Vec<_> = (0..4)
        .map(|name| Counting::start(&proxies[name % 2], name))
        .collect();
    let there = Files::of(&small, &large);
    there.succeed(START);
    assert!(!servers[2].keys().is_empty());
    let back = Files::of(&large, &small);
    back.succeed(START);
    let counts: Vec<_> = clients.into_iter().map(Counting::stop).collect();
    drop(client);
    check(&servers, &counts);
    back.succeed("verify -c new.yml");
    let left = servers[2].keys();
    assert!(
        left.iter().all(|key| key.starts_with(b"ringroad:")),
        "{left:?}"
    );
    assert!(all_contents(&servers).len() > 400);
}

#[test]
fn no_count_is_lost_when_coordinators_are_killed() {
    let servers = [server(), server(), server()];
    let (small, large) = (guarded(&servers[..2]), guarded(&servers));
    let proxies = [Proxy::ringroad(&small), Proxy::ringroad(&small)];
    let clients: Vec<_> = (0..4)
        .map(|name| Counting::start(&proxies[name % 2], name))
        .collect();
    let files = Files::of(&small, &large);
    let mut random = fastrand::Rng::with_seed(5);
    let process = files.start(START);
    eventually("the move has begun", || {
        files.status()["move"].is_string().then_some(())
    });
    assert!(
        process
            .exit_within(Duration::from_millis(random.u64(..500)))
            .is_none_or(|status| status.success())
    );
    process.kill();
    for _ in 0..6 {
        if files.status()["state"] == "done" {
            break;
        }
        let process = files.start("reshard run -c old.yml --yes");
        process.exit_within(Duration::from_millis(random.u64(200..900)));
        process.kill();
    }
    if files.status()["state"] != "done" {
        files.succeed("reshard run -c old.yml --yes");
    }
    let counts: Vec<_> = clients.into_iter().map(Counting::stop).collect();
    check(&servers, &counts);
    files.succeed("verify -c new.yml");
}

#[test]
fn frozen_proxy_is_shut_out_and_follows_later() {
    let servers = [server(), server()];
    let (small, large) = (guarded(&servers[..1]), guarded(&servers));
    let frozen = Proxy::ringroad(&small);
    let mut client = frozen.client();
    for n in 0..200 {
        assert_eq!(client.ask(&format!("SET k{n} {n}")), b"+OK\r\n");
    }
    frozen.process().freeze();
    let files = Files::of(&small, &large);
    let report = files.succeed(START);
    assert!(report.contains("does not take part"), "{report}");
    frozen.process().signal(Signal::CONT);
    for n in 0..200 {
        // The connections that it had were ended.
        eventually("it knows of the move", || {
            let reply = client.ask(&format!("INCRBY k{n} 0"));
            (reply == format!(":{n}\r\n").as_bytes()).then_some(())
        });
    }
    files.succeed("verify -c new.yml");
    assert!(servers[1].keys().len() > 50);
}

#[test]
fn dbsize_is_the_number_of_keys_before_and_after() {
    let servers = [server(), server()];
    let (small, large) = (guarded(&servers[..1]), guarded(&servers));
    let proxy = Proxy::ringroad(&small);
    let mut client = proxy.client();
    for n in 0..300 {
        assert_eq!(client.ask(&format!("SET k{n} v")), b"+OK\r\n");
    }
    let is_all = |client: &mut Client| client.ask("DBSIZE") == b":300\r\n";
    assert!(is_all(&mut client));
    for (old, new) in [(&small, &large), (&large, &small)] {
        Files::of(old, new).succeed(START);
        eventually("the proxy knows of the end", || {
            client.ask("DBSIZE").starts_with(b":").then_some(())
        });
        assert!(is_all(&mut client));
        // Nor does it count what the move has left at servers that leave, or are added.
        assert!(is_all(&mut Proxy::ringroad(new).client()));
    }
}
