//! The request to disconnect a client.

use crate::admin::api::described::described;
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::parameters::malformed;

/// The request to disconnect a client of a Redis pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillClient {
    /// The pool; `None` is any.
    pub pool: Option<String>,
    /// The client.
    pub client: ClientRef,
}

/// The client that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRef {
    /// The one with this id.
    Id(u64),
    /// All with this address: those of a unix socket have the same.
    Address(String),
}

described! {
    /// The fields of [`KillClient`].
    #[serde(default, deny_unknown_fields)]
    pub struct KillFields {
        /// Id of the client. Either this or `address` is required.
        id: Option<u64>,
        /// Address of the client; for a unix socket the path of the socket and `:0`, which is all its clients.
        address: Option<String>,
        /// Only in this pool.
        pool: Option<String>,
    }
}

impl TryFrom<KillFields> for KillClient {
    type Error = ControlError;

    fn try_from(fields: KillFields) -> Result<Self, ControlError> {
        let client = match (fields.id, fields.address) {
            (Some(id), None) => ClientRef::Id(id),
            (None, Some(address)) => ClientRef::Address(address),
            _ => return Err(malformed("either 'id' or 'address' is required")),
        };
        let pool = fields.pool;
        Ok(Self { pool, client })
    }
}

impl From<KillClient> for KillFields {
    fn from(kill: KillClient) -> Self {
        let (id, address) = match kill.client {
            ClientRef::Id(id) => (Some(id), None),
            ClientRef::Address(address) => (None, Some(address)),
        };
        let pool = kill.pool;
        Self { id, address, pool }
    }
}
