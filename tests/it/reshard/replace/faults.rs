//! Coordinators that die or are frozen, and servers that restart, while a server is replaced.

use std::time::Duration;

use rustix::process::Signal;

use super::{RUN, START, WATCHED, count, counting, files, is_primary, servers};
use crate::mover::keys::{assert_same, contents};
use crate::reshard::guarded;
use crate::support::{Process, Proxy, eventually};

#[test]
fn coordinator_of_a_replacement_may_be_killed_at_any_time() {
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..3 {
        let servers = servers();
        let [first, second, third] = servers.each_ref();
        let files = files([first, second, third]);
        let proxy = Proxy::ringroad(&guarded([first, second]));
        let mut counts = counting(&proxy, || {
            let mut kills = 0;
            let mut process = files.start(START);
            loop {
                let life = Duration::from_millis(random.u64(30..700));
                let ended = process.exit_within(life);
                let state = files.status()["state"].clone();
                if state == "done" {
                    break;
                }
                assert!(
                    ended.is_none() || kills < 3,
                    "{ended:?} {}",
                    process.output()
                );
                process.kill();
                kills += 1;
                process = files.start(if state.is_string() { RUN } else { START });
                if kills > 8 {
                    assert_eq!(process.exit().code(), Some(0), "{}", process.output());
                    break;
                }
            }
        });
        // Nobody asks it any more.
        second.kill();
        let proxy = Proxy::ringroad(&guarded([first, third]));
        count(&mut proxy.client(), &mut counts);
        assert!(is_primary(third));
    }
}

/// A coordinator that is frozen at some moment, and wakes when another has done its work.
#[test]
fn zombie_makes_no_replica_of_a_server_that_was_committed() {
    let mut woken = 0;
    for milliseconds in [0, 20, 50, 100, 150, 200, 250, 300, 400, 600] {
        let servers = servers();
        let [first, second, third] = servers.each_ref();
        let files = files([first, second, third]);
        let proxy = Proxy::ringroad(&guarded([first, second]));
        let expected = contents(second, 0);
        let zombie: Process = files.start(START);
        // Its connections are named by then.
        eventually("it leads", || {
            files.status()["move"].is_string().then_some(())
        });
        if zombie
            .exit_within(Duration::from_millis(milliseconds))
            .is_some()
        {
            break;
        }
        zombie.freeze();
        let state = files.status()["state"].clone();
        counting(&proxy, || {
            if state != "done" {
                files.succeed(RUN);
            }
            zombie.signal(Signal::CONT);
            let code = zombie.exit().code();
            // It has ended the move, or was late.
            assert!(code != Some(0) || state == "done", "{}", zombie.output());
            assert!(is_primary(third), "{milliseconds}: {}", zombie.output());
        });
        files.succeed("verify -c new.yml");
        let mut found = contents(third, 0);
        found.retain(|key, _| !key.starts_with(b"n"));
        assert_same(&found, &expected);
        woken += 1;
    }
    assert!(woken > 2, "{woken}");
}

#[test]
fn taker_that_restarts_while_it_copies_begins_again() {
    let mut servers = servers();
    let files = files(servers.each_ref());
    let expected = contents(&servers[1], 0);
    servers[1].ask("CONFIG SET repl-diskless-sync-delay 600");
    let process = files.start(WATCHED);
    eventually("it is a replica", || {
        (!is_primary(&servers[2])).then_some(())
    });
    servers[2].restart();
    servers[1].ask("CONFIG SET repl-diskless-sync-delay 0");
    assert_eq!(process.exit().code(), Some(0), "{}", process.output());
    process.await_output("beginning anew");
    files.succeed("verify -c new.yml");
    assert_same(&contents(&servers[2], 0), &expected);
}

/// Whether it was also restarted, with nothing, before the next coordinator came.
#[test]
fn promoted_server_that_was_not_committed_copies_again() {
    for is_restarted in [false, true] {
        let mut servers = servers();
        let files = files(servers.each_ref());
        let proxy = Proxy::ringroad(&guarded(&servers[..2]));
        servers[1].ask("CONFIG SET repl-diskless-sync-delay 600");
        let process = files.start(WATCHED);
        eventually("it is a replica", || {
            (!is_primary(&servers[2])).then_some(())
        });
        // A primary takes no writes with that, and so it gets no mark of its own.
        servers[2].ask("CONFIG SET min-replicas-to-write 1");
        servers[1].ask("CONFIG SET repl-diskless-sync-delay 0");
        assert_eq!(process.exit().code(), Some(2), "{}", process.output());
        assert!(
            process.output().contains("NOREPLICAS"),
            "{}",
            process.output()
        );
        assert!(is_primary(&servers[2]));
        let counts = counting(&proxy, || {
            if is_restarted {
                servers[2].restart();
            }
            servers[2].ask("CONFIG SET min-replicas-to-write 0");
            files.succeed(RUN);
        });
        files.succeed("verify -c new.yml");
        let mut client = proxy.client();
        for (key, count) in counts.iter().enumerate() {
            let expected = format!(":{}\r\n", count + 1);
            client.converse(&[(&format!("INCR n{key}"), &expected)]);
        }
        assert!(is_primary(&servers[2]) && !servers[2].keys().is_empty());
    }
}
