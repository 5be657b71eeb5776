//! Networks of addresses, and who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All addresses with the same first bits. An IPv4 address that is written as one of IPv6 (`::ffff:10.0.0.1`) is one of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Whom a connection comes from, as far as limits tell clients apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerKey {
    /// An address of IPv4, or the first 64 bits of one of IPv6: whoever has one of these has all.
    Ip(IpAddr),
    /// The user of a process on this machine.
    Uid(u32),
}

/// An entry of a list of peers: `10.0.0.0/8`, `::1`, `uid:1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerRule {
    /// Those with an address of the network.
    Network(Network),
    /// Those of that user, over a unix socket.
    Uid(u32),
}

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address.
    Ip(IpAddr),
    /// The user of a process on this machine.
    Uid(u32),
}

impl Network {
    /// Parses `10.0.0.0/8`, `::1`. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is not an address or a network, as in '10.0.0.0/8' or '::1'");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let address = written.to_canonical();
        let most = width(address);
        let bits = match bits {
            None => most,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // The prefix of an IPv4 address within IPv6 has 96 bits before it.
                let before = width(written) - most;
                let bits: u8 = bits.parse().map_err(|_| wrong())?;
                let bits = bits.checked_sub(before).filter(|bits| *bits <= most);
                bits.ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let network = Self {
            address: masked(address, bits),
            bits,
        };
        if network.address != address {
            return Err(format!(
                "'{text}' has bits behind its prefix; did you mean '{network}'?"
            ));
        }
        Ok(network)
    }

    /// Returns true if it has the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.bits) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.address) {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.bits)
        }
    }
}

impl PeerRule {
    /// Parses an entry. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(uid) = text.strip_prefix("uid:") else {
            return Network::parse(text).map(Self::Network);
        };
        let is_plain = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit());
        let uid = uid.parse().ok().filter(|_| is_plain);
        let uid =
            uid.ok_or_else(|| format!("'{text}' has no number of a user, as in 'uid:1000'"))?;
        Ok(Self::Uid(uid))
    }

    /// Returns true if it is about the peer.
    #[must_use]
    pub fn matches(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Network(network), Peer::Ip(address)) => network.contains(address),
            (Self::Uid(uid), Peer::Uid(peer)) => *uid == peer,
            _ => false,
        }
    }
}

impl fmt::Display for PeerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(f, "{network}"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl Peer {
    /// Those that limits take for the same.
    #[must_use]
    pub fn key(self) -> PeerKey {
        match self {
            Self::Ip(address) => match address.to_canonical() {
                address @ IpAddr::V4(_) => PeerKey::Ip(address),
                address @ IpAddr::V6(_) => PeerKey::Ip(masked(address, 64)),
            },
            Self::Uid(uid) => PeerKey::Uid(uid),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{}", address.to_canonical()),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_has_the_addresses_of_its_prefix() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("::1", "::1", true),
            ("::1", "::2", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.2/31", "10.1.2.3", true),
            ("10.1.2.2/31", "10.1.2.4", false),
        ] {
            let contains = Network::parse(network)
                .unwrap()
                .contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{network}, {address}");
        }
    }

    #[test]
    fn faulty_network_is_refused() {
        for (text, expected) in [
            ("", "is not an address"),
            ("10.0.0.0/", "is not an address"),
            ("10.0.0.0/33", "is not an address"),
            ("10.0.0.0/+8", "is not an address"),
            ("::/129", "is not an address"),
            ("::ffff:10.0.0.0/8", "is not an address"),
            ("10.0.0/8", "is not an address"),
            ("localhost", "is not an address"),
            ("10.0.0.1/8", "did you mean '10.0.0.0/8'?"),
            ("2001:db8::1/32", "did you mean '2001:db8::/32'?"),
            ("uid:", "has no number"),
            ("uid:+1", "has no number"),
            ("uid:4294967296", "has no number"),
        ] {
            let error = PeerRule::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn peers_of_one_ipv6_network_are_the_same_to_limits() {
        let key = |text: &str| Peer::Ip(text.parse().unwrap()).key();
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }
}
