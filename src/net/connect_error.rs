//! The error of opening a connection.

use std::error::Error;
use std::fmt;
use std::io;

use super::tls::TlsError;

/// The error of opening a connection to a server.
#[derive(Debug)]
pub enum ConnectError {
    /// Its host name does not resolve.
    Resolve(io::Error),
    /// No address accepted the connection.
    Connect(io::Error),
    /// The TLS handshake failed.
    Tls(TlsError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "host name does not resolve: {error}"),
            Self::Connect(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Connect(error) => Some(error),
            Self::Tls(error) => Some(error),
        }
    }
}
