//! A proxy with two pools and an admin socket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::support::{Client, PATIENCE, Process, RedisServer, eventually, fresh_ip};

const CACHE: u16 = 16121;
const MC: u16 = 16122;
const STATS: u16 = 16222;

/// A proxy with the Redis pool `cache` of two servers, of which `s1` is not there, and the memcached pool `mc`.
#[derive(Debug)]
pub(super) struct Site {
    ip: Ipv4Addr,
    process: Process,
    dir: TempDir,
    _server: RedisServer,
}

impl Site {
    pub(super) fn start() -> Self {
        Self::start_in(TempDir::new().unwrap())
    }

    /// With more options.
    pub(super) fn start_with(options: &[&str]) -> Self {
        Self::launch(TempDir::new().unwrap(), options)
    }

    /// In a directory, with the socket `ctl.sock`.
    pub(super) fn start_in(dir: TempDir) -> Self {
        Self::launch(dir, &[])
    }

    fn launch(dir: TempDir, options: &[&str]) -> Self {
        let server = RedisServer::start();
        let ip = fresh_ip(&[CACHE, MC, STATS]);
        let mut command = command(dir.path(), ip, &server, "ctl.sock");
        command.args(options);
        let process = Process::spawn(command);
        let site = Self {
            ip,
            process,
            dir,
            _server: server,
        };
        eventually("the proxy listens", || {
            TcpStream::connect((site.ip, CACHE)).ok()
        });
        site
    }

    /// Changes its configuration file. Nothing has it loaded.
    pub(super) fn rewrite_conf(&self, change: impl FnOnce(String) -> String) {
        let conf = self.dir.path().join("pool.yml");
        let yaml = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(conf, change(yaml)).unwrap();
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("ctl.sock")
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(SocketAddr::from((self.ip, CACHE)))
    }

    pub(super) fn stats_address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, STATS))
    }

    /// The output of a command that succeeds.
    pub(super) fn ctl(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        assert!(stderr.is_empty(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ringroad ctl` for this proxy.
    pub(super) fn run(&self, args: &[&str]) -> Output {
        ctl(&[&["--admin", self.socket().to_str().unwrap()], args].concat())
    }

    /// Sends these bytes, and returns the status and the body of the answer.
    pub(super) fn http(&self, request: &str) -> (u16, String) {
        exchange(&self.socket(), request)
    }

    pub(super) fn connect(&self) -> UnixStream {
        connect(&self.socket())
    }
}

/// Sends these bytes, and returns the status and the body of the answer.
pub(super) fn exchange(socket: &Path, request: &str) -> (u16, String) {
    let mut stream = connect(socket);
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn connect(path: &Path) -> UnixStream {
    let address = SockAddr::unix(path).unwrap();
    let connected = eventually("the proxy accepts", || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        // A full backlog is an error, and not a wait without end.
        socket.connect(&address).is_ok().then_some(socket)
    });
    connected.set_nonblocking(false).unwrap();
    let stream = UnixStream::from(OwnedFd::from(connected));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Runs `ringroad ctl` with these arguments alone.
pub(super) fn ctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .arg("ctl")
        .args(args)
        .env_remove("RINGROAD_ADMIN")
        .output()
        .unwrap()
}

/// A proxy on `ip` with this socket. Its umask would let everybody use the socket.
pub(super) fn command(dir: &Path, ip: Ipv4Addr, server: &RedisServer, socket: &str) -> Command {
    let yaml = format!(
        "cache:\n  listen: {ip}:{CACHE}\n  redis: true\n  servers:\n    - {}:1 s0\n    - {ip}:1:2 s1\n\
         mc:\n  listen: {ip}:{MC}\n  servers:\n    - {ip}:1:1 m0\n",
        server.address()
    );
    std::fs::write(dir.join("pool.yml"), yaml).unwrap();
    let mut command = Command::new("sh");
    command
        .current_dir(dir)
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .args([
            env!("CARGO_BIN_EXE_ringroad"),
            "-c",
            "pool.yml",
            "-i",
            "100",
        ])
        .args(["-a", &ip.to_string(), "-s", &STATS.to_string()])
        .args(["--admin", socket]);
    command
}

/// An address on which [`command`] can listen.
pub(super) fn free_ip() -> Ipv4Addr {
    fresh_ip(&[CACHE, MC, STATS])
}
