//! The addresses of the pools' listeners: no two pools may listen on the same.
//!
//! A listener takes the first address of its host that can be bound, so the pools are tried in the order in which a
//! start binds them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::pool::{ListenConfig, PoolConfig, Transport};
use crate::config::pool_reader::Located;
use crate::config::problem::ConfigError;
use crate::hash::name_order;
use crate::net::{ListenAddr, Listener};

/// An address as the system knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A place that a listener takes.
struct Taken<'p> {
    place: Place,
    listener: Listening<'p>,
}

/// A listener of a pool.
#[derive(Clone, Copy)]
struct Listening<'p> {
    located: &'p Located,
    transport: Transport,
    listen: &'p ListenConfig,
}

impl Listening<'_> {
    fn error(&self, text: String) -> ConfigError {
        self.located.error(self.transport.directive(), text)
    }
}

/// All listeners of these pools.
fn listeners<'p>(
    pools: impl IntoIterator<Item = &'p Located>,
) -> impl Iterator<Item = Listening<'p>> {
    pools.into_iter().flat_map(|located| {
        let listeners = located.pool.listeners();
        listeners.map(move |(transport, listen)| Listening {
            located,
            transport,
            listen,
        })
    })
}

/// Finds pools with the same `listen`, without resolving anything.
pub(super) fn check_texts(pools: &[Located], errors: &mut Vec<ConfigError>) {
    let mut known: HashMap<&str, &str> = HashMap::new();
    for listener in listeners(pools) {
        let text = listener.listen.text.as_str();
        if let Some(other) = known.get(text) {
            let text = format!("'{text}' is also the address of pool '{other}'");
            errors.push(listener.error(text));
        } else {
            known.insert(text, &listener.located.pool.name);
        }
    }
}

/// Resolves the hosts, and finds pools whose addresses are the same under different names, or contain each other.
pub(super) fn check_places(pools: &[Located], errors: &mut Vec<ConfigError>) {
    let mut pools: Vec<&Located> = pools.iter().collect();
    pools.sort_by(|a, b| name_order(&a.pool.name, &b.pool.name));
    let mut all_taken: Vec<Taken<'_>> = Vec::new();
    for listener in listeners(pools) {
        let text = &listener.listen.text;
        let places = match places(&listener.listen.address) {
            Ok(places) => places,
            Err(reason) => {
                let text = format!("'{text}' cannot be resolved: {reason}");
                errors.push(listener.error(text));
                continue;
            }
        };
        let conflict = |place: &Place| {
            let overlaps = |taken: &&Taken<'_>| overlap(place, taken, &listener.located.pool);
            all_taken.iter().find(overlaps)
        };
        if let Some(place) = places.iter().find(|place| conflict(place).is_none()) {
            let place = place.clone();
            all_taken.push(Taken { place, listener });
        } else if let Some(taken) = places.first().and_then(conflict) {
            let other = &taken.listener;
            let line = other.located.at(other.transport.directive()).line;
            // Equal texts are reported already.
            if other.listen.text != *text {
                let text = format!(
                    "'{text}' overlaps with '{}', the address of pool '{}' on line {line}",
                    other.listen.text, other.located.pool.name
                );
                errors.push(listener.error(text));
            }
        }
    }
}

/// The addresses that a listener tries, in this order. Those that this machine cannot bind are left out, such as `::1`
/// without IPv6, unless it can bind none: the file may be meant for another machine.
fn places(listen: &ListenAddr) -> io::Result<Vec<Place>> {
    match listen {
        ListenAddr::Tcp { host, port } => {
            let mut addresses = Listener::resolve(host, *port)?;
            if addresses.iter().any(|address| Listener::can_bind(*address)) {
                addresses.retain(|address| Listener::can_bind(*address));
            }
            Ok(addresses.into_iter().map(Place::Tcp).collect())
        }
        ListenAddr::Unix { path, .. } => Ok(vec![Place::Unix(real(path))]),
    }
}

/// The path without links, `.` and `..` in its directory; the socket itself need not exist.
fn real(path: &Path) -> PathBuf {
    let dir = path.parent().and_then(|dir| fs::canonicalize(dir).ok());
    match (dir, path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => path.to_owned(),
    }
}

/// Returns true if a pool cannot listen on `place` because another pool does. With `reuseport` on both, a single address
/// and the wildcard address can be bound side by side: the system prefers the single one.
fn overlap(place: &Place, taken: &Taken<'_>, pool: &PoolConfig) -> bool {
    match (place, &taken.place) {
        (Place::Unix(path), Place::Unix(other)) => path == other,
        (Place::Tcp(address), Place::Tcp(other)) if address.port() == other.port() => {
            let is_shared = pool.reuseport && taken.listener.located.pool.reuseport;
            let (ip, other) = (address.ip().to_canonical(), other.ip().to_canonical());
            ip == other || !is_shared && (contains(ip, other) || contains(other, ip))
        }
        _ => false,
    }
}

/// Returns true if a listener on `ip` also gets the connections to `other`. A listener on `::` gets those over IPv4 too.
fn contains(ip: IpAddr, other: IpAddr) -> bool {
    ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4())
}
