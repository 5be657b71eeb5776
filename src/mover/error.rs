//! The errors of the engine.

use crate::redis_client::ServerError;
use crate::text::Printable;

/// The error of copying keys. `server` is a name with its address.
#[derive(Debug, thiserror::Error)]
pub enum MoverError {
    /// A connection failed, or a server refused a command.
    #[error("{server}: {error}")]
    Server {
        /// The server.
        server: String,
        /// The cause.
        error: ServerError,
    },
    /// The connection with the change feed of a source, or with the copies at a destination, was lost: changes that it
    /// would have told are unknown.
    #[error(
        "{server}: the change feed was lost ({error}); a server cuts one that is read too slowly, by its \
         'client-output-buffer-limit pubsub'"
    )]
    FeedLost {
        /// The server.
        server: String,
        /// The cause.
        error: ServerError,
    },
    /// Somebody flushed a source or a destination.
    #[error("{server}: its keys were flushed (FLUSHALL or FLUSHDB)")]
    Flushed {
        /// The server.
        server: String,
    },
    /// A source has lost its keys, not by a flush: the copies may be the only ones that are left.
    #[error(
        "{server}: it came back without its keys; the copies were left as they are: if they are to go too, flush their \
         servers and begin again"
    )]
    CameBackEmpty {
        /// The source.
        server: String,
    },
    /// A server is a replica, or has become one.
    #[error("{server}: it is no primary, but a '{role}'")]
    NotPrimary {
        /// The server.
        server: String,
        /// The role that it has.
        role: String,
    },
    /// The process at the other end is not the one that was connected to.
    #[error("{server}: it is another process than before (run_id {now}, before {before})")]
    Replaced {
        /// The server.
        server: String,
        /// The run id now.
        now: String,
        /// The run id when the feed was opened.
        before: String,
    },
    /// A destination has no memory for the copies.
    #[error("{server}: it has no memory for more keys ('{}'); raise its maxmemory", Printable(.reply))]
    Full {
        /// The destination.
        server: String,
        /// Its reply.
        reply: String,
    },
    /// A server executes nothing at the moment.
    #[error("{server}: {command} is answered with '{}'", Printable(.reply))]
    Busy {
        /// The server.
        server: String,
        /// The command.
        command: String,
        /// Its reply.
        reply: String,
    },
    /// The dump of a key is longer than a request to the destination may be.
    #[error(
        "{server}: key {key} is too large for it: its dump has {bytes} bytes, and 'proto-max-bulk-len' there is {max_bytes}; \
         raise that (CONFIG SET), or split or delete the key"
    )]
    TooLarge {
        /// The destination.
        server: String,
        /// The key, printable.
        key: String,
        /// The length of its dump.
        bytes: u64,
        /// The limit of the destination.
        max_bytes: u64,
    },
    /// A destination cannot load what the source dumps.
    #[error(transparent)]
    Payload(Box<PayloadError>),
}

/// The error of a destination that cannot load what a source dumps.
#[derive(Debug, thiserror::Error)]
#[error(
    "{to} ({to_version}) cannot load what {from} ({from_version}) dumps, format {format}: key {key} is answered with '{}'; \
     the destination must be as new as the source and of the same kind, with the same modules; on Valkey, \
     'rdb-version-check relaxed' loads most of what a newer Redis dumps",
    Printable(.reply)
)]
pub struct PayloadError {
    /// The source.
    pub from: String,
    /// Its program and version.
    pub from_version: String,
    /// The destination.
    pub to: String,
    /// Its program and version.
    pub to_version: String,
    /// The version of the format of the dump.
    pub format: u16,
    /// The key, printable.
    pub key: String,
    /// The reply.
    pub reply: String,
}

impl MoverError {
    /// Returns true if the same [`crate::mover::Mover`] may go on later: no key was lost of those that are to be copied.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. })
    }

    /// Returns true if a new [`crate::mover::Mover`], which scans everything again, may succeed.
    #[must_use]
    pub fn may_start_anew(&self) -> bool {
        match self {
            Self::FeedLost { .. } | Self::Flushed { .. } | Self::Replaced { .. } => true,
            Self::Server { error, .. } => !matches!(error, ServerError::Refused { .. }),
            _ => false,
        }
    }
}
