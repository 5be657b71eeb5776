//! Failures of a request after it was parsed.

use std::borrow::Cow;
use std::fmt;
use std::io;

use crate::net::ConnectError;
use crate::net::tls::TlsError;

/// The reason why a request got no reply from its server. Classified by type; each protocol defines its text on the
/// wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamError {
    /// The operating system's error, by number: refused, reset, unreachable, no such file.
    Os(i32),
    /// The server did not answer within the pool's `timeout`.
    TimedOut,
    /// Any other failure of the socket, which has no number.
    Io(io::ErrorKind),
    /// The server closed the connection while replies were pending.
    Closed,
    /// The server's name does not resolve.
    HostDown,
    /// Every server of the pool is ejected.
    Ejected,
    /// The server's bytes are not a reply of this protocol.
    BadReply,
    /// The server has reached its limit of connections.
    MaxClients,
    /// A fragment of the request failed at its server.
    Fragment,
    /// The server rejected the proxy's handshake (password, version of the protocol or database).
    HandshakeRefused,
    /// The server rejected the proxy's handshake since it loads its data, or has lost its primary; nothing was sent.
    NotReady,
    /// The request was dropped inside the proxy.
    Dropped,
    /// Its keys are being moved to another server; nothing was sent.
    Moving,
    /// The server has no primary, or none that serves; nothing was done.
    NoPrimary,
    /// The TLS handshake with the server failed.
    Tls(TlsError),
}

impl UpstreamError {
    /// The proxy has no file descriptor left.
    pub const NO_FILES: Self = Self::Os(rustix::io::Errno::MFILE.raw_os_error());

    /// Returns true if the proxy itself lacks something (file descriptors, memory, ports): not the server's failure.
    #[must_use]
    pub fn is_proxy_shortage(self) -> bool {
        use rustix::io::Errno;
        let lacks = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::NOBUFS,
            Errno::ADDRNOTAVAIL,
        ];
        matches!(self, Self::Os(errno) if lacks.iter().any(|lack| lack.raw_os_error() == errno))
    }
}

impl UpstreamError {
    /// The text that clients receive: Twemproxy's, and plain words where it has none.
    #[must_use]
    pub fn client_text(self) -> Cow<'static, str> {
        let text = match self {
            Self::Os(errno) => return os_text(errno).into(),
            Self::Io(kind) => return kind.to_string().into(),
            Self::TimedOut => "Connection timed out",
            Self::Closed => "unknown",
            Self::Tls(_) => "the TLS handshake with the server failed; the proxy's log says why",
            Self::HostDown => "Host is down",
            Self::Ejected => "Connection refused",
            Self::BadReply | Self::Fragment => "Invalid argument",
            Self::MaxClients => "the server has reached its client limit (maxclients)",
            Self::HandshakeRefused => {
                "the server rejected AUTH, HELLO or SELECT; check redis_auth, server_password and redis_db"
            }
            Self::NotReady => "the server does not serve yet; nothing was done, try again",
            Self::Dropped => "request dropped by the proxy",
            Self::Moving => "the key is being moved to another server; nothing was done, try again",
            Self::NoPrimary => {
                "the server of the key has no primary, and server_failover_timeout is over; nothing was done"
            }
        };
        text.into()
    }
}

/// The C library's text for the error.
fn os_text(errno: i32) -> String {
    let mut text = io::Error::from_raw_os_error(errno).to_string();
    if let Some(at) = text.rfind(" (os error ") {
        text.truncate(at);
    }
    text
}

impl From<&io::Error> for UpstreamError {
    fn from(error: &io::Error) -> Self {
        let cause = error.get_ref();
        if let Some(tls) = cause.and_then(|cause| cause.downcast_ref()) {
            return Self::Tls(*tls);
        }
        match (error.raw_os_error(), error.kind()) {
            (_, io::ErrorKind::TimedOut) => Self::TimedOut,
            (Some(errno), _) => Self::Os(errno),
            (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero) => Self::Closed,
            (None, kind) => Self::Io(kind),
        }
    }
}

impl From<&ConnectError> for UpstreamError {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Resolve(_) => Self::HostDown,
            ConnectError::Connect(error) => Self::from(error),
            ConnectError::Tls(error) => Self::Tls(*error),
        }
    }
}

impl fmt::Display for UpstreamError {
    /// Writes the text for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Os(errno) => return io::Error::from_raw_os_error(*errno).fmt(f),
            Self::Io(kind) => return kind.fmt(f),
            Self::Tls(error) => return write!(f, "TLS: {error}"),
            Self::TimedOut => "timed out",
            Self::Closed => "closed by the server",
            Self::HostDown => "host name does not resolve",
            Self::Ejected => "all servers are ejected",
            Self::BadReply => "malformed reply",
            Self::MaxClients => "the server has reached its client limit (maxclients)",
            Self::Fragment => "a fragment failed",
            Self::NotReady => "the server does not serve yet",
            Self::HandshakeRefused => "handshake rejected by the server",
            Self::Dropped => "dropped by the proxy",
            Self::Moving => "keys are being moved",
            Self::NoPrimary => "it is no primary, or does not serve yet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_error_is_classified_by_its_kind() {
        for (kind, expected) in [
            (io::ErrorKind::TimedOut, UpstreamError::TimedOut),
            (io::ErrorKind::UnexpectedEof, UpstreamError::Closed),
            (io::ErrorKind::WriteZero, UpstreamError::Closed),
            (
                io::ErrorKind::InvalidData,
                UpstreamError::Io(io::ErrorKind::InvalidData),
            ),
        ] {
            let error = io::Error::new(kind, "as a library makes it");
            assert_eq!(UpstreamError::from(&error), expected);
        }
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(UpstreamError::from(&refused), UpstreamError::Os(111));
        let connect = ConnectError::Connect(io::ErrorKind::NotFound.into());
        assert_ne!(UpstreamError::from(&connect), UpstreamError::HostDown);
        let resolve = ConnectError::Resolve(refused);
        assert_eq!(UpstreamError::from(&resolve), UpstreamError::HostDown);
    }

    #[test]
    fn error_texts_match_twemproxy() {
        for (error, text) in [
            (UpstreamError::Os(111), "Connection refused"),
            (UpstreamError::Os(104), "Connection reset by peer"),
            (UpstreamError::Os(2), "No such file or directory"),
            (UpstreamError::TimedOut, "Connection timed out"),
            (UpstreamError::Closed, "unknown"),
            (UpstreamError::HostDown, "Host is down"),
            (UpstreamError::Ejected, "Connection refused"),
            (UpstreamError::BadReply, "Invalid argument"),
            (
                UpstreamError::MaxClients,
                "the server has reached its client limit (maxclients)",
            ),
            (UpstreamError::Fragment, "Invalid argument"),
        ] {
            assert_eq!(error.client_text(), text);
        }
    }
}
