//! The listeners and everything else that has one owner: the new process has it when the old one has it no more.

use std::os::unix::net::UnixStream;
use std::process::Command;

use super::site::{Connector, MORE, Site, await_end, binary};
use crate::support::{Process, eventually};

#[test]
fn upgrade_refuses_no_connection() {
    let site = Site::start();
    let connector = Connector::start(&site);
    connector.go_on();
    let mut before = site.process().pid();
    for _ in 0..3 {
        let new = site.upgrade();
        assert_ne!(new, before);
        connector.go_on();
        await_end(before);
        site.assert_serves(new);
        before = new;
    }
    connector.end();
    assert_eq!(site.process().exit().code(), Some(0), "the first one");
}

#[test]
fn upgraded_process_leaves_no_files_behind() {
    let site = Site::start();
    site.rewrite_conf(|yaml| {
        let at = yaml.find("mc:").unwrap();
        yaml[..at].to_owned()
            + &format!(
                "unix:\n  listen: {}/pool.sock 0660\n  redis: true\n  servers:\n    - {}:1 s0\n",
                site.dir().display(),
                site.server(0).address()
            )
            + &yaml[at..]
    });
    site.ctl(&["reload"]);
    let new = site.upgrade();
    assert_eq!(site.process().exit().code(), Some(0));
    for socket in ["ctl.sock", "pool.sock"] {
        UnixStream::connect(site.dir().join(socket)).unwrap();
    }
    assert_eq!(site.pid_file(), new.to_string());
    site.ctl(&["stop"]);
    await_end(new);
    for file in ["ctl.sock", "pool.sock", "pid"] {
        assert!(!site.dir().join(file).exists(), "{file}");
    }
}

#[test]
fn socket_file_that_is_not_taken_over_is_removed() {
    let site = Site::start();
    let socket = site.dir().join("pool.sock");
    let unix = format!(
        "unix:\n  listen: {} 0660\n  redis: true\n  servers:\n    - {}:1 s0\n",
        socket.display(),
        site.server(0).address()
    );
    site.rewrite_conf(|yaml| yaml + &unix);
    site.ctl(&["reload"]);
    UnixStream::connect(&socket).unwrap();
    site.rewrite_conf(|yaml| yaml.replace(&unix, ""));
    let new = site.upgrade();
    assert_eq!(site.process().exit().code(), Some(0));
    assert!(!socket.exists());
    site.assert_serves(new);
}

#[test]
fn upgraded_process_reads_the_file_as_a_reload_does() {
    let site = Site::start();
    let more = format!(
        "more:\n  listen: {}:{MORE}\n  redis: true\n  servers:\n    - {}:1 s0\n",
        site.address().ip(),
        site.server(0).address()
    );
    // One pool is gone, and one is new.
    site.rewrite_conf(|yaml| yaml[..yaml.find("mc:").unwrap()].to_owned() + &more);
    let mut gone = site.memcached_client();
    gone.say("version");
    site.upgrade();
    gone.expect_close();
    site.client_at(MORE).converse(&[("PING", "+PONG\r\n")]);
    eventually("nobody listens for the pool that is gone", || {
        std::net::TcpStream::connect((site.address().ip(), 16122)).err()
    });
}

#[test]
fn drained_server_stays_drained() {
    let site = Site::start();
    site.ctl(&["drain", "s1"]);
    site.upgrade();
    let servers = site.ctl(&["servers", "cache"]);
    assert_eq!(servers["servers"][1]["state"], "drained", "{servers}");
}

#[test]
fn servers_are_not_changed_during_an_upgrade() {
    let site = Site::start();
    let (begun, go_on) = (site.dir().join("begun"), site.dir().join("go_on"));
    let slow = format!(
        "case \"$*\" in *' -t') exit 0;; esac; touch {}; while ! [ -e {} ]; do sleep 0.01; done; exec {} \"$@\"",
        begun.display(),
        go_on.display(),
        binary(),
    );
    let slow = site.script("slow", &slow);
    let mut upgrade = Command::new(binary());
    upgrade
        .args(["ctl", "--admin"])
        .arg(site.socket())
        .args(["upgrade", &slow]);
    let upgrade = Process::spawn(upgrade);
    eventually("the new process is started", || {
        begun.exists().then_some(())
    });
    for change in ["drain", "admit"] {
        let words = site.refusal(&[change, "s1"]);
        assert!(words.contains("an upgrade is under way"), "{words}");
    }
    std::fs::write(&go_on, "").unwrap();
    assert_eq!(upgrade.exit().code(), Some(0), "{}", upgrade.output());
    site.ctl(&["drain", "s1"]);
}

#[test]
fn upgrade_that_a_reload_would_refuse_is_refused() {
    let site = Site::start();
    let server = format!("    - {}:1 s1\n", site.server(1).address());
    site.rewrite_conf(|yaml| yaml.replace(&server, ""));
    let words = site.refusal(&["upgrade"]);
    assert!(
        words.contains("a reload of the configuration file would be refused"),
        "{words}"
    );
    assert!(words.contains("would be looked for elsewhere"), "{words}");
    site.assert_serves(site.process().pid());
    site.ctl(&["reload", "--swap", "cache"]);
    site.upgrade();
}

#[test]
fn daemon_is_upgraded_as_it_was_started() {
    let site = Site::start();
    let log = site.dir().join("log");
    let daemon = site
        .command()
        .args(["-d", "-o", log.to_str().unwrap(), "--take-over", "ctl.sock"])
        .output()
        .unwrap();
    assert!(daemon.status.success(), "{daemon:?}");
    assert_eq!(site.process().exit().code(), Some(0));
    let first = site.serving_pid();
    let second = site.upgrade();
    await_end(first);
    site.assert_serves(second);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains(&format!("started on pid {second}")), "{text}");
    let crash = site.script(
        "crash",
        "case \"$*\" in *' -t') exit 0;; esac; echo 'no such library' >&2; exit 7",
    );
    let said = site.refusal(&["upgrade", &crash]);
    assert!(said.contains("no such library"), "{said}");
    // It has left the process group of the test.
    site.ctl(&["stop"]);
    await_end(second);
}
