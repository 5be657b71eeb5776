//! A primary that hangs for half a minute under load, and wakes as one. It takes a minute: `make stopped`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::OK;
use super::shards::{End, Stage};
use crate::support::{Client, Proxy, eventually, role, show};

const STOPPED_FOR: Duration = Duration::from_secs(30);

/// What the clients have seen together.
struct Seen {
    is_over: AtomicBool,
    /// From now on, new keys have this beginning.
    has_switched: AtomicBool,
    rounds: AtomicU64,
    errors: AtomicU64,
    longest: Mutex<Duration>,
}

impl Seen {
    fn ask(&self, client: &mut Client, request: &str) -> Vec<u8> {
        let begun = Instant::now();
        let reply = client.ask(request);
        let took = begun.elapsed();
        let mut longest = self.longest.lock().unwrap();
        *longest = took.max(*longest);
        if reply.starts_with(b"-") {
            self.errors.fetch_add(1, Ordering::SeqCst);
        }
        reply
    }

    /// Writes and reads until it is over. A late reply would be the answer to another request: each has its own.
    fn work(&self, nth: usize, mut client: Client) {
        for round in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let begin = if self.has_switched.load(Ordering::SeqCst) {
                "late"
            } else {
                "early"
            };
            let key = format!("{begin}:{nth}:{round}");
            let set = self.ask(&mut client, &format!("SET {key} {key}"));
            let length = self.ask(&mut client, &format!("APPEND {key} {round}"));
            let get = self.ask(&mut client, &format!("GET {key}"));
            let (value, digits) = (format!("{key}{round}"), round.to_string());
            let values = [&value, &key, &digits].map(|text| super::bulk(text));
            // Of what was in flight nobody knows whether it was done.
            let is_own = get.starts_with(b"-") || get == b"$-1\r\n" || values.contains(&get);
            let is_certain = set == OK && !length.starts_with(b"-") && begin == "late";
            assert!(is_own, "{key}: {}", show(&get));
            assert!(
                !is_certain || get.starts_with(b"-") || get == values[0],
                "{key}: {}",
                show(&get)
            );
            assert!(set == OK || set.starts_with(b"-"), "{key}: {}", show(&set));
            let expected = format!(":{}\r\n", value.len());
            let is_length = length.starts_with(b":") || length.starts_with(b"-");
            assert!(is_length, "{key}: {}", show(&length));
            assert!(
                !is_certain || length == expected.as_bytes(),
                "{key}: {}",
                show(&length)
            );
            self.rounds.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn await_rounds(&self, more: u64) {
        let until = self.rounds.load(Ordering::SeqCst) + more;
        eventually("clients go on", || {
            (self.rounds.load(Ordering::SeqCst) >= until).then_some(())
        });
    }
}

#[test]
#[ignore = "takes a minute"]
fn primary_that_hangs_for_half_a_minute_gets_nothing_late() {
    let stage = Stage::new(&[("timeout", "400"), ("server_failover_timeout", "20000")]);
    let seen = Seen {
        is_over: AtomicBool::new(false),
        has_switched: AtomicBool::new(false),
        rounds: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        longest: Mutex::default(),
    };
    let old = stage.shards[0].primary();
    let addresses = stage.proxies.each_ref().map(Proxy::address);
    thread::scope(|scope| {
        let (seen, end) = (&seen, End(&seen.is_over));
        let clients: Vec<_> = (0..16)
            .map(|nth| scope.spawn(move || seen.work(nth, Client::connect(addresses[nth % 2]))))
            .collect();
        seen.await_rounds(500);
        let stopped = Instant::now();
        old.stop();
        stage.await_switch();
        let switched = stopped.elapsed();
        seen.has_switched.store(true, Ordering::SeqCst);
        let rounds = seen.rounds.load(Ordering::SeqCst);
        while stopped.elapsed() < STOPPED_FOR {
            assert!(
                !clients.iter().any(thread::ScopedJoinHandle::is_finished),
                "a client has failed"
            );
            thread::park_timeout(Duration::from_millis(100));
        }
        let during = seen.rounds.load(Ordering::SeqCst) - rounds;
        old.cont();
        let woken = Instant::now();
        let mut looks = 0;
        eventually("the old primary is a replica", || {
            let before = role(old)?;
            let late = old.ask("EVAL return(#redis.call('KEYS','late:*')) 0");
            if before == "slave" || role(old)? == "slave" {
                return Some(());
            }
            looks += 1;
            assert_eq!(
                late, b":0\r\n",
                "written at the old primary after the switch"
            );
            None
        });
        let demoted = woken.elapsed();
        seen.await_rounds(500);
        drop(end);
        for client in clients {
            client.join().unwrap();
        }
        let (errors, longest) = (
            seen.errors.load(Ordering::SeqCst),
            seen.longest.lock().unwrap(),
        );
        println!(
            "switch after {switched:?}; {during} rounds while it was stopped; {errors} errors; longest wait {longest:?}; \
             a primary for {demoted:?} after it woke, without a late key at {looks} looks"
        );
        assert!(
            errors <= 16,
            "each client had one request in flight: {errors}"
        );
        assert!(looks > 0, "it woke as a primary");
    });
}
