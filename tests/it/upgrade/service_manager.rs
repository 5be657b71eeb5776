//! What a service manager hears, and the sockets that it passes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::site::{Site, await_end, binary};
use crate::support::{Client, PATIENCE, Process, RedisServer, eventually, fresh_ip};

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir }
    }

    fn manage(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify"));
    }

    /// The next message; those of the watchdog do not count.
    fn next(&self) -> String {
        loop {
            let text = self.any();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }

    fn any(&self) -> String {
        let mut bytes = [0; 1024];
        let len = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }
}

#[test]
fn service_manager_hears_of_each_state() {
    let manager = Manager::new();
    let site = Site::launch(&[], |command| manager.manage(command));
    let ready = "READY=1\nSTATUS=serving 2 pools";
    assert_eq!(manager.next(), ready);

    site.process().signal(Signal::HUP);
    let reloading = manager.next();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(manager.next(), ready);

    let new = site.upgrade();
    assert_eq!(manager.next(), format!("MAINPID={new}\n{ready}"));
    await_end(site.process().pid());

    let said = site.refusal(&["upgrade", "/bin/true"]);
    assert!(said.contains("ended before it served"), "{said}");
    assert_eq!(manager.next(), format!("MAINPID={new}\n{ready}"));

    site.ctl(&["stop"]);
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
}

#[test]
fn watchdog_hears_from_working_processes_only() {
    let manager = Manager::new();
    let site = Site::launch(&[], |command| {
        manager.manage(command);
        command.env("WATCHDOG_USEC", "200000");
    });
    let await_sign = || while manager.any() != "WATCHDOG=1" {};
    await_sign();
    site.upgrade();
    await_end(site.process().pid());
    // More than the old process can have left behind.
    for _ in 0..10 {
        await_sign();
    }
}

/// A proxy whose listeners are this socket, as descriptor 3, and no other.
fn activated(yaml: &str, socket: impl Into<OwnedFd>, names: &str) -> (Process, TempDir) {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("pool.yml"), yaml).unwrap();
    let stats = fresh_ip(&[22222]).to_string();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$@\"",
            "sh",
            binary(),
        ])
        .args(["-c", "pool.yml", "-a", &stats])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", names)
        .current_dir(dir.path())
        .process_group(0);
    let process = Process::spawn_with_stdin(command, socket.into());
    (process, dir)
}

#[test]
fn passed_socket_is_found_by_name_or_by_address() {
    let server = RedisServer::start();
    let ip = fresh_ip(&[16121, 16122]);
    let passed = SocketAddr::from((ip, 16121));
    let pool = |port: u16| {
        format!(
            "p:\n  listen: {ip}:{port}\n  redis: true\n  servers:\n    - {}:1 s0\n",
            server.address()
        )
    };
    // By its name it may be on another address than the one of the file.
    for (yaml, names) in [
        (pool(16122), "p"),
        (pool(16121), "x"),
        (pool(16121), "unknown"),
    ] {
        let socket = TcpListener::bind(passed).unwrap();
        let waiting = TcpStream::connect(passed).unwrap();
        let (process, _dir) = activated(&yaml, socket, names);
        process.await_output("listening");
        Client::connect(passed).converse(&[("PING", "+PONG\r\n")]);
        drop(waiting);
        assert!(
            TcpStream::connect((ip, 16122)).is_err(),
            "nothing else is bound"
        );
        process.kill();
        eventually("the address is free", || TcpListener::bind(passed).ok());
    }
}

#[test]
fn passed_socket_without_a_use_fails_the_start() {
    let server = RedisServer::start();
    let ip = fresh_ip(&[16121, 16122]);
    let yaml = format!(
        "p:\n  listen: {ip}:16122\n  redis: true\n  servers:\n    - {}:1 s0\n",
        server.address()
    );
    let socket = TcpListener::bind((ip, 16121)).unwrap();
    let (process, _dir) = activated(&yaml, socket, "other");
    assert_eq!(process.exit().code(), Some(1));
    process.await_output("socket 'other', on whose address no pool listens");
}

#[test]
fn passed_socket_of_another_kind_fails_the_start() {
    let ip = fresh_ip(&[16121]);
    let yaml = format!("p:\n  listen: {ip}:16121\n  servers:\n    - {ip}:1:1 s0\n");
    let dir = TempDir::new().unwrap();
    let socket = UnixListener::bind(dir.path().join("stats")).unwrap();
    let (process, _dir) = activated(&yaml, socket, "stats");
    assert_eq!(process.exit().code(), Some(1));
    process.await_output("'stats' of the service manager is not one of TCP");
}
