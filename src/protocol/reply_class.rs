//! The meaning of a reply, as far as the data plane acts on it.

/// The class of a reply, as far as the data plane needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyClass {
    /// A simple status, such as `+OK`.
    Status,
    /// A map, the reply to HELLO.
    Map,
    /// Any other value.
    Value,
    /// An error: nothing was done.
    Error(ErrorCode),
}

/// The errors that the proxy acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The server has reached its limit of clients.
    MaxClients,
    /// The server does not know the script.
    NoScript,
    /// The transaction was discarded.
    ExecAbort,
    /// A script or module runs for too long.
    Busy,
    /// The server loads its data.
    Loading,
    /// The server's memory limit is reached.
    OutOfMemory,
    /// A blocked client was unblocked.
    Unblocked,
    /// A write was sent to a replica.
    ReadOnly,
    /// The slot is stored on another server, from now on.
    Moved,
    /// The slot is stored on another server, for this request.
    Ask,
    /// Any other.
    Other,
}

impl ErrorCode {
    /// Returns true if the server fails all requests, or all writes, for a time: this counts towards ejection.
    pub fn is_server_state(self) -> bool {
        matches!(self, Self::Busy | Self::Loading | Self::OutOfMemory)
    }
}

impl ReplyClass {
    /// Returns true if the reply says that nothing was done.
    pub fn is_error(self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Returns true if the server has reached its limit of clients.
    pub fn is_max_clients(self) -> bool {
        self == Self::Error(ErrorCode::MaxClients)
    }

    /// Returns true if the reply accepts a handshake command: a status, or a map for HELLO.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Status | Self::Map)
    }
}
