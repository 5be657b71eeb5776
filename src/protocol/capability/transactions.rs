//! Commands and replies that the proxy sends on its own account for transactions and dedicated connections.

use bytes::BytesMut;

use crate::protocol::Protocol;

/// The proxy's own commands and replies for transactions and dedicated connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phrase {
    /// To a server: MULTI.
    Multi,
    /// To a server: EXEC.
    Exec,
    /// To a server: DISCARD.
    Discard,
    /// To a server: UNWATCH.
    Unwatch,
    /// To a server: CLIENT ID of this connection.
    ClientId,
    /// To a server: a command that is replicated, and changes nothing.
    OffsetMarker,
    /// To a server: likewise, and it is written to the AOF, too.
    DurableOffsetMarker,
    /// To a client: the request is queued until the end of the transaction.
    Queued,
    /// To a client, in place of the results: there was an error before EXEC.
    Aborted,
    /// To a client, in place of the results: nothing was queued.
    Empty,
    /// To a client: the transaction exceeds this number of bytes or of requests.
    TooLarge(usize, usize),
    /// To a client: the request needs other servers than that of the transaction.
    Elsewhere,
    /// To a client, in place of the results: servers were ejected or readmitted since the keys were checked.
    Moved,
    /// To a client, in place of the results: the connection that watched its keys is lost.
    WatchLost,
    /// To a client: its keys are watched in another connection profile.
    WatchedElsewhere,
    /// To a client: this number of clients have a dedicated connection to the server, which is the limit.
    Exhausted(usize),
    /// To a client: file descriptors allow this number of clients and dedicated connections, and all are in use.
    NoRoom(usize),
}

/// The reply to a client that is unblocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnblockReason {
    /// The reply as at the timeout.
    Timeout,
    /// An error.
    Error,
}

/// The result of a request that may block, tried without blocking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryResult<'r> {
    /// The reply.
    Ready(&'r [u8]),
    /// Nothing was done: the request would have blocked.
    WouldBlock,
    /// Nothing was done: the server did not queue it, and gives the reason when it is sent outside the transaction.
    Rejected,
    /// Nothing was done, and the server still treats further commands as part of the transaction.
    Desynced,
}

/// MULTI, EXEC, WATCH and the commands that the proxy sends on its own account.
pub trait Transactions<P: Protocol> {
    /// Records whether a client's requests are queued from now on.
    fn set_in_multi(client: &mut P::Client, queues: bool);

    /// Writes one of the proxy's own commands or replies.
    fn write_server_command(phrase: Phrase, out: &mut BytesMut);

    /// Writes the reason of a failed transaction, if `reply` says that it failed: the server's error for one of its
    /// requests.
    fn write_exec_abort(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool;

    /// Returns true if the reply to EXEC says that nothing was executed, and that the transaction is over.
    #[must_use]
    fn is_abort(reply: &[u8]) -> bool;
}
