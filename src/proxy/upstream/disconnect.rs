//! The end of a connection, and what is told to those who wait for its replies.

use bytes::Bytes;

use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::responder::Responder;

/// Why a connection was lost, as its clients are told.
#[derive(Debug, Clone)]
pub(crate) enum Disconnect {
    Error(UpstreamError),
    /// The server rejected the handshake; its own words go to the clients.
    Refused(Bytes),
    /// The server takes no transactions, in these words: they are for those that are queued.
    NoTransactions(Bytes),
}

impl Disconnect {
    /// What a request meets that comes too early for another attempt.
    pub(crate) fn fault(&self) -> UpstreamError {
        match self {
            Self::Error(error) => *error,
            Self::Refused(_) => UpstreamError::Greeting,
            Self::NoTransactions(_) => UpstreamError::Closed,
        }
    }

    /// Tells whoever waits for a reply that there will be none.
    pub(crate) fn notify<P: Protocol>(&self, responder: Responder<P>) {
        match self {
            Self::Error(error) => responder.fail(*error),
            Self::NoTransactions(_) if !responder.is_exec() => responder.fail(self.fault()),
            Self::Refused(words) | Self::NoTransactions(words) => {
                responder.fail_with(self.fault(), words);
            }
        }
    }
}

/// The reply of a server that rejected the handshake, for the log.
pub(crate) fn reply_text(reply: &Bytes) -> String {
    String::from_utf8_lossy(reply).trim().to_owned()
}
