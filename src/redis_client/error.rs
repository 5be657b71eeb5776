//! The error of one server.

use std::io;
use std::time::Duration;

use crate::net::ConnectError;
use crate::text::Printable;

/// The cause of a failure of one server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It is silent.
    #[error("no reply within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It has closed the connection.
    #[error("closed by the server")]
    Closed,
    /// A failure of the socket.
    #[error(transparent)]
    Io(io::Error),
    /// Something other than a reply.
    #[error("malformed reply")]
    BadReply,
    /// An error reply. The connection stays usable.
    #[error("{command} is answered with '{}'{}", Printable(reply), hint(reply))]
    Refused {
        /// The command.
        command: String,
        /// The line of the reply.
        reply: String,
    },
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// The directive that a reply is about.
fn hint(reply: &str) -> &'static str {
    const OF_PASSWORD: [&str; 5] = [
        "NOAUTH",
        "WRONGPASS",
        "ERR invalid password",
        "ERR AUTH <password> called without",
        "ERR Client sent AUTH",
    ];
    if OF_PASSWORD.iter().any(|start| reply.starts_with(start)) {
        "; the password is 'server_password' of its pool, or 'redis_auth' without it"
    } else {
        ""
    }
}

/// The error of a request that is answered with an error.
#[must_use]
pub fn refused(words: &[&[u8]], reply: &[u8]) -> ServerError {
    let line = reply.get(1..).unwrap_or_default().trim_ascii_end();
    ServerError::Refused {
        command: words
            .first()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .unwrap_or_default(),
        reply: String::from_utf8_lossy(line).into_owned(),
    }
}
