//! Why there are no replies from a connection any more.

use bytes::Bytes;

use crate::protocol::{Fault, Protocol};
use crate::proxy::replies::responder::Ticket;

/// Why a connection was lost, as its clients are told.
#[derive(Debug, Clone)]
pub(crate) enum Loss {
    Fault(Fault),
    /// The server refused the greeting; its own words go to the clients.
    Reply(Bytes),
    /// The server takes no transactions, in these words: they are for those that are queued.
    Untaken(Bytes),
}

impl Loss {
    /// What a request meets that comes too early for another attempt.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Fault(fault) => *fault,
            Self::Reply(_) => Fault::Greeting,
            Self::Untaken(_) => Fault::Closed,
        }
    }

    /// Tells whoever waits for a reply that there will be none.
    pub(crate) fn tell<P: Protocol>(&self, ticket: Ticket<P>) {
        match self {
            Self::Fault(fault) => ticket.fail(*fault),
            Self::Untaken(_) if !ticket.is_verdict() => ticket.fail(self.fault()),
            Self::Reply(words) | Self::Untaken(words) => ticket.fail_with(self.fault(), words),
        }
    }
}
