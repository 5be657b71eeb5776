//! How far a client's messages may be published.

/// The state of the messages among the requests that were read last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Publishing {
    /// None was offered yet.
    Read,
    /// They wait for this turn of the other workers: then the subscriptions that had arrived there are known.
    AwaitsTurn(u64),
    /// They follow the subscriptions up to this ticket.
    Follows(u64),
}
