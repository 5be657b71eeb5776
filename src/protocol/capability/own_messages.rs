//! The messages of the proxy itself: commands to servers that no client sent, and replies that no server sent.

/// A command that the proxy sends to a server on its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerCommand {
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// UNWATCH.
    Unwatch,
    /// CLIENT ID of this connection.
    ClientId,
    /// PING.
    Ping,
    /// ROLE.
    Role,
    /// A command that is replicated, and changes nothing.
    OffsetMarker,
    /// Likewise, and it is written to the AOF, too.
    DurableOffsetMarker,
}

/// A reply of the proxy about a transaction or a dedicated connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyReply {
    /// The request is queued until the end of the transaction.
    Queued,
    /// In place of the results: there was an error before EXEC.
    Aborted,
    /// In place of the results: nothing was queued.
    Empty,
    /// The transaction exceeds this number of bytes or of requests.
    TooLarge(usize, usize),
    /// The request needs other servers than that of the transaction.
    Elsewhere,
    /// In place of the results: servers were ejected or readmitted since the keys were checked.
    Moved,
    /// In place of the results: the connection that watched its keys is lost.
    WatchLost,
    /// Its keys are watched in another connection profile.
    WatchedElsewhere,
    /// In place of the server's reply to a client that the proxy has unblocked: it shuts down.
    ShuttingDown,
    /// Likewise: another server stores the keys by now.
    KeysMoved,
    /// Likewise: another client has ended its wait in the proxy.
    Unblocked,
    /// This number of clients have a dedicated connection to the server, which is the limit.
    Exhausted(usize),
    /// File descriptors allow this number of clients and dedicated connections, and all are in use.
    NoRoom(usize),
}
