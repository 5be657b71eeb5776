//! One pool of a proxy's configuration file.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use super::{Memcached, RedisServer};

/// The pool `p`, in the format of Twemproxy. Its listener is chosen when a proxy starts with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    is_memcached: bool,
    pub(super) listens_for_tls: bool,
    options: Vec<(String, String)>,
    servers: Vec<String>,
}

impl Pool {
    /// Servers of equal weight under the names `s0`, `s1` and so on, so that equal pools place keys alike.
    pub(crate) fn of<'s>(servers: impl IntoIterator<Item = &'s RedisServer>) -> Self {
        Self::at(servers.into_iter().map(RedisServer::address))
    }

    /// As [`Self::of`], for these addresses, whether or not anything listens there.
    pub(crate) fn at(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::weighted(addresses.into_iter().map(|address| (address, 1)))
    }

    /// As [`Self::at`], with the weight of each server.
    pub(crate) fn weighted(servers: impl IntoIterator<Item = (SocketAddr, u32)>) -> Self {
        let named = |(nth, (address, weight))| format!("{address}:{weight} s{nth}");
        let servers = servers.into_iter().enumerate().map(named).collect();
        Self {
            servers,
            ..Self::default()
        }
    }

    /// As [`Self::of`], for one server at a unix socket.
    pub(crate) fn at_unix(path: &Path) -> Self {
        Self {
            servers: vec![format!("{}:1 s0", path.display())],
            ..Self::default()
        }
    }

    /// As [`Self::of`], for memcacheds.
    pub(crate) fn memcached<'s>(servers: impl IntoIterator<Item = &'s Memcached>) -> Self {
        Self::at(servers.into_iter().map(Memcached::address)).speaking_memcached()
    }

    /// As [`Self::of`], with each server as it is written.
    pub(crate) fn named(servers: impl IntoIterator<Item = String>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Servers without names, as an application that shards by itself knows them.
    pub(crate) fn nameless(servers: impl IntoIterator<Item = (SocketAddr, u32)>) -> Self {
        let servers = servers.into_iter();
        Self {
            servers: servers
                .map(|(address, weight)| format!("{address}:{weight}"))
                .collect(),
            ..Self::default()
        }
    }

    /// The same servers with the other protocol.
    pub(crate) fn speaking_memcached(mut self) -> Self {
        self.is_memcached = true;
        self
    }

    /// With one more option.
    pub(crate) fn with(mut self, option: &str, value: impl Display) -> Self {
        self.options.push((option.to_owned(), value.to_string()));
        self
    }

    /// With a listener for TLS besides, which needs a certificate.
    pub(crate) fn listening_for_tls(mut self) -> Self {
        self.listens_for_tls = true;
        self
    }

    /// Without one of its options.
    pub(crate) fn without(mut self, option: &str) -> Self {
        self.options.retain(|(name, _)| name != option);
        self
    }

    pub(crate) fn yaml(&self, listen: SocketAddr) -> String {
        let mut yaml = format!("p:\n  listen: {listen}\n  redis: {}\n", !self.is_memcached);
        if self.listens_for_tls {
            writeln!(yaml, "  tls_listen: {}", tls_address(listen)).unwrap();
        }
        for (option, value) in &self.options {
            writeln!(yaml, "  {option}: {value}").unwrap();
        }
        yaml.push_str("  servers:\n");
        for server in &self.servers {
            writeln!(yaml, "    - {server}").unwrap();
        }
        yaml
    }
}

/// The address for TLS beside a plain one.
pub(crate) fn tls_address(listen: SocketAddr) -> SocketAddr {
    SocketAddr::new(listen.ip(), listen.port() + 1)
}
