//! The end of a connection, and the errors of the requests that wait for its replies.

use bytes::Bytes;

use crate::protocol::Connections as _;
use crate::protocol::{Effect, Protocol, UpstreamError};
use crate::proxy::replies::responder::Responder;

/// The reason for the loss of a connection, as its clients receive it.
#[derive(Debug, Clone)]
pub(crate) enum Disconnect {
    Error(UpstreamError),
    /// The server rejected the handshake; its error reply is sent to the clients.
    Refused(Bytes),
    /// The server accepts no transactions, with this error reply: it is sent to those that are queued.
    NoTransactions(Bytes),
    /// The server had no primary for too long; its clients get this error reply.
    NoPrimary(Bytes),
    /// The worker did not know what the mark of the server says: nothing was sent.
    Moving,
}

impl Disconnect {
    /// The error of a request that arrives before the next attempt is due.
    pub(crate) fn fault<P: Protocol>(&self) -> UpstreamError {
        match self {
            Self::Error(error) => *error,
            Self::Refused(reply) if is_not_ready::<P>(reply) => UpstreamError::NotReady,
            Self::Refused(_) => UpstreamError::HandshakeRefused,
            Self::NoTransactions(_) => UpstreamError::Closed,
            Self::NoPrimary(_) => UpstreamError::NoPrimary,
            Self::Moving => UpstreamError::Moving,
        }
    }

    /// Returns true if the server itself says why it does not serve this connection: waiting for another primary is of no use.
    pub(crate) fn tells_why<P: Protocol>(&self) -> bool {
        match self {
            Self::Refused(reply) => !is_not_ready::<P>(reply),
            Self::Error(error) => *error == UpstreamError::MaxClients,
            _ => false,
        }
    }

    /// Fails a pending request.
    pub(crate) fn notify<P: Protocol>(&self, responder: Responder<P>) {
        match self {
            Self::Error(error) => responder.fail(*error),
            Self::Moving => responder.fail(self.fault::<P>()),
            Self::NoTransactions(_) if !responder.is_exec() => responder.fail(self.fault::<P>()),
            Self::Refused(reply) | Self::NoPrimary(reply) | Self::NoTransactions(reply) => {
                responder.fail_with(self.fault::<P>(), reply);
            }
        }
    }
}

/// Returns true if a server rejected the handshake since it loads its data, or is no primary.
fn is_not_ready<P: Protocol>(reply: &Bytes) -> bool {
    P::Stateful::effect(&[], P::HANDSHAKE, reply) == Effect::Refused
}

/// The reply of a server that rejected the handshake, for the log.
pub(crate) fn reply_text(reply: &Bytes) -> String {
    String::from_utf8_lossy(reply).trim().to_owned()
}
