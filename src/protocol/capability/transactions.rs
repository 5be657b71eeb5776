//! What the proxy says of its own accord, to servers and to clients, for which each protocol has its words; and what comes of it.

use bytes::BytesMut;

use crate::protocol::Protocol;

/// What the proxy says of itself where transactions, and connections for one client, are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phrase {
    /// To a server: a transaction begins.
    Multi,
    /// To a server: it ends, and is carried out.
    Exec,
    /// To a server: it ends without effect.
    Discard,
    /// To a server: no key is watched any more.
    Unwatch,
    /// To a server: what does it call this connection?
    ClientId,
    /// To a server: something that its replicas get, and that changes nothing.
    OffsetMarker,
    /// To a server: likewise, and its log on disk gets it too.
    DurableOffsetMarker,
    /// To a client: the request waits for the end of the transaction.
    Queued,
    /// To a client, in place of the results: there was an error before.
    Aborted,
    /// To a client, in place of the results: nothing was queued.
    Empty,
    /// To a client: the transaction has more than so many bytes, or more than so many requests.
    TooLarge(usize, usize),
    /// To a client: such a request concerns more servers than that of the transaction.
    Elsewhere,
    /// To a client, in place of the results: servers were lost or came back since the keys were looked at.
    Moved,
    /// To a client, in place of the results: the connection that watched its keys is lost.
    WatchLost,
    /// To a client: its keys are watched in another lane.
    WatchedElsewhere,
    /// To a client: so many clients have a connection to its server for themselves, and no more may.
    Exhausted(usize),
    /// To a client: there are file descriptors for so many clients and connections of their own, and all are in use.
    NoRoom(usize),
}

/// What a client reads whose waiting is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnblockReason {
    /// What it would read at the end of its time.
    Timeout,
    /// That it was ended.
    Error,
}

/// What came of a request that may wait, and was not let.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryResult<'r> {
    /// It was answered so.
    Ready(&'r [u8]),
    /// Nothing was done: it would have waited.
    WouldBlock,
    /// Nothing was done: the server did not queue it, and says why when it is asked plainly.
    Rejected,
    /// Nothing was done, and the server still takes what it gets for a part of the transaction.
    Desynced,
}

/// MULTI, EXEC, WATCH and the commands that the proxy sends on its own account.
pub trait Transactions<P: Protocol> {
    /// Tells a client's memory that from now on its requests are queued, or no more.
    fn set_in_multi(client: &mut P::Client, queues: bool);

    /// Writes what the proxy says of itself.
    fn write_server_command(phrase: Phrase, out: &mut BytesMut);

    /// Writes why a transaction failed, if its server's reply says that it did: what it had said of one of its requests.
    fn write_exec_abort(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool;

    /// Whether a reply to the end of a transaction says that nothing of it was done, and that it is over.
    #[must_use]
    fn is_abort(reply: &[u8]) -> bool;
}
