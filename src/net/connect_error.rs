//! Why a connection could not be opened.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a connection to a server could not be opened.
#[derive(Debug)]
pub enum ConnectError {
    /// Its host name does not resolve.
    Resolve(io::Error),
    /// No address took the connection.
    Connect(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "host name does not resolve: {error}"),
            Self::Connect(error) => error.fmt(f),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Connect(error) => Some(error),
        }
    }
}
