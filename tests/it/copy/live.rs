//! Copies that follow a live load, and what may happen to them.

use rustix::process::Signal;
use serde_json::Value;

use super::{Files, Writer, assert_same, await_expiries, contents, server, tell, write_all_types};
use crate::support::{Pool, Process, RedisServer, eventually};

const FOLLOWING: &str = "all keys are copied; following the changes";

/// A copy of one server to another one that follows the changes.
struct Copying {
    from: RedisServer,
    to: RedisServer,
    process: Process,
    _files: Files,
}

impl Copying {
    fn start(args: &[&str]) -> Self {
        Self::of(server(), args)
    }

    fn of(from: RedisServer, args: &[&str]) -> Self {
        let to = server();
        for n in 0..50 {
            write_all_types(&mut from.client(), &format!("k{n}"));
        }
        let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
        let process = files.start(args);
        process.await_output(FOLLOWING);
        Self {
            from,
            to,
            process,
            _files: files,
        }
    }

    /// Tells it to end, and compares the servers.
    fn end(&self, signal: Signal) -> String {
        self.process.signal(signal);
        let status = self.process.exit();
        let report = self.process.output();
        assert_eq!(status.code(), Some(0), "{report}");
        await_expiries(&self.from);
        assert_same(&contents(&self.to, 0), &contents(&self.from, 0));
        report
    }
}

#[test]
fn changes_are_followed_until_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let from = server();
        let writers = [1, 2].map(|seed| Writer::start(&from, seed));
        let copying = Copying::of(from, &[]);
        // A change that is made now is there in a moment.
        copying.from.ask("SET canary v");
        eventually("the canary is copied", || {
            (copying.to.ask("GET canary") == b"$1\r\nv\r\n").then_some(())
        });
        for writer in writers {
            writer.stop();
        }
        let mut client = copying.from.client();
        assert_eq!(tell(&mut client, "XACK k7:stream g 1-1"), b":1\r\n");
        let report = copying.end(signal);
        assert!(report.contains("copying what is left; a second signal ends at once\n"));
        assert!(report.contains("nothing is left of what was written before the end"));
    }
}

#[test]
fn end_before_all_keys_are_copied_is_no_success() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    for n in 0..3000 {
        tell(&mut client, &format!("SET k{n} v"));
    }
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    let process = files.start(&["--rate", "500"]);
    eventually("keys are copied", || (!to.keys().is_empty()).then_some(()));
    process.signal(Signal::TERM);
    assert_eq!(process.exit().code(), Some(1));
    let report = process.output();
    let line = "stopped: not all keys of pool 'p' are copied to pool 'p'\n";
    assert!(report.contains(line), "{report}");
}

#[test]
fn feed_that_is_cut_makes_it_start_anew() {
    let copying = Copying::start(&[]);
    // Deleted while nobody listens: the new start finds the copy.
    copying.process.freeze();
    copying.from.ask("CLIENT KILL TYPE pubsub");
    copying.from.ask("DEL k1:string");
    copying.from.ask("SET k1:number 43");
    copying.process.signal(Signal::CONT);
    copying.process.await_output("starting anew: server 's0'");
    eventually("the copy is gone", || {
        (copying.to.ask("EXISTS k1:string") == b":0\r\n").then_some(())
    });
    eventually("the change is copied", || {
        (copying.to.ask("GET k1:number") == b"$2\r\n43\r\n").then_some(())
    });
    await_second_start(&copying);
    copying.end(Signal::INT);
}

/// Waits until the second scan is complete, so that the end is one.
fn await_second_start(copying: &Copying) {
    eventually("it says again that all keys are copied", || {
        let output = copying.process.output();
        (output.matches(FOLLOWING).count() == 2).then_some(())
    });
}

#[test]
fn flush_of_the_source_makes_it_start_anew() {
    let copying = Copying::start(&[]);
    copying.from.ask("FLUSHALL");
    write_all_types(&mut copying.from.client(), "after");
    copying.process.await_output("its keys were flushed");
    eventually("the copies are gone", || {
        (copying.to.keys().len() == 16).then_some(())
    });
    await_second_start(&copying);
    copying.end(Signal::TERM);
}

#[test]
fn source_that_comes_back_empty_costs_no_copies() {
    let mut copying = Copying::start(&[]);
    let copies = copying.to.keys().len();
    copying.from.restart();
    assert_eq!(copying.process.exit().code(), Some(2));
    let output = copying.process.output();
    assert!(output.contains("it came back without its keys"), "{output}");
    assert_eq!(copying.to.keys().len(), copies);
}

#[test]
fn full_destination_is_told_and_waited_for() {
    let copying = Copying::start(&["--json"]);
    copying.to.ask("CONFIG SET maxmemory 1");
    copying.from.ask("SET more v");
    copying
        .process
        .await_output("it has no memory for more keys");
    let paused = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["event"] == "progress" && line["paused"].is_string()
    };
    eventually("the progress says so", || {
        copying.process.output().lines().any(paused).then_some(())
    });
    copying.to.ask("CONFIG SET maxmemory 0");
    let report = copying.end(Signal::TERM);
    let end: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!(end["equal"], true);
}

#[test]
fn full_destination_at_the_end_is_no_success() {
    let copying = Copying::start(&[]);
    copying.to.ask("CONFIG SET maxmemory 1");
    copying.from.ask("SET more v");
    copying.process.await_output("paused: server 's0'");
    copying.process.signal(Signal::TERM);
    assert_eq!(copying.process.exit().code(), Some(1));
    let report = copying.process.output();
    assert!(
        report.contains("keys of pool 'p' have changed and are not copied\n"),
        "{report}"
    );
    let reason = format!(
        "note: paused at the end: server 's0' ({})",
        copying.to.address()
    );
    assert!(report.contains(&reason), "{report}");
}

#[test]
fn second_signal_ends_at_once() {
    let copying = Copying::start(&[]);
    // It waits for this server, which answers nothing.
    copying.to.stop();
    copying.from.ask("SET more v");
    copying.process.signal(Signal::INT);
    copying.process.await_output("copying what is left");
    copying.process.signal(Signal::INT);
    assert_eq!(copying.process.exit().code(), Some(1));
    copying.to.cont();
}

#[test]
fn source_that_becomes_a_replica_ends_it() {
    let copying = Copying::start(&[]);
    let (ip, port) = (copying.to.address().ip(), copying.to.address().port());
    copying.from.ask(&format!("REPLICAOF {ip} {port}"));
    assert_eq!(copying.process.exit().code(), Some(2));
    let report = copying.process.output();
    assert!(
        report.contains("it is no primary, but a 'slave'"),
        "{report}"
    );
}
