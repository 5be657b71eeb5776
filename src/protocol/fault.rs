//! What can go wrong with a request after it was understood.

use std::fmt;
use std::io;

/// Why a request got no reply from its server. Classified by type; each protocol says how it reads on its wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operating system's error, by number: refused, reset, unreachable, no such file.
    Os(i32),
    /// The server did not answer within the pool's `timeout`.
    TimedOut,
    /// The server closed the connection while replies were owed.
    Closed,
    /// The server's name does not resolve.
    HostDown,
    /// Every server of the pool is ejected.
    Ejected,
    /// The server's bytes are no reply of this protocol.
    BadReply,
    /// A fragment of the request failed at its server.
    Fragment,
    /// The server refused the proxy's own greeting (password, version of the protocol or database).
    Greeting,
    /// The keys of a request that cannot be split live on several servers.
    Apart,
    /// The request was dropped inside the proxy.
    Dropped,
}

impl Fault {
    /// Whether the proxy itself lacks something (file descriptors, memory, ports): no fault of the server.
    pub fn is_own_lack(self) -> bool {
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

impl From<&io::Error> for Fault {
    fn from(error: &io::Error) -> Self {
        match (error.raw_os_error(), error.kind()) {
            (_, io::ErrorKind::TimedOut) => Self::TimedOut,
            (Some(errno), _) => Self::Os(errno),
            (None, io::ErrorKind::UnexpectedEof) => Self::Closed,
            _ => Self::HostDown,
        }
    }
}

impl fmt::Display for Fault {
    /// As the log has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Os(errno) => return io::Error::from_raw_os_error(*errno).fmt(f),
            Self::TimedOut => "timed out",
            Self::Closed => "closed by the server",
            Self::HostDown => "the host name does not resolve",
            Self::Ejected => "all servers are ejected",
            Self::BadReply => "the server's bytes are no reply",
            Self::Fragment => "a fragment failed",
            Self::Greeting => "the server refused the greeting",
            Self::Apart => "the keys live on several servers",
            Self::Dropped => "dropped inside the proxy",
        })
    }
}
