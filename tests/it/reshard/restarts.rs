//! Coordinators that die, are frozen, or are two; servers that restart.

use std::time::Duration;

use rustix::process::Signal;

use super::{Files, START, all_contents, fill, guarded};
use crate::mover::keys::{assert_same, contents, server, tell};
use crate::support::{Pool, Process, RedisServer, eventually};

const RUN: &str = "reshard run -c old.yml --yes";

#[test]
fn coordinator_may_be_killed_at_any_time() {
    let servers = [server(), server(), server()];
    let files = Files::of(&guarded(&servers[..2]), &guarded(&servers));
    fill(&Pool::of(&servers[..2]), 60);
    let expected = all_contents(&servers);
    let mut random = fastrand::Rng::with_seed(11);
    let mut process = files.start(START);
    let mut kills = 0;
    loop {
        let life = Duration::from_millis(random.u64(20..600));
        if let Some(status) = process.exit_within(life) {
            let is_ended = files.status()["state"] == "done";
            // It may have been started before there was a mark, or after the end.
            assert!(is_ended || kills < 3, "{status:?}: {}", process.output());
            if is_ended {
                break;
            }
        }
        process.kill();
        kills += 1;
        let is_begun = files.status()["move"].is_string();
        if files.status()["state"] == "done" {
            break;
        }
        // It gets further if it lives longer.
        process = files.start(if is_begun { RUN } else { START });
        if kills > 12 {
            assert_eq!(process.exit().code(), Some(0), "{}", process.output());
            break;
        }
    }
    files.succeed("verify -c new.yml");
    assert_same(&all_contents(&servers), &expected);
}

#[test]
fn second_coordinator_takes_over_from_a_frozen_one() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 60);
    let expected = all_contents(&servers);
    let first = files.start(&format!("{START} --rate 300"));
    eventually("keys are copied", || {
        (servers[1].keys().len() > 5).then_some(())
    });
    first.freeze();
    files.succeed(RUN);
    first.signal(Signal::CONT);
    assert_eq!(first.exit().code(), Some(2));
    first.await_output("another coordinator has taken over");
    files.succeed("verify -c new.yml");
    assert_same(&all_contents(&servers), &expected);
}

#[test]
fn two_starts_at_once_are_one_move() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 60);
    let expected = all_contents(&servers);
    let both = [files.start(START), files.start(START)];
    let codes = both.each_ref().map(|process| process.exit().code());
    let texts = both.each_ref().map(Process::output);
    assert!(codes.contains(&Some(0)), "{codes:?} {texts:#?}");
    files.succeed("verify -c new.yml");
    assert_same(&all_contents(&servers), &expected);
}

#[test]
fn signal_stops_it_and_run_goes_on() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 60);
    let expected = all_contents(&servers);
    let process = files.start(&format!("{START} --rate 300"));
    eventually("keys are copied", || {
        (servers[1].keys().len() > 5).then_some(())
    });
    process.signal(Signal::INT);
    assert_eq!(process.exit().code(), Some(1));
    process.await_output("'ringroad reshard run' goes on");
    assert!(files.status()["next"].as_str().unwrap().contains("run"));
    files.succeed(RUN);
    assert_same(&all_contents(&servers), &expected);
}

/// Restarts the source of a move when `is_time`, with what it had saved before the first commit; it is moved in the end.
fn source_restarts(is_time: impl Fn(&RedisServer) -> bool) {
    let mut servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 60);
    let expected = all_contents(&servers);
    let process = files.start(&format!("{START} --rate 700"));
    eventually("keys are copied", || {
        (servers[1].keys().len() > 5).then_some(())
    });
    assert_eq!(servers[0].ask("SAVE"), b"+OK\r\n");
    eventually("it is time", || is_time(&servers[1]).then_some(()));
    servers[0].restart();
    assert_eq!(process.exit().code(), Some(0), "{}", process.output());
    process.await_output("beginning anew");
    files.succeed("verify -c new.yml");
    assert_same(&all_contents(&servers), &expected);
}

#[test]
fn source_that_restarts_is_settled_by_a_new_term() {
    source_restarts(|_| true);
}

#[test]
fn commits_that_a_source_forgets_are_known_from_copies() {
    source_restarts(|destination| {
        let moved = destination.ask("HGET ringroad:mark:p:0 moved@s0");
        let digits = moved.split(|byte| *byte == b'\n').nth(1);
        digits.is_some_and(|digits| digits.iter().filter(|digit| **digit != b'0').count() > 4)
    });
}

#[test]
fn end_that_a_failover_has_lost_is_written_again() {
    let servers = [server(), server(), server()];
    let files = Files::of(&guarded(&servers[..2]), &guarded(&servers));
    fill(&Pool::of(&servers[..2]), 60);
    let expected = all_contents(&servers);
    files.succeed(START);
    let armed = servers[1].ask("HSET ringroad:mark:p:0 state armed");
    assert_eq!(armed, b":0\r\n");
    files.succeed("reshard start -c new.yml --to old.yml --yes");
    files.succeed("verify -c old.yml");
    assert_same(&all_contents(&servers), &expected);
}

#[test]
fn deleted_mark_beside_an_intent_asks_the_operator() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 20);
    let process = files.start(&format!("{START} --rate 100"));
    eventually("the move has begun", || {
        (servers[1].ask("EXISTS ringroad:mark:p:0") == b":1\r\n").then_some(())
    });
    process.kill();
    let mut client = servers[0].client();
    let info = String::from_utf8(tell(&mut client, "INFO server")).unwrap();
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    drop(client);
    let buckets = format!("8{}", "0".repeat(255));
    let intent = format!("99999999999 {buckets} {}", run.unwrap());
    let mut client = servers[1].client();
    crate::mover::keys::ask(
        &mut client,
        &["HSET", "ringroad:mark:p:0", "intent@s0", intent.trim()],
    );
    servers[0].ask("DEL ringroad:mark:p:0");
    let (code, text) = files.run("reshard run -c new.yml --yes");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("its mark was deleted"), "{text}");
    assert!(!contents(&servers[0], 0).is_empty());
}
