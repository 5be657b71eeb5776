//! A proxy for a pool: Ringroad, or nutcracker for comparison.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::pool::tls_address;
use super::{Client, PATIENCE, Pool, Process, eventually, fresh_ip};

const PORT: u16 = 16121;
const STATS_PORT: u16 = 16222;

/// The program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ringroad, as built by cargo. `PROXY_UNDER_TEST=nutcracker` replaces it, to see what a test of a bug shows about
    /// the original.
    Ringroad,
    Nutcracker,
}

/// The options of a proxy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Launch {
    /// More command-line arguments.
    pub args: Vec<String>,
    /// The limit of its file descriptors.
    pub descriptors: Option<u32>,
    /// The file in place of `/etc/hosts`, which only this proxy sees.
    pub hosts: Option<PathBuf>,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
}

/// A running proxy on its own address, ready for clients when the constructor returns.
#[derive(Debug)]
pub(crate) struct Proxy {
    ip: Ipv4Addr,
    process: Process,
    conf: PathBuf,
    _dir: TempDir,
}

impl Launch {
    fn command(&self, program: &str) -> Command {
        if let Some(limit) = self.descriptors {
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -n \"$0\"; exec \"$@\""]);
            shell.arg(limit.to_string()).arg(program);
            return shell;
        }
        let Some(hosts) = &self.hosts else {
            return Command::new(program);
        };
        // In a mount namespace of its own; another user than root needs a user namespace for that.
        let mut namespace = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            namespace.arg("--map-root-user");
        }
        namespace.args(["--mount", "sh", "-c"]);
        namespace.arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"");
        namespace.arg(hosts).arg(program);
        namespace
    }
}

impl Proxy {
    pub(crate) fn ringroad(pool: &Pool) -> Self {
        Self::start(Kind::Ringroad, pool, &Launch::default())
    }

    pub(crate) fn nutcracker(pool: &Pool) -> Self {
        Self::start(Kind::Nutcracker, pool, &Launch::default())
    }

    pub(crate) fn start(kind: Kind, pool: &Pool, launch: &Launch) -> Self {
        let ip = fresh_ip(&[PORT, STATS_PORT]);
        let dir = TempDir::new().unwrap();
        let conf = dir.path().join("pool.yml");
        std::fs::write(&conf, pool.yaml(SocketAddr::from((ip, PORT)))).unwrap();
        let program = match kind {
            Kind::Ringroad => std::env::var("PROXY_UNDER_TEST")
                .unwrap_or_else(|_| env!("CARGO_BIN_EXE_ringroad").to_owned()),
            Kind::Nutcracker => "nutcracker".to_owned(),
        };
        let mut command = launch.command(&program);
        command
            .args([
                "-o",
                "",
                "-a",
                &ip.to_string(),
                "-s",
                &STATS_PORT.to_string(),
                "-i",
                "1",
            ])
            .arg("-c")
            .arg(&conf)
            .args(&launch.args)
            .envs(launch.env.iter().cloned())
            .env(
                "PATH",
                format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
            );
        let process = Process::spawn(command);
        let proxy = Self {
            ip,
            process,
            conf,
            _dir: dir,
        };
        proxy.await_listener(proxy.address());
        if pool.listens_for_tls {
            // It is opened behind the other.
            proxy.await_listener(proxy.tls_address());
        }
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, PORT))
    }

    /// Where it listens for TLS.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        tls_address(self.address())
    }

    /// Replaces its configuration by this pool, and waits until it is in use.
    pub(crate) fn reload(&self, pool: &Pool) {
        let outcome = self.reload_text(&pool.yaml(self.address()));
        assert!(outcome.contains("the configuration is in use"), "{outcome}");
    }

    /// Its configuration file.
    pub(crate) fn conf(&self) -> &Path {
        &self.conf
    }

    /// Replaces its configuration file. Nothing has it loaded.
    pub(crate) fn write_conf(&self, yaml: &str) {
        std::fs::write(&self.conf, yaml).unwrap();
    }

    /// Replaces its configuration file, has it loaded, and returns what the proxy logs of it.
    pub(crate) fn reload_text(&self, yaml: &str) -> String {
        self.write_conf(yaml);
        let before = self.process.output().len();
        self.process.signal(Signal::HUP);
        eventually("the reload ends", || {
            let output = self.process.output();
            let new = output.get(before..)?;
            let is_over = new.lines().any(|line| {
                line.contains("the configuration is in use")
                    || line.contains("the old configuration stays")
            });
            is_over.then(|| new.to_owned())
        })
    }

    pub(crate) fn stats_address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, STATS_PORT))
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Sends one request on its own connection.
    pub(crate) fn ask(&self, request: &str) -> Vec<u8> {
        self.client().ask(request)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The reply of its stats port to a plain reader.
    pub(crate) fn stats(&self) -> Value {
        let json = Client::connect(self.stats_address()).read_to_close();
        serde_json::from_slice(&json)
            .unwrap_or_else(|error| panic!("{error}: {}", json.escape_ascii()))
    }

    /// A number of the pool, or of a server in it, in its stats: `["server_ejects"]`, `["s0", "requests"]`.
    pub(crate) fn stat(&self, path: &[&str]) -> i64 {
        let stats = self.stats();
        let found = path.iter().try_fold(&stats["p"], |at, name| at.get(name));
        found
            .and_then(Value::as_i64)
            .unwrap_or_else(|| panic!("no {path:?} in {stats}"))
    }

    /// The value of the first line of `/metrics` that starts like this.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let mut reader = Client::connect(self.stats_address());
        reader.send(b"GET /metrics HTTP/1.0\r\n\r\n");
        let text = String::from_utf8(reader.read_to_close()).unwrap();
        let found = text.lines().find(|candidate| candidate.starts_with(line));
        let (_, number) = found
            .and_then(|found| found.rsplit_once(' '))
            .unwrap_or_else(|| panic!("no {line} in {text}"));
        number.parse().unwrap()
    }

    /// Sends SIGTERM: it finishes the requests in flight and exits.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    fn await_listener(&self, address: SocketAddr) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let exited = self.process.exit_within(Duration::from_millis(5));
            let output = self.process.output();
            assert!(
                exited.is_none(),
                "the proxy exited ({exited:?}) and printed: {output}"
            );
            assert!(
                Instant::now() < deadline,
                "the proxy does not listen; it printed: {output}"
            );
        }
    }
}
