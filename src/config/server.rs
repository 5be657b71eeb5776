//! One entry of `servers`.

use std::fmt;

use crate::net::{AddressError, ServerAddr};

use super::value;

/// The port whose servers are named by their host alone (memcached's, a rule of libmemcached).
const ELIDED_PORT: u16 = 11211;

/// A server of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The name in the ring, the order of the servers and the statistics; unique in its pool.
    pub name: String,
    /// The address that the proxy connects to.
    pub address: ServerAddr,
    /// Its share of the keys: at least 1, at most `i32::MAX`.
    pub weight: u32,
}

impl ServerConfig {
    /// Parses `host:port:weight[ name]` or `/path:weight[ name]`, from the right as Twemproxy does.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (entry, given) = match text.rsplit_once(' ') {
            Some((_, "")) => return Err(format!("'{text}' {FORMAT}")),
            Some((entry, name)) => (entry, Some(name)),
            None => (text, None),
        };
        let (address_text, weight) = entry
            .rsplit_once(':')
            .ok_or_else(|| format!("'{text}' {FORMAT}"))?;
        let weight = value::number(weight, 1, i32::MAX.cast_unsigned())
            .map_err(|reason| format!("'{text}' has an invalid weight: {reason}; {EXAMPLE}"))?;
        if address_text.starts_with('/') && address_text.contains(':') {
            return Err(format!(
                "'{text}' has a ':' in its socket path, which cannot be told from the weight"
            ));
        }
        let address = address_text.parse().map_err(|error| match error {
            AddressError::NoPort => format!("'{text}' {FORMAT}"),
            error => format!("'{text}' {error}; {EXAMPLE}"),
        })?;
        let name = given.map_or_else(|| implied_name(address_text, &address), str::to_owned);
        Ok(Self {
            name,
            address,
            weight,
        })
    }
}

impl fmt::Display for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.address, self.weight, self.name)
    }
}

const FORMAT: &str = "is not of the form 'host:port:weight [name]' or '/path:weight [name]'";
const EXAMPLE: &str = "the form is 'host:port:weight [name]' or '/path:weight [name]'";

/// The name of an entry without one: the text of its address, so `[::1]:06379` keeps its brackets and its zero.
fn implied_name(text: &str, address: &ServerAddr) -> String {
    match address {
        ServerAddr::Tcp {
            port: ELIDED_PORT, ..
        } => text
            .rsplit_once(':')
            .map_or(text, |(host, _)| host)
            .to_owned(),
        ServerAddr::Tcp { .. } => text.to_owned(),
        ServerAddr::Unix(_) => format!("{text}:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_default_name_matches_twemproxy() {
        let cases = [
            ("10.0.0.1:6379:1", "10.0.0.1:6379"),
            ("10.0.0.1:06379:1", "10.0.0.1:06379"),
            ("10.0.0.1:11211:3", "10.0.0.1"),
            ("10.0.0.1:011211:3", "10.0.0.1"),
            ("10.0.0.1:6379:1 alpha", "alpha"),
            ("10.0.0.1:11211:1 alpha", "alpha"),
            ("::1:6379:1", "::1:6379"),
            ("[::1]:6379:1", "[::1]:6379"),
            ("redis-1.example:6379:1", "redis-1.example:6379"),
            ("/tmp/redis.sock:1", "/tmp/redis.sock:"),
            ("/tmp/redis.sock:1 alpha", "alpha"),
            ("/tmp/a b:1 alpha", "alpha"),
        ];
        for (text, name) in cases {
            assert_eq!(
                ServerConfig::parse(text).map(|server| server.name),
                Ok(name.to_owned()),
                "{text}"
            );
        }
    }
}
