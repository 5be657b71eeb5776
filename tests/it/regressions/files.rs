//! Files that would make the proxy wait: FIFOs without a reader or a writer, pipes that are full.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Client, Kind, Launch, Pool, Proxy, RedisServer, eventually, fresh_ip};

const PORT: u16 = 16121;
const STATS_PORT: &str = "16222";

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

fn with_files(server: &RedisServer, args: &[(&str, &Path)]) -> Proxy {
    let args = args
        .iter()
        .flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]);
    let launch = Launch {
        args: args.collect(),
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, &Pool::of([server]), &launch)
}

fn assert_serves_and_ends(proxy: &Proxy) {
    proxy.client().converse(&[("PING", "+PONG\r\n")]);
    proxy.terminate();
    assert_eq!(proxy.process().exit().code(), Some(0));
}

/// A directory with `pool.yml`, and the address of the pool.
fn site(server: &RedisServer) -> (TempDir, SocketAddr) {
    let dir = TempDir::new().unwrap();
    let address = SocketAddr::from((fresh_ip(&[PORT, 16222]), PORT));
    let yaml = Pool::of([server]).yaml(address);
    fs::write(dir.path().join("pool.yml"), yaml).unwrap();
    (dir, address)
}

fn ringroad(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
    command.current_dir(dir).args(args);
    command
}

#[test]
fn unread_log_fifo_delays_neither_start_nor_reopening() {
    let server = RedisServer::start();
    let dir = TempDir::new().unwrap();
    let fifo = dir.path().join("log");
    make_fifo(&fifo);
    let proxy = with_files(&server, &[("-o", &fifo)]);
    proxy.process().signal(Signal::HUP);
    proxy.client().converse(&[("PING", "+PONG\r\n")]);
    let reader = fs::File::from(
        rustix::fs::open(&fifo, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap(),
    );
    let mut lines = String::new();
    eventually("the reader gets the first lines", || {
        // It fails while the FIFO is empty.
        let _ = std::io::Read::read_to_string(&mut &reader, &mut lines);
        lines.contains("SIGHUP").then_some(())
    });
    assert!(lines.contains("started on pid"), "{lines}");
    assert_serves_and_ends(&proxy);
}

#[test]
fn log_that_cannot_be_reopened_stays_in_use() {
    let server = RedisServer::start();
    let dir = TempDir::new().unwrap();
    let (log, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
    let proxy = with_files(&server, &[("-o", &log)]);
    fs::rename(&log, &rotated).unwrap();
    make_fifo(&log);
    let reasons = ["nobody reads this FIFO", "Is a directory"];
    for (reason, hups) in reasons.into_iter().zip(1..) {
        if hups == 2 {
            fs::remove_file(&log).unwrap();
            fs::create_dir(&log).unwrap();
        }
        proxy.process().signal(Signal::HUP);
        let expected = format!("log file not reopened; the old one stays in use error={reason}");
        eventually("the old log has the reason", || {
            let text = fs::read_to_string(&rotated).unwrap();
            (text.matches("SIGHUP").count() == hups && text.contains(&expected)).then_some(())
        });
    }
    assert_serves_and_ends(&proxy);
}

#[test]
fn pid_file_that_is_an_unread_fifo_fails_the_start() {
    let server = RedisServer::start();
    let (dir, address) = site(&server);
    make_fifo(&dir.path().join("pid"));
    for mode in [[].as_slice(), &["-d"]] {
        let ip = address.ip().to_string();
        let args = ["-c", "pool.yml", "-o", "log", "-p", "pid", "-s", STATS_PORT];
        let output = ringroad(dir.path(), &[&args, ["-a", &ip].as_slice(), mode].concat())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let expected = "ringroad: writing pid file 'pid' failed: nobody reads this FIFO\n";
        assert_eq!(text, expected);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn pid_file_replaced_by_a_fifo_does_not_delay_the_exit() {
    let server = RedisServer::start();
    let dir = TempDir::new().unwrap();
    let pid_file = dir.path().join("pid");
    let proxy = with_files(&server, &[("-p", &pid_file)]);
    eventually("the pid file is written", || {
        pid_file.exists().then_some(())
    });
    fs::remove_file(&pid_file).unwrap();
    make_fifo(&pid_file);
    assert_serves_and_ends(&proxy);
    assert!(pid_file.exists(), "it is not the proxy's");
}

#[test]
fn configuration_may_come_from_a_pipe() {
    let server = RedisServer::start();
    let (dir, _) = site(&server);
    let fifo: PathBuf = dir.path().join("fifo");
    make_fifo(&fifo);
    let text = fs::read(dir.path().join("pool.yml")).unwrap();
    let writing = std::thread::spawn(move || fs::write(fifo, text).unwrap());
    let checked = ringroad(dir.path(), &["-t", "-c", "fifo"])
        .output()
        .unwrap();
    writing.join().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let unwritten = ringroad(dir.path(), &["-t", "-c", "fifo"])
        .output()
        .unwrap();
    assert_refused(
        &unwritten,
        "fifo: cannot be read: its writer did not finish within 5s",
    );
}

fn assert_refused(output: &Output, start: &str) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.starts_with(start), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn full_stderr_delays_neither_clients_nor_the_exit() {
    let server = RedisServer::start();
    let (dir, address) = site(&server);
    let (_unread, mut writer) = std::io::pipe().unwrap();
    while takes_bytes(&writer) {
        writer.write_all(&[b'x'; 4096]).unwrap();
    }
    let ip = address.ip().to_string();
    let mut child = ringroad(dir.path(), &["-c", "pool.yml", "-v", "11", "-a", &ip])
        .args(["-s", STATS_PORT])
        .stdin(Stdio::null())
        .stderr(OwnedFd::from(writer))
        .spawn()
        .unwrap();
    eventually("the proxy serves", || {
        let mut client = Client::try_connect(address).ok()?;
        (client.ask("PING") == b"+PONG\r\n").then_some(())
    });
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::HUP).unwrap();
    Client::connect(address).converse(&[("PING", "+PONG\r\n")]);
    kill_process(pid, Signal::INT).unwrap();
    let status = eventually("the proxy exits", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
}

fn takes_bytes(pipe: &impl AsFd) -> bool {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(pipe, PollFlags::OUT)], Some(&at_once)).unwrap() > 0
}
