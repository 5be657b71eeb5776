//! The error of a copy.

use std::io;

use crate::mover::MoverError;

/// The error of a copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A pool of memcached servers.
    #[error(
        "pool '{0}' is of memcached, whose protocol cannot list keys; copy supports pools with 'redis: true'"
    )]
    Memcached(String),
    /// A pool in which any server may have any key.
    #[error("pool '{0}' has 'distribution: random': any server may have any key")]
    Random(String),
    /// Databases that the destinations' clients cannot select.
    #[error(
        "clients of pool '{from}' can select database {database}, and clients of pool '{to}' cannot; raise its 'databases'"
    )]
    Database {
        /// The pool whose keys are copied.
        from: String,
        /// The other pool.
        to: String,
        /// The database.
        database: u32,
    },
    /// Nobody can be asked.
    #[error("copy asks before it writes, and stdin is no terminal; add --yes")]
    Unconfirmed,
    /// Servers that fail at the start.
    #[error("{}", .0.join("\nringroad: "))]
    Servers(Vec<String>),
    /// A server of both pools.
    #[error("{from} and {to} are the same process: its keys would be copied onto themselves")]
    Same {
        /// The source.
        from: String,
        /// The destination.
        to: String,
    },
    /// A destination of another copy of the same pool.
    #[error(
        "another 'ringroad copy' of pool '{pool}' is connected to {server}, from {address}; end that one first: two would \
         copy over each other without end"
    )]
    Rival {
        /// The pool whose keys are copied.
        pool: String,
        /// The destination.
        server: String,
        /// The address of its connection.
        address: String,
    },
    /// A server that copies another.
    #[error("{server} is a replica of {primary}; name its primary in the file")]
    Replica {
        /// The server.
        server: String,
        /// Its primary.
        primary: String,
    },
    /// A destination with keys.
    #[error(
        "{server} has keys in database {database}; flush it, or add --into-data, with which keys of the same name are \
         replaced, and the others stay"
    )]
    NotEmpty {
        /// The destination.
        server: String,
        /// The database.
        database: u32,
    },
    /// A failure that a new start does not mend.
    #[error(transparent)]
    Mover(#[from] MoverError),
    /// A failure after which keys that were deleted meanwhile cannot be told from those of the destination.
    #[error(
        "{0}; keys that are deleted at the source until the next start stay at the destination, since with --into-data \
         they cannot be told from its own"
    )]
    IntoData(MoverError),
    /// A worker that has ended without a word: a bug.
    #[error("a thread has ended unexpectedly")]
    Thread,
    /// The report or a question.
    #[error(transparent)]
    Console(#[from] io::Error),
}
