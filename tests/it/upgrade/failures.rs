//! New processes that do not come to serve: the old one goes on, and says why.

use std::os::unix::net::UnixStream;

use ringroad::handover::RECORDS;

use super::protocol::{Step, play_new, runtime};
use super::site::{Connector, Site, await_end, binary};
use crate::support::eventually;

/// Fails unless an upgrade to this binary is refused with these words, and refuses no connection.
fn refused(site: &Site, program: &str, words: &[&str]) {
    let connector = Connector::start(site);
    connector.go_on();
    let said = site.refusal(&["upgrade", program]);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    connector.go_on();
    connector.end();
    site.assert_serves(site.process().pid());
}

#[test]
fn missing_binary_is_reported() {
    let site = Site::start();
    refused(
        &site,
        "/no/such/binary",
        &["this one goes on", "'/no/such/binary': No such file"],
    );
    let text = site.dir().join("pool.yml").display().to_string();
    refused(&site, &text, &["Permission denied"]);
}

#[test]
fn fault_in_the_file_is_reported_with_its_line() {
    let site = Site::start();
    site.rewrite_conf(|yaml| yaml.replacen("redis:", "rediss:", 1));
    refused(
        &site,
        binary(),
        &["pool.yml:3: pool 'cache': key 'rediss': unknown directive"],
    );
}

#[test]
fn older_binary_is_reported() {
    let site = Site::start();
    let old = site.script(
        "old",
        "echo \"ringroad: unrecognized option '--take-over'\" >&2; exit 1",
    );
    refused(&site, &old, &["unrecognized option '--take-over'"]);
}

#[test]
fn binary_that_ends_is_reported_with_its_status() {
    let site = Site::start();
    refused(
        &site,
        "/bin/true",
        &["ended before it served: exit status: 0"],
    );
    let crash = site.script(
        "crash",
        "case \"$*\" in *' -t') exit 0;; esac; kill -SEGV $$",
    );
    refused(&site, &crash, &["ended before it served: signal: 11"]);
}

#[test]
fn words_of_a_binary_that_crashes_are_reported() {
    let site = Site::start();
    let crash = site.script(
        "crash",
        "case \"$*\" in *' -t') exit 0;; esac; echo 'no such library' >&2; exit 7",
    );
    refused(
        &site,
        &crash,
        &["ended before it served: exit status: 7", "no such library"],
    );
}

#[test]
fn process_that_cannot_serve_leaves_the_sockets() {
    let site = Site::start();
    let pid_file = site.dir().join("pid");
    std::fs::remove_file(&pid_file).unwrap();
    std::fs::create_dir(&pid_file).unwrap();
    let said = site.refusal(&["upgrade"]);
    assert!(said.contains("this one goes on"), "{said}");
    std::fs::remove_dir(&pid_file).unwrap();
    assert_eq!(site.serving_pid(), site.process().pid());
    site.upgrade();
}

#[test]
fn sockets_that_a_dead_process_has_removed_are_bound_anew() {
    let site = Site::start();
    let (admin, pool) = (site.socket(), site.dir().join("pool.sock"));
    let unix = format!(
        "unix:\n  listen: {} 0660\n  redis: true\n  servers:\n    - {}:1 s0\n",
        pool.display(),
        site.server(0).address()
    );
    site.rewrite_conf(|yaml| yaml + &unix);
    site.ctl(&["reload"]);
    runtime().block_on(async {
        let _connection = play_new(&site, Step::Serving, RECORDS).await;
        for path in [&admin, &pool] {
            std::fs::remove_file(path).unwrap();
        }
    });
    for path in [&admin, &pool] {
        eventually("it listens there", || UnixStream::connect(path).ok());
    }
    let old = site.process().pid();
    site.assert_serves(old);
    let new = site.upgrade();
    await_end(old);
    UnixStream::connect(&pool).unwrap();
    site.assert_serves(new);
}

#[test]
fn port_that_is_taken_is_reported() {
    let site = Site::start();
    let taken = format!("{}:16121", site.server(0).address().ip());
    let _other = std::net::TcpListener::bind(&taken).unwrap();
    let servers = site.server(0).address();
    site.rewrite_conf(|yaml| {
        yaml + &format!("more:\n  listen: {taken}\n  servers:\n    - {servers}:1 s0\n")
    });
    refused(&site, binary(), &["pool 'more'", "Address already in use"]);
}

#[test]
fn binary_that_hangs_is_killed_in_time() {
    let site = Site::start();
    let pid = site.dir().join("hung");
    let binary = site.script(
        "hang",
        &format!(
            "case \"$*\" in *' -t') exit 0;; esac; echo $$ > {}; exec sleep 600",
            pid.display()
        ),
    );
    refused(&site, &binary, &["has not asked for the listeners within"]);
    let hung = std::fs::read_to_string(pid).unwrap();
    await_end(hung.trim().parse().unwrap());
}
