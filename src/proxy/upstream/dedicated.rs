//! What only a dedicated connection has.

use std::cell::{Cell, OnceCell, RefCell};

use tokio::time::Instant;

use crate::protocol::ServerClientId;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::topology::KeyHashes;

/// The state of a dedicated connection, which its driver shares.
#[derive(Debug, Default)]
pub(crate) struct Dedicated {
    /// The server's ID of the connection (CLIENT ID).
    pub(crate) server_client_id: ServerClientId,
    /// Nothing more is sent: the driver must shut down the write side.
    pub(crate) is_shut: Cell<bool>,
    /// Its client waits for a primary itself, so one attempt to open it is enough.
    pub(crate) opens_once: Cell<bool>,
    /// When it is closed, whatever is in flight.
    pub(crate) deadline: Cell<Option<Instant>>,
    /// The keys that its client waits for; none unless it is blocked, no keys if it is used for requests without any.
    pub(crate) waits_for: RefCell<Option<KeyHashes>>,
    /// The reason for its end.
    pub(crate) disconnect: OnceCell<Disconnect>,
}

impl Dedicated {
    /// Returns true if no request for a key goes over the connection.
    pub(crate) fn is_for_no_key(&self) -> bool {
        let keys = self.waits_for.borrow();
        keys.as_ref().is_some_and(KeyHashes::is_empty)
    }
}
