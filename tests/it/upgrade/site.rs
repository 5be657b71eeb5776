//! A proxy that is replaced by others, with a Redis pool and a memcached pool.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Memcached, Process, RedisServer, eventually, fresh_ip};

const CACHE: u16 = 16121;
const MC: u16 = 16122;
const STATS: u16 = 16222;
/// A port for a pool that is added.
pub(super) const MORE: u16 = 16123;

/// A proxy with the Redis pool `cache` of two servers and the memcached pool `mc`. All processes that follow it are in its
/// process group, and are killed with it.
#[derive(Debug)]
pub(super) struct Site {
    ip: Ipv4Addr,
    process: Process,
    dir: TempDir,
    servers: [RedisServer; 2],
    _memcached: Memcached,
}

impl Site {
    pub(super) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these options too.
    pub(super) fn start_with(options: &[&str]) -> Self {
        Self::launch(options, |_| {})
    }

    /// The same, with a change of the command.
    pub(super) fn launch(options: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let (servers, memcached) = ([(); 2].map(|()| RedisServer::start()), Memcached::start());
        let ip = fresh_ip(&[CACHE, MC, STATS, MORE]);
        let dir = TempDir::new().unwrap();
        let [s0, s1] = servers.each_ref().map(RedisServer::address);
        let yaml = format!(
            "cache:\n  listen: {ip}:{CACHE}\n  redis: true\n  servers:\n    - {s0}:1 s0\n    - {s1}:1 s1\n\
             mc:\n  listen: {ip}:{MC}\n  servers:\n    - {}:1 m0\n",
            memcached.address()
        );
        std::fs::write(dir.path().join("pool.yml"), yaml).unwrap();
        let mut command = Command::new(binary());
        command
            .current_dir(dir.path())
            .args(arguments(ip))
            .args(["--admin", "ctl.sock", "-p", "pid", "--workers", "2"])
            .args(options)
            .process_group(0);
        change(&mut command);
        let site = Self {
            ip,
            process: Process::spawn(command),
            dir,
            servers,
            _memcached: memcached,
        };
        // A connection that only tries whether it listens would be a client that is handed over.
        eventually("the proxy serves", || {
            let status = site.run(&["status"]);
            status.status.success().then_some(())
        });
        site
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn server(&self, index: usize) -> &RedisServer {
        &self.servers[index]
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("ctl.sock")
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, CACHE))
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    pub(super) fn memcached_client(&self) -> Client {
        Client::connect(SocketAddr::from((self.ip, MC)))
    }

    pub(super) fn client_at(&self, port: u16) -> Client {
        Client::connect(SocketAddr::from((self.ip, port)))
    }

    pub(super) fn stats_address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, STATS))
    }

    /// The arguments of a proxy in its place.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(self.dir())
            .args(arguments(self.ip))
            .args(["--admin", "ctl.sock", "-p", "pid", "--workers", "2"])
            .process_group(self.process.pid());
        command
    }

    /// Changes its configuration file. Nothing has it loaded.
    pub(super) fn rewrite_conf(&self, change: impl FnOnce(String) -> String) {
        let conf = self.dir.path().join("pool.yml");
        let yaml = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(conf, change(yaml)).unwrap();
    }

    pub(super) fn run(&self, args: &[&str]) -> Output {
        Command::new(binary())
            .args(["ctl", "--admin"])
            .arg(self.socket())
            .args(args)
            .output()
            .unwrap()
    }

    /// The answer to a command that succeeds.
    pub(super) fn ctl(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {stderr}\n{}",
            self.process.output()
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What `ctl` prints when it is refused.
    pub(super) fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        stderr
    }

    /// Replaces the process, and returns the id of the new one.
    pub(super) fn upgrade(&self) -> i32 {
        let answer = self.ctl(&["upgrade"]);
        answer["new_pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// The id of the process that answers at the admin socket.
    pub(super) fn serving_pid(&self) -> i32 {
        let status = self.ctl(&["status"]);
        status["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// The text of the pid file.
    pub(super) fn pid_file(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("pid")).unwrap()
    }

    /// An executable file with this shell script.
    pub(super) fn script(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        path.display().to_string()
    }

    /// Fails unless this process serves, accepts and is known as the one that does.
    pub(super) fn assert_serves(&self, pid: i32) {
        assert_eq!(self.serving_pid(), pid, "{}", self.process.output());
        assert_eq!(self.pid_file(), pid.to_string());
        self.client().converse(&[("PING", "+PONG\r\n")]);
        assert!(
            self.memcached_client()
                .say("version")
                .starts_with(b"VERSION")
        );
        let mut stats = Client::connect(self.stats_address());
        assert!(stats.read_to_close().starts_with(b"{"));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.process.pid()) {
            // All may have ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

pub(super) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_ringroad")
}

fn arguments(ip: Ipv4Addr) -> Vec<String> {
    let stats = STATS.to_string();
    let ip = ip.to_string();
    let arguments = ["-c", "pool.yml", "-i", "1", "-a", &ip, "-s", &stats];
    arguments.map(str::to_owned).to_vec()
}

/// Waits until a process that is no child of the test has ended.
pub(super) fn await_end(pid: i32) {
    let pid = Pid::from_raw(pid).unwrap();
    eventually("the process ends", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        let is_zombie = stat.is_ok_and(|stat| stat.contains(") Z "));
        (is_zombie || test_kill_process(pid).is_err()).then_some(())
    });
}

/// Connects all the time, and has each connection answered.
#[derive(Debug)]
pub(super) struct Connector {
    stop: Arc<AtomicBool>,
    connected: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Connector {
    pub(super) fn start(site: &Site) -> Self {
        let (stop, connected) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counted, address) =
            (Arc::clone(&stop), Arc::clone(&connected), site.address());
        let task = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                Client::connect(address).converse(&[("PING", "+PONG\r\n")]);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            connected,
            task,
        }
    }

    /// Waits for a hundred more connections.
    pub(super) fn go_on(&self) {
        let before = self.connected.load(Ordering::Relaxed);
        eventually("a hundred connections are answered", || {
            let now = self.connected.load(Ordering::Relaxed);
            (now >= before + 100 || self.task.is_finished()).then_some(())
        });
    }

    /// Fails if a connection was refused, or not answered.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.join().unwrap();
    }
}
