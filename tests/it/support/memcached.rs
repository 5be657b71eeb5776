//! A real memcached.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Client, PATIENCE, Process, eventually, fresh_ip};

const PORT: u16 = 17211;

/// A memcached on its own address, ready when the constructor returns.
#[derive(Debug)]
pub(crate) struct Memcached {
    address: SocketAddr,
    options: Vec<String>,
    process: Process,
}

impl Memcached {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these command-line options: `["-I", "2m"]`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::launch(SocketAddr::from((fresh_ip(&[PORT]), PORT)), options)
    }

    /// On a given port.
    pub(crate) fn start_at_port(port: u16) -> Self {
        Self::launch(SocketAddr::from((fresh_ip(&[port]), port)), &[])
    }

    /// `N` servers.
    pub(crate) fn several<const N: usize>() -> [Self; N] {
        std::array::from_fn(|_| Self::start())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Sends one request line on its own connection.
    pub(crate) fn ask(&self, line: &str) -> Vec<u8> {
        self.client().say(line)
    }

    /// All its keys, sorted.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        // The crawler may be running by itself, and then reports that it is busy. It walks the hash table: in the LRU
        // lists, items move while it walks.
        let dump = eventually("memcached lists its keys", || {
            let mut client = self.client();
            client.send(b"lru_crawler metadump hash\r\n");
            client.half_close();
            let dump = client.read_to_close();
            (!dump.starts_with(b"BUSY")).then_some(dump)
        });
        let lines = dump.split(|byte| *byte == b'\n');
        let mut keys: Vec<_> = lines
            .filter_map(|line| line.strip_prefix(b"key="))
            .map(|rest| decoded(rest.split(|byte| *byte == b' ').next().unwrap()))
            .collect();
        keys.sort();
        keys
    }

    /// One of its own statistics, such as `curr_items`.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let stats = String::from_utf8(self.ask("stats")).unwrap();
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no figure {name} in {stats}"))
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
        self.process = process(self.address, &self.options);
    }

    fn launch(address: SocketAddr, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let process = process(address, &options);
        Self {
            address,
            options,
            process,
        }
    }
}

fn process(address: SocketAddr, options: &[String]) -> Process {
    let mut command = Command::new("memcached");
    // As root it requires a user; otherwise it ignores the name.
    command
        .args(["-u", "nobody", "-t", "1", "-U", "0"])
        .args(["-l", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()])
        .args(options);
    let process = Process::spawn(command);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        let exited = process.exit_within(Duration::from_millis(2));
        let output = process.output();
        assert!(exited.is_none(), "memcached exited and printed: {output}");
        assert!(Instant::now() < deadline, "memcached does not listen");
    }
    process
}

/// Decodes the percent encoding of a dump of keys.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(first);
        }
    }
    bytes
}

#[test]
fn keys_are_listed_unescaped() {
    let server = Memcached::start();
    let mut client = server.client();
    for key in ["plain", "a%b", "tab\tkey", "\u{fc}"] {
        client.chat(&[(&format!("set {key} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    let listed: Vec<_> = server.keys();
    assert_eq!(
        listed,
        ["a%b", "plain", "tab\tkey", "\u{fc}"].map(|key| key.as_bytes().to_vec())
    );
}
