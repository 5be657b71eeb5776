//! The time in which both processes serve: nothing changes where keys are, and what becomes of one is about both.

use std::net::TcpStream;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::site::{MORE, Site, await_end, binary};
use crate::support::{Client, Process, eventually};

/// A client that keeps the old process: it is in a transaction.
fn client_that_stays(site: &Site) -> Client {
    let mut client = site.client();
    client.converse(&[("MULTI", "+OK\r\n"), ("INCR x", "+QUEUED\r\n")]);
    client
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn nothing_changes_while_both_processes_serve() {
    let site = Site::start();
    let mut client = client_that_stays(&site);
    let new = site.upgrade();
    let old = format!("process {}", site.process().pid());
    let changes = [
        &["reload"][..],
        &["drain", "s1"],
        &["admit", "s1"],
        &["eject", "s1"],
        &["failover", "s1"],
        &["upgrade"],
    ];
    for change in changes {
        let words = site.refusal(change);
        let is_explained = words.contains("still handing over its clients")
            && words.contains(&old)
            && words.contains("when it has ended");
        assert!(is_explained, "{change:?}: {words}");
    }
    let more = format!(
        "more:\n  listen: {}:{MORE}\n  redis: true\n  servers:\n    - {}:1 s0\n",
        site.address().ip(),
        site.server(0).address()
    );
    site.rewrite_conf(|yaml| yaml + &more);
    signal(new, Signal::HUP);
    site.process()
        .await_output("this process does so then, if it is still there");
    assert!(TcpStream::connect((site.address().ip(), MORE)).is_err());
    client.converse(&[("EXEC", "*1\r\n:1\r\n")]);
    assert_eq!(site.process().exit().code(), Some(0));
    // The signal is made up for.
    eventually("the new pool is served", || {
        TcpStream::connect((site.address().ip(), MORE)).ok()
    });
    site.ctl(&["drain", "s1"]);
    client.converse(&[("PING", "+PONG\r\n")]);
}

#[test]
fn stop_of_the_new_process_ends_both() {
    for stop in [None, Some(Signal::TERM), Some(Signal::INT)] {
        let site = Site::start();
        let mut stays = client_that_stays(&site);
        let mut moves = site.client();
        moves.converse(&[("PING", "+PONG\r\n")]);
        let new = site.upgrade();
        match stop {
            None => drop(site.ctl(&["stop"])),
            Some(number) => signal(new, number),
        }
        let said = || format!("{stop:?}: {}", site.process().output());
        assert_eq!(site.process().exit().code(), Some(0), "{}", said());
        await_end(new);
        stays.expect_close();
        moves.expect_close();
        for file in ["ctl.sock", "pid"] {
            assert!(!site.dir().join(file).exists(), "{file}: {}", said());
        }
        let old = site.process().pid();
        site.process().await_output(&format!("done pid={old}"));
        let is_told = site.process().output().contains("draining pid=");
        assert!(is_told, "{}", said());
    }
}

#[test]
fn hung_new_process_is_killed_and_the_upgrade_fails() {
    let site = Site::start();
    let mut client = client_that_stays(&site);
    let mut upgrade = Command::new(binary());
    upgrade
        .args(["ctl", "--admin"])
        .arg(site.socket())
        .arg("upgrade");
    let upgrade = Process::spawn(upgrade);
    site.process()
        .await_output("upgrade: the new process serves");
    let new = site.pid_file().parse().unwrap();
    signal(new, Signal::STOP);
    assert_eq!(upgrade.exit().code(), Some(1), "{}", upgrade.output());
    upgrade.await_output("no answer of the other process within 5s");
    await_end(new);
    site.assert_serves(site.process().pid());
    client.converse(&[("EXEC", "*1\r\n:1\r\n")]);
    site.upgrade();
    client.converse(&[("INCR x", ":2\r\n")]);
}

#[test]
fn client_on_its_way_to_a_hung_process_is_served() {
    let site = Site::start();
    let mut stays = client_that_stays(&site);
    let mut moves = site.client();
    moves.converse(&[("PING", "+PONG\r\n")]);
    let new = site.upgrade();
    signal(new, Signal::STOP);
    stays.converse(&[("EXEC", "*1\r\n:1\r\n"), ("INCR x", ":2\r\n")]);
    await_end(new);
    moves.expect_close();
    site.assert_serves(site.process().pid());
    stays.converse(&[("INCR x", ":3\r\n")]);
}
