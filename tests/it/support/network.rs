//! Network namespaces, each linked to each other one: a link can be cut, and healed.
//!
//! Node 0 is the namespace of the test itself, where its proxies and clients are. Each address belongs to one node; a route leads
//! to it over the link between the two, and over nothing else.

use std::net::Ipv4Addr;
use std::process::{self, Command};

use super::redis::Place;

/// How many such networks there may be at a time, each with 256 addresses of those for tests of networks (RFC 2544).
const NETWORKS: u32 = 512;

/// The namespaces of one test. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Network {
    number: u32,
    /// The addresses of each node.
    counts: Vec<u8>,
}

impl Network {
    /// Makes nodes with so many addresses each, beside node 0. `None`, and a line that says why, if that takes rights or a program
    /// that are missing.
    pub(crate) fn start(counts: &[u8]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        if Command::new("ip").arg("-V").output().is_err() {
            eprintln!("skipped: no program 'ip'; `make setup` installs it (iproute2)");
            return None;
        }
        let mut numbers = (0..NETWORKS).map(|nth| (process::id() + nth) % NETWORKS);
        let is_claimed = |number: &u32| try_ip(&format!("netns add rr{number}-1")).is_ok();
        let number = numbers.find(is_claimed).expect("no network is left");
        let network = Self {
            number,
            counts: [&[1], counts].concat(),
        };
        for node in 1..network.counts.len() {
            let name = network.namespace(node);
            if node > 1 {
                ip(&format!("netns add {name}"));
            }
            for address in network.addresses(node) {
                ip(&format!("-n {name} addr add {address}/32 dev lo"));
            }
            ip(&format!("-n {name} link set lo up"));
        }
        for [one, other] in network.links() {
            network.link(one, other);
        }
        Some(network)
    }

    /// The place of a server at an address of a node.
    pub(crate) fn place(&self, node: usize, nth: usize) -> Place {
        let address = self.addresses(node).nth(nth).unwrap();
        Place::in_namespace(self.namespace(node), address)
    }

    /// Cuts the link between two nodes: what is sent is lost.
    pub(crate) fn cut(&self, one: usize, other: usize) {
        // The route of the other end stays: its packets must not leave by another one.
        let [one, other] = [one.min(other), one.max(other)];
        ip(&format!("{} link set to{one} down", self.within(other)));
    }

    /// Heals a link.
    pub(crate) fn heal(&self, one: usize, other: usize) {
        let [one, other] = [one.min(other), one.max(other)];
        ip(&format!("{} link set to{one} up", self.within(other)));
        self.route(other, one);
    }

    fn links(&self) -> impl Iterator<Item = [usize; 2]> {
        let count = self.counts.len();
        (0..count).flat_map(move |one| (one + 1..count).map(move |other| [one, other]))
    }

    fn link(&self, one: usize, other: usize) {
        let (within, peer) = (self.within(one), self.namespace(other));
        let (to_other, to_one) = (self.device(one, other), self.device(other, one));
        ip(&format!(
            "{within} link add {to_other} type veth peer name {to_one} netns {peer}"
        ));
        for (from, to) in [(one, other), (other, one)] {
            let (within, device) = (self.within(from), self.device(from, to));
            if from == 0 {
                let address = self.addresses(0).next().unwrap();
                ip(&format!("addr add {address}/32 dev {device}"));
            }
            ip(&format!("{within} link set {device} up"));
            self.route(from, to);
        }
    }

    fn route(&self, from: usize, to: usize) {
        let (within, device) = (self.within(from), self.device(from, to));
        let source = self.addresses(from).next().unwrap();
        for address in self.addresses(to) {
            ip(&format!(
                "{within} route replace {address} dev {device} src {source}"
            ));
        }
    }

    fn namespace(&self, node: usize) -> String {
        format!("rr{}-{node}", self.number)
    }

    /// The option of `ip` for a node.
    fn within(&self, node: usize) -> String {
        match node {
            0 => String::new(),
            node => format!("-n {}", self.namespace(node)),
        }
    }

    fn device(&self, from: usize, to: usize) -> String {
        match from {
            0 => format!("rr{}-to{to}", self.number),
            _ => format!("to{to}"),
        }
    }

    fn addresses(&self, node: usize) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + self.number * 256;
        let first = first + 16 * u32::try_from(node).unwrap() + 1;
        (first..first + u32::from(self.counts[node])).map(Ipv4Addr::from)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in 1..self.counts.len() {
            drop(try_ip(&format!("link del {}", self.device(0, node))));
            drop(try_ip(&format!("netns del {}", self.namespace(node))));
        }
    }
}

fn ip(args: &str) {
    try_ip(args).unwrap_or_else(|error| panic!("ip {args}: {error}"));
}

fn try_ip(args: &str) -> Result<(), String> {
    let output = Command::new("ip").args(args.split_whitespace()).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(text)
}
