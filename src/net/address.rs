//! Addresses of listeners and servers, as text and as values.
//!
//! Addresses hold names, not resolved sockets: a listen host is resolved when it is bound, a server's whenever a
//! connection to it is opened. An IPv6 host may be written with or without brackets, because the port always follows
//! the *last* colon.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path of a unix socket, without its closing NUL (`sun_path` of Linux).
const UNIX_PATH_MAX_BYTES: usize = 107;

/// The address on which a pool accepts clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// A TCP listener.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A unix socket.
    Unix {
        /// An absolute path.
        path: PathBuf,
        /// The permission bits of the socket; `None` leaves them to the umask.
        mode: Option<u32>,
    },
}

impl ListenAddr {
    /// None for a unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix { .. } => None,
        }
    }

    /// Returns true if it is all addresses of the machine.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()),
            Self::Unix { .. } => false,
        }
    }

    /// Returns true if both may stand for the same address; without asking what the names stand for.
    #[must_use]
    pub fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Tcp { host, port },
                Self::Tcp {
                    host: other,
                    port: other_port,
                },
            ) => {
                let ip = |host: &str| host.parse::<IpAddr>().map(|ip| ip.to_canonical());
                let is_same = match (ip(host), ip(other)) {
                    (Ok(ip), Ok(other)) => ip == other,
                    _ => true,
                };
                port == other_port && is_same
            }
            (Self::Unix { path, .. }, Self::Unix { path: other, .. }) => path == other,
            _ => false,
        }
    }
}

impl FromStr for ListenAddr {
    type Err = AddressError;

    /// Parses `host:port` or `/path[ octal-mode]`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !text.starts_with('/') {
            let (host, port) = parse_tcp(text)?;
            return Ok(Self::Tcp { host, port });
        }
        match text.rsplit_once(' ') {
            Some((path, mode)) => Ok(Self::Unix {
                path: parse_path(path)?,
                mode: parse_mode(mode)?,
            }),
            None => Ok(Self::Unix {
                path: parse_path(text)?,
                mode: None,
            }),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddr {
    /// A TCP server.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

impl FromStr for ServerAddr {
    type Err = AddressError;

    /// Parses `host:port` or `/path`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with('/') {
            return parse_path(text).map(Self::Unix);
        }
        let (host, port) = parse_tcp(text)?;
        Ok(Self::Tcp { host, port })
    }
}

impl From<SocketAddr> for ServerAddr {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The error of an invalid address. Its display says what would be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No colon at all.
    #[error("has no port; write host:port or an absolute /path")]
    NoPort,
    /// Nothing, or something that is no host, before the port.
    #[error(
        "has no valid host before its port; write host:port, as in 0.0.0.0:22121 or [::1]:22121"
    )]
    BadHost,
    /// A port that is 0, above 65535 or not a number.
    #[error("has an invalid port; a port is a number from 1 to 65535")]
    BadPort,
    /// A path longer than the system takes, or with a NUL.
    #[error("has an invalid socket path; at most {UNIX_PATH_MAX_BYTES} bytes, without NUL")]
    BadPath,
    /// A mode that is not octal or above 0777.
    #[error(
        "has an invalid file permission; write /path followed by octal digits up to 0777, as in /path 0660"
    )]
    BadMode,
}

fn parse_tcp(text: &str) -> Result<(String, u16), AddressError> {
    let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or(AddressError::BadHost)?,
        None => host,
    };
    if bare.is_empty()
        || bare.contains(|c: char| c.is_whitespace() || c.is_control() || "[]".contains(c))
    {
        return Err(AddressError::BadHost);
    }
    Ok((bare.to_owned(), parse_port(port)?))
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::BadPort);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(AddressError::BadPort),
        Ok(port) => Ok(port),
    }
}

fn parse_path(text: &str) -> Result<PathBuf, AddressError> {
    if text.len() > UNIX_PATH_MAX_BYTES || text.contains('\0') {
        return Err(AddressError::BadPath);
    }
    Ok(PathBuf::from(text))
}

/// Parses a mode; 0 leaves the permissions to the umask, as in Twemproxy.
fn parse_mode(text: &str) -> Result<Option<u32>, AddressError> {
    if text.is_empty() || !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return Err(AddressError::BadMode);
    }
    match u32::from_str_radix(text, 8) {
        Ok(0) => Ok(None),
        Ok(mode) if mode <= 0o777 => Ok(Some(mode)),
        _ => Err(AddressError::BadMode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> ListenAddr {
        ListenAddr::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    fn unix(path: &str, mode: Option<u32>) -> ListenAddr {
        ListenAddr::Unix {
            path: path.into(),
            mode,
        }
    }

    #[test]
    fn names_may_stand_for_any_address_of_their_port() {
        let cases = [
            (tcp("h", 1), tcp("h", 1), true),
            (tcp("h", 1), tcp("127.0.0.1", 1), true),
            (tcp("::1", 1), tcp("h", 1), true),
            (tcp("h", 1), tcp("h", 2), false),
            (tcp("127.0.0.1", 1), tcp("::ffff:127.0.0.1", 1), true),
            (tcp("127.0.0.1", 1), tcp("127.0.0.2", 1), false),
            (tcp("0.0.0.0", 1), tcp("127.0.0.1", 1), false),
            (unix("/a", None), unix("/a", Some(0o600)), true),
            (unix("/a", None), unix("/b", None), false),
            (unix("/a", None), tcp("h", 1), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.may_equal(&other), expected, "{one:?}, {other:?}");
            assert_eq!(other.may_equal(&one), expected, "{other:?}, {one:?}");
        }
    }

    #[test]
    fn listen_address_splits_at_the_last_colon() {
        let cases = [
            ("0.0.0.0:22121", tcp("0.0.0.0", 22121), "0.0.0.0:22121"),
            ("localhost:1", tcp("localhost", 1), "localhost:1"),
            ("::1:22121", tcp("::1", 22121), "::1:22121"),
            ("[::1]:22121", tcp("::1", 22121), "::1:22121"),
            ("[::]:022121", tcp("::", 22121), ":::22121"),
            ("/tmp/a.sock", unix("/tmp/a.sock", None), "/tmp/a.sock"),
            (
                "/tmp/a.sock 0660",
                unix("/tmp/a.sock", Some(0o660)),
                "/tmp/a.sock",
            ),
            (
                "/tmp/a.sock 777",
                unix("/tmp/a.sock", Some(0o777)),
                "/tmp/a.sock",
            ),
            (
                "/tmp/a b/x 0600",
                unix("/tmp/a b/x", Some(0o600)),
                "/tmp/a b/x",
            ),
            ("/tmp/a.sock 0", unix("/tmp/a.sock", None), "/tmp/a.sock"),
        ];
        for (text, address, shown) in cases {
            assert_eq!(text.parse(), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn invalid_listen_address_gives_a_reason() {
        let long = format!("/{}", "x".repeat(107));
        let cases = [
            ("localhost", AddressError::NoPort),
            ("", AddressError::NoPort),
            (":22121", AddressError::BadHost),
            ("[]:22121", AddressError::BadHost),
            ("[::1:22121", AddressError::BadHost),
            ("::1]:22121", AddressError::BadHost),
            ("a host:22121", AddressError::BadHost),
            ("a:0", AddressError::BadPort),
            ("a:65536", AddressError::BadPort),
            ("a:99999999999999999999", AddressError::BadPort),
            ("a:+1", AddressError::BadPort),
            ("a:", AddressError::BadPort),
            ("/s 0778", AddressError::BadMode),
            ("/s 01000", AddressError::BadMode),
            ("/s 77777777777777", AddressError::BadMode),
            ("/s rwx", AddressError::BadMode),
            ("/s ", AddressError::BadMode),
            ("/s\0", AddressError::BadPath),
            (&long, AddressError::BadPath),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<ListenAddr>(), Err(error), "{text}");
        }
    }

    #[test]
    fn server_address_accepts_no_mode() {
        let tcp = ServerAddr::Tcp {
            host: "::1".to_owned(),
            port: 6379,
        };
        assert_eq!("::1:6379".parse(), Ok(tcp.clone()));
        assert_eq!("[::1]:6379".parse(), Ok(tcp));
        assert_eq!(
            "/tmp/a 0660".parse(),
            Ok(ServerAddr::Unix("/tmp/a 0660".into()))
        );
        assert_eq!("a:0".parse::<ServerAddr>(), Err(AddressError::BadPort));
    }
}
